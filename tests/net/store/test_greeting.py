"""A connection begins with HELLO, and what a server says of itself decides whether it is used."""

import pytest

from clustersession.core.errors import StoreError
from clustersession.net.store.greeting import (
    Greeted,
    check_greeted,
    check_run,
    greeting,
    read_hello,
    run_id_of,
)
from clustersession.net.store.resp import ErrorReply, command
from clustersession.settings.store_url import StoreKind, parse_store_url

URL = parse_store_url("valkey://shop:s3cr3t@10.0.0.1:6379/3")
HELLO = {b"server": b"valkey", b"version": b"8.0.1", b"role": b"master", b"mode": b"standalone"}
RUN = "0123456789abcdef" * 2 + "01234567"
INFO = b"# Server\r\nrun_id:" + RUN.encode() + b"\r\n"


def test_a_connection_begins_with_the_login_and_the_database() -> None:
    assert greeting(URL) == [
        command("HELLO", 3, "AUTH", "shop", "s3cr3t"), command("SELECT", 3),
    ]  # fmt: skip
    assert greeting(parse_store_url("valkey://10.0.0.1:6379")) == [command("HELLO", 3)]


def test_what_a_server_says_of_itself() -> None:
    assert read_hello(HELLO, "here") == Greeted("valkey", (8, 0, 1), "master", "standalone")
    assert read_hello({}, "here") == Greeted()
    with pytest.raises(StoreError, match="is of version"):
        read_hello({**HELLO, b"version": b"6.2.0"}, "here")
    with pytest.raises(StoreError, match="does not speak RESP3"):
        read_hello([b"server"], "here")


def test_replicas_and_servers_of_a_cluster_are_refused() -> None:
    replica = Greeted(role="replica", mode="standalone")
    of_a_cluster = Greeted(role="master", mode="cluster")
    assert check_greeted(Greeted(role="master", mode="standalone"), StoreKind.SINGLE, "") is None
    refused = check_greeted(replica, StoreKind.SINGLE, "")
    assert refused is not None
    assert refused.code == "READONLY"
    refused = check_greeted(of_a_cluster, StoreKind.SINGLE, "")
    assert refused is not None
    assert refused.code == "MOVED"
    assert check_greeted(of_a_cluster, StoreKind.CLUSTER, "") is None


def test_the_run_of_a_server() -> None:
    assert run_id_of(INFO) == RUN
    for said in (None, b"", ErrorReply("NOPERM"), b"run_id:short\r\n"):
        assert run_id_of(said) == ""


def test_a_worker_is_let_in_by_the_run_that_the_agent_has_alone() -> None:
    check_run([HELLO, b"OK", INFO], URL, "here", RUN)
    wrong = [
        [HELLO, b"OK", b"run_id:" + b"f" * 40 + b"\r\n"], [HELLO, b"OK", ErrorReply("NOPERM")],
        [ErrorReply("WRONGPASS"), b"OK", INFO], [{**HELLO, b"role": b"replica"}, b"OK", INFO],
    ]  # fmt: skip
    for replies in wrong:
        with pytest.raises(StoreError):
            check_run(replies, URL, "here", RUN)
