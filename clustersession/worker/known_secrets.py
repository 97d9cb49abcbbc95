"""Finds the directory of a node by its application's secrets, and begins one for others.

Two applications of one user and host are one node only when they have a secret in common: nobody
without it may list or end their sessions. A node's directory is named after the secret that it
began with and holds digests of all that it has had, so that it is found again while and after one
secret takes the place of another. Each secret belongs to one directory.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clustersession.core.derivation import derive
from clustersession.core.errors import ReplicaUnusable
from clustersession.replica.engines.lmdb.directory import exclusive_opening
from clustersession.replica.home import NAME_DIGITS, NodeHome, parse_name
from clustersession.replica.private_directory import make_private, private_opener

_DIGEST_BYTES = 16

_log = logging.getLogger("clustersession")


def digests_of(secrets: Sequence[str], cluster_name: str) -> list[str]:
    """Return what a node's directory keeps of the secrets: digests that nothing else shows."""
    return [
        derive(secret.encode(), "state directory", cluster_name, _DIGEST_BYTES).hex()
        for secret in secrets
    ]


def directory_name(cluster_name: str, route: str, secret: str) -> str:
    """Return the name of the directory of a node that begins with a secret."""
    return f"{cluster_name}.{route}.{digests_of([secret], cluster_name)[0][:NAME_DIGITS]}"


def nodes_in(base: Path, cluster_name: str, route: str) -> list[NodeHome]:
    """Return the nodes of this name, each with secrets of its own."""
    found = (NodeHome(path) for path in sorted(base.glob(f"{cluster_name}.{route}.*")))
    return [home for home in found if parse_name(home.directory) == (cluster_name, route)]


def find_node(nodes: Sequence[NodeHome], digests: Sequence[str]) -> NodeHome | None:
    """Return the node that knows a secret, the newest one that is known; None when none is."""
    known = [(home, _known_to(home)) for home in nodes]
    return next((home for d in digests for home, its in known if _is_among(d, its)), None)


def find_or_begin(base: Path, cluster_name: str, route: str, secrets: Sequence[str]) -> NodeHome:
    """Return the node of these secrets, newest first, begun if need be. Raises ReplicaUnusable."""
    try:
        return _find_or_begin(base, cluster_name, route, secrets)
    except OSError as error:
        raise ReplicaUnusable(
            f"the node's directory in {base} cannot be used: {error.filename or 'writing in it'}: "
            f"{error.strerror}"
        ) from error


def _find_or_begin(base: Path, cluster_name: str, route: str, secrets: Sequence[str]) -> NodeHome:
    digests = digests_of(secrets, cluster_name)
    with exclusive_opening(base / f"{cluster_name}.{route}"):
        # Several users may share a state_dir; what is another's cannot be read and is not meant.
        nodes = [n for n in nodes_in(base, cluster_name, route) if _is_ours(n.directory)]
        home = find_node(nodes, digests)
        if home is None:
            home = NodeHome(base / directory_name(cluster_name, route, secrets[0]))
            if nodes:
                _say_that_it_begins(home, nodes)
        make_private(home.directory)
        of_others = set[str]().union(*(_known_to(node) for node in nodes if node != home))
        _learn(home, {digest for digest in digests if not _is_among(digest, of_others)})
        return home


def _is_ours(directory: Path) -> bool:
    return directory.lstat().st_uid == os.geteuid()


def _say_that_it_begins(home: NodeHome, nodes: Sequence[NodeHome]) -> None:
    _log.warning(
        "clustersession: a new node begins in %s: none of its secrets is known to %s. That is "
        "right for another application. If the secret of this one was replaced, keep the old one "
        "in the settings too, after the new one, or the sessions are not found",
        home.directory, " or ".join(node.directory.name for node in nodes),
    )


def _known_to(home: NodeHome) -> set[str]:
    """Return the digests that a node knows, and the beginning of one that stands in its name.

    So it is known even if its process was killed before it had written the others.
    """
    digests = {home.directory.name.rpartition(".")[2]}
    with suppress(FileNotFoundError, UnicodeDecodeError):
        with open(home.known_secrets, encoding="ascii", opener=private_opener) as file:
            digests.update(file.read().split())
    return digests


def _is_among(digest: str, known: set[str]) -> bool:
    return digest in known or digest[:NAME_DIGITS] in known


def _learn(home: NodeHome, digests: set[str]) -> None:
    known = _known_to(home)
    if digests <= known:
        return
    text = "".join(f"{digest}\n" for digest in sorted(known | digests))
    fresh = home.known_secrets.with_suffix(".new")
    with open(fresh, "w", encoding="ascii", opener=private_opener) as file:
        file.write(text)
    fresh.replace(home.known_secrets)
