"""Says what a connection to a server of a store begins with, and reads what the server says of
itself.
"""

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from clustersession.core.errors import StoreError, StoreErrorKind
from clustersession.net.store.refusals import OLDEST
from clustersession.net.store.resp import ErrorReply, Part, command
from clustersession.settings.store_url import StoreKind, StoreUrl

VERSION_MIN: Final = (7, 0)


class Greeted(NamedTuple):
    """Is what a server says of itself: which product, its version, role and mode."""

    product: str = ""
    version: tuple[int, ...] = ()
    role: str = ""
    mode: str = ""


def greeting(url: StoreUrl) -> list[bytes]:
    """Return the commands that let us in. Raises StoreError when a file cannot be read."""
    commands = [command("HELLO", 3, *login_of(url))]
    if url.db:
        commands.append(command("SELECT", url.db))
    return commands


def read_hello(hello: Any, where: str) -> Greeted:
    """Read the answer to HELLO. Raises StoreError for a server that is too old."""
    if not isinstance(hello, dict):
        raise StoreError(f"the store at {where} does not speak RESP3")
    said = {
        name: hello[name].decode("ascii", "replace") for name in
        (b"server", b"version", b"role", b"mode") if isinstance(hello.get(name), bytes)
    }  # fmt: skip
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", said.get(b"version", ""))
    version = tuple(int(each) for each in numbers.groups("0")) if numbers else ()
    if version and version < VERSION_MIN:
        raise wrong(where, f"is of version {said[b'version']}; it must be {OLDEST} or newer")
    return Greeted(
        said.get(b"server", ""), version, said.get(b"role", ""), said.get(b"mode", "")
    )


def check_greeted(greeted: Greeted, kind: StoreKind, where: str) -> ErrorReply | None:
    """Return what a server would refuse, being what it is; None for one that may be used.

    Raises StoreError for what no setting of its own can mend.
    """
    if greeted.role in ("replica", "slave"):
        return ErrorReply("READONLY by its own word")
    is_cluster = kind is StoreKind.CLUSTER
    if greeted.mode == "cluster" and not is_cluster:
        return ErrorReply("MOVED by its own word")
    if greeted.mode == "sentinel":
        raise wrong(where, "is a Sentinel; write valkey+sentinel:// in the setting store")
    if is_cluster and greeted.mode == "standalone":
        raise wrong(where, "is no Cluster; write valkey:// in the setting store")
    return None


def wrong(where: str, what: str) -> StoreError:
    """Explain that the setting names what cannot be used."""
    return StoreError(f"the store at {where} {what}", StoreErrorKind.SETTING)


def run_id_of(info: Any) -> str:
    """Return which run of which server answers INFO; "" when we may not know."""
    if not isinstance(info, bytes):
        return ""
    found = re.search(rb"^run_id:([0-9a-f]{40})\r?$", info, re.MULTILINE)
    return found[1].decode() if found else ""


def check_run(replies: Sequence[Any], url: StoreUrl, where: str, run_id: str) -> None:
    """Judge the answers to ``greeting`` and INFO: the server is ready, and in that run.

    Raises StoreError.
    """
    hello, *rest = replies
    refused = [reply for reply in replies if isinstance(reply, ErrorReply)]
    if not refused and (by_itself := check_greeted(read_hello(hello, where), url.kind, where)):
        refused = [by_itself]
    if refused:
        raise StoreError(f"the store at {where} lets no worker in: {refused[0].code}")
    if run_id_of(rest[-1]) != run_id:
        raise StoreError(f"the store at {where} is not the one that the agent has")


def login_of(url: StoreUrl) -> list[Part]:
    """Return what HELLO needs to be let in. Raises StoreError when a file cannot be read."""
    password = url.password
    if url.password_file:
        try:
            password = Path(url.password_file).read_text().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the password_file of the setting store, {url.password_file}, cannot be read: "
                f"{getattr(error, 'strerror', None) or 'it is no text'}",
                StoreErrorKind.SETTING,
            ) from None
    return ["AUTH", url.user or "default", password] if password else []


def tls_context(url: StoreUrl) -> ssl.SSLContext | None:
    """Make the context for TLS; None without it. Raises StoreError for files that do not work."""
    if not url.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=url.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("ca", url.ca, error) from None
    if url.certificate:
        try:
            context.load_cert_chain(url.certificate, url.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise _unusable("certificate or key", url.certificate, error) from None
    return context


def _unusable(name: str, path: str, error: OSError) -> StoreError:
    why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return StoreError(
        f"the {name} of the setting store, {path}, cannot be used: {why}", StoreErrorKind.SETTING
    )
