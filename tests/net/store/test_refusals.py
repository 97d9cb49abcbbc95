"""What servers say is quoted short, on one line, and without what is ours to hide."""

import errno
import ssl

from clustersession.core.errors import StoreErrorKind
from clustersession.net.store.refusals import quoted, refusal, unreachable
from clustersession.net.store.resp import ErrorReply


def test_a_refusal_names_the_server_and_what_to_change() -> None:
    text = str(refusal("h:1", ErrorReply("WRONGPASS invalid"), "u", "p:*"))
    assert text.startswith("the store at h:1 refuses user and password; mend them")


def test_what_is_forbidden_has_the_rule_that_allows_it() -> None:
    for said in ("NOPERM No permissions", "ERR The user executing the script can't run it",
                 "ERR ACL failure in script: User u has no permissions"):
        text = str(refusal("h", ErrorReply(said), "", "p:*"))
        assert "ACL SETUSER default on ~p:* +hello" in text


def test_quotations_are_harmless() -> None:
    assert quoted(ErrorReply("ERR \x1b[2J\n" + "x" * 9999)) == "ERR  [2J " + "x" * 151
    said = "ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'p4ss'"
    assert "p4ss" not in quoted(ErrorReply(said))


def test_the_system_s_errors_have_words() -> None:
    for error, words in (
        (TimeoutError(), "does not answer in time"),
        (ConnectionResetError(), "closed the connection"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "cannot be reached (No route to host)"),
        (ssl.SSLError(1, "x"), "refuses TLS"),
    ):
        assert words in str(unreachable("h:1", error, tls=True))


def test_each_trouble_has_its_kind() -> None:
    for said, kind in (
        ("WRONGPASS x", StoreErrorKind.LOGIN), ("NOPERM x", StoreErrorKind.FORBIDDEN),
        ("OOM x", StoreErrorKind.FULL), ("LOADING x", StoreErrorKind.NOT_READY),
        ("READONLY x", StoreErrorKind.SETTING), ("NONSENSE x", StoreErrorKind.OTHER),
    ):
        assert refusal("h", ErrorReply(said), "", "p:*").kind is kind
    for error, kind in (
        (TimeoutError(), StoreErrorKind.TIMEOUT), (EOFError(), StoreErrorKind.CLOSED),
        (ConnectionRefusedError(), StoreErrorKind.UNREACHABLE),
        (ssl.SSLError(1, "x"), StoreErrorKind.TLS),
    ):
        assert unreachable("h", error, tls=True).kind is kind
