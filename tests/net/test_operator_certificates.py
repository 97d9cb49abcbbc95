"""Certificates from files: only that authority is trusted, only the secret gets in, errors name."""

import ssl
from pathlib import Path

import pytest

from clustersession.core.errors import ConfigurationError, WireError
from clustersession.net.link_server import LinkServer, Refusal, dial
from clustersession.net.operator_certificates import OperatorCertificates
from clustersession.net.tls import TlsContexts, tls_contexts
from clustersession.wire.keys import ClusterKeys
from tests.support.certificates import Authority

NAMES = ("tls_certificate", "tls_key", "tls_ca")


def contexts(files: dict[str, str], secret: str = "the secret") -> TlsContexts:
    own = OperatorCertificates.read(*(files[name] for name in NAMES))
    return tls_contexts(ClusterKeys.derive([secret], "shop"), own)


async def refusals_of(ours: TlsContexts, theirs: TlsContexts, until) -> LinkServer:
    """A server of ours, dialled by them; the server when it has a link or a refusal."""
    links = []
    server = LinkServer(
        "127.0.0.1", 0, 1, ours.server, lambda: b"server", bytes.decode, links.append,
        proof=ours.proof,
    )
    await server.start()
    try:
        try:
            link = await dial(
                *server.address, theirs.client, b"client", bytes.decode, 5, proof=theirs.proof
            )
            assert link.hello == "server"
        except (WireError, ConnectionError):
            # Refused; what the server says about it counts.
            pass
        else:
            await until(lambda: links)
            assert links[0].hello == "client"
            link.abort("seen enough")
            await link.wait_closed()
        await until(lambda: links or server.refused.total())
        for made in links:
            made.abort("seen enough")
            await made.wait_closed()
    finally:
        await server.close()
    return server


def test_two_nodes_with_certificates_of_one_authority_link(run, until, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = run(refusals_of(
        contexts(authority.files("one")), contexts(authority.files("two")), until
    ))
    assert not server.refused


def test_one_certificate_for_all_nodes_works(run, until, tmp_path: Path) -> None:
    files = Authority(tmp_path).files("all")
    assert not run(refusals_of(contexts(files), contexts(files), until)).refused


def test_another_authority_is_refused_in_the_handshake(run, until, tmp_path: Path) -> None:
    ours = contexts(Authority(tmp_path, "ours").files("node"))
    theirs = contexts(Authority(tmp_path, "theirs").files("node"))
    theirs.client.load_verify_locations(tmp_path / "ours.pem")
    assert run(refusals_of(ours, theirs, until)).refused == {Refusal.TLS: 1}


def test_the_secret_alone_does_not_get_in(run, until, tmp_path: Path) -> None:
    ours = contexts(Authority(tmp_path).files("node"))
    derived = tls_contexts(ClusterKeys.derive(["the secret"], "shop"))
    derived.client.load_verify_locations(tmp_path / "authority.pem")
    derived.client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    assert run(refusals_of(ours, derived, until)).refused == {Refusal.TLS: 1}


def test_a_certificate_without_the_secret_does_not_get_in(run, until, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours = contexts(authority.files("node"))
    for theirs in (
        contexts(authority.files("thief"), secret="another secret"),
        TlsContexts(ours.server, contexts(authority.files("other")).client, None),
    ):
        assert run(refusals_of(ours, theirs, until)).refused == {Refusal.HELLO: 1}


@pytest.mark.parametrize("setting", NAMES)
@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read: No such file"), (b"nonsense", "PEM")],
    ids=["missing", "nonsense"],
)
def test_what_is_wrong_with_a_file_names_the_setting(
    setting: str, content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    files = Authority(tmp_path).files("node")
    files[setting] = str(tmp_path / "other")
    if content is not None:
        (tmp_path / "other").write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"^{setting} is .*{complaint}") as caught:
        contexts(files)
    assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = {**authority.files("one"), "tls_key": authority.files("two")["tls_key"]}
    with pytest.raises(ConfigurationError, match=r"tls_key is .* must be the key of"):
        contexts(files)


def test_a_broken_certificate_in_good_armour_is_refused(tmp_path: Path) -> None:
    files = Authority(tmp_path).files("node")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for setting in ("tls_certificate", "tls_ca"):
        with pytest.raises(ConfigurationError, match="tls_"):
            contexts({**files, setting: str(broken)})


def test_the_key_does_not_show(tmp_path: Path) -> None:
    files = Authority(tmp_path).files("node")
    assert "PRIVATE" not in repr(OperatorCertificates.read(*(files[name] for name in NAMES)))
