"""Asks other nodes who they are without becoming a member: over TCP, and on the group.

A hello of version 0, which no node speaks, is answered with the other's hello and a closed
connection, so nobody is told of us. On the group a Pong is sent: nodes heed it from members only.
"""

import asyncio
import errno
import secrets
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from clustersession.core.errors import OtherVersion, WireError
from clustersession.core.feed import Batch
from clustersession.core.identity import NODE_ID_BYTES, Address, Identity
from clustersession.net.cluster_certificate import cluster_certificate
from clustersession.net.link_server import dial
from clustersession.net.loop_channel import LoopChannels
from clustersession.net.multicast import MulticastChannel
from clustersession.net.operator_certificates import operator_certificates
from clustersession.net.tls import TlsContexts, tls_contexts
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import DropReason, Opened, Opener, Sealer
from clustersession.wire.keys import ClusterKeys, SecretKeys
from clustersession.wire.messages import (
    QUESTION_VERSION,
    DirectChange,
    Heartbeat,
    Hello,
    Pong,
    check_version,
    decode_message,
    encode_message,
)

DIAL_TIMEOUT_S = 2.0
PEERS_MAX = 64
LISTEN_S_MAX = 3.0
UDP_TIMEOUT_S = 0.5
UDP_ATTEMPTS = 3


@dataclass(slots=True)
class PeerAnswer:
    """Holds what a peer answered. ``trouble``: why it cannot be a peer of ours, what to change.

    ``absent``: nobody is there, which may change. ``by_udp``: it answers by UDP at the same port.
    """

    address: Address
    identity: Identity | None = None
    trouble: str = ""
    absent: bool = False
    by_udp: bool = False


@dataclass(slots=True)
class Heard:
    """Holds what came from the group while we listened; ``trouble`` when it could not be used."""

    trouble: str = ""
    ourselves: bool = False
    peers: dict[Identity, int] = field(default_factory=dict)
    strangers: dict[DropReason, str] = field(default_factory=dict)


class Asker:
    """Asks with the settings' secret and cluster name. ``settings`` are complete."""

    def __init__(self, settings: Settings, cluster_names: Iterable[str]) -> None:
        self._settings = settings
        self._names = [name for name in cluster_names if name != settings.cluster_name]
        self._keys = ClusterKeys.derive(settings.secret, settings.cluster_name)
        self._tls: TlsContexts = tls_contexts(self._keys, operator_certificates(settings))
        nobody = Identity(
            secrets.token_bytes(NODE_ID_BYTES), 0, settings.route, Address(settings.bind, 1)
        )
        name = settings.cluster_name
        self._question = encode_message(Hello(QUESTION_VERSION, name, nobody, QUESTION_VERSION))

    async def ask_all(self, addresses: Iterable[Address]) -> list[PeerAnswer]:
        """Ask all of them at once; of many the first PEERS_MAX."""
        asked = list(dict.fromkeys(addresses))[:PEERS_MAX]
        return list(await asyncio.gather(*(self.ask(address) for address in asked)))

    async def ask(self, address: Address) -> PeerAnswer:
        """Ask who is at an address, or find out what stands between us."""
        answer = PeerAnswer(address)
        try:
            link = await dial(
                address.host, address.port, self._tls.client, self._question, _any_hello,
                DIAL_TIMEOUT_S, proof=self._tls.proof,
            )
        except ConnectionRefusedError:
            answer.absent = True
            answer.trouble = "nobody listens there; start that node, or mend the seed"
        except TimeoutError:
            answer.trouble = (
                f"no answer within {DIAL_TIMEOUT_S:g} s; is a firewall between, or another "
                "program there?"
            )
        except WireError as error:
            answer.trouble = await self._why_not(address, str(error))
        except OSError as error:
            answer.trouble = f"it cannot be reached: {error.strerror or error}"
        else:
            link.abort("only asked")
            self._judge(link.hello, answer)
        if answer.identity is not None and not answer.trouble:
            answer.by_udp = await self._answers_by_udp(address)
        return answer

    async def _answers_by_udp(self, address: Address) -> bool:
        """Send a change that nobody can take, and see whether that is said."""
        nobody = secrets.token_bytes(NODE_ID_BYTES)
        channels = LoopChannels(self._keys, self._settings.cluster_name)
        try:
            channel = await channels.open(address)
            for number in range(1, UDP_ATTEMPTS + 1):
                question = encode_message(DirectChange(Batch(nobody, 0, 0, 0, 0, ()), number))
                with suppress(TimeoutError):
                    async with asyncio.timeout(UDP_TIMEOUT_S):
                        if await channel.ask(number, question) is not None:
                            return True
        except OSError:
            pass
        finally:
            channels.close()
        return False

    def _judge(self, hello: Hello, answer: PeerAnswer) -> None:
        answer.identity = hello.identity
        ours = self._settings.cluster_name
        if hello.cluster_name != ours:
            answer.trouble = (
                f"it belongs to cluster {hello.cluster_name!r}, this one to {ours!r}; set the same "
                "cluster_name"
            )
        try:
            check_version(hello)
        except OtherVersion as error:
            answer.trouble = str(error)

    async def _why_not(self, address: Address, reason: str) -> str:
        if self._tls.proof is not None:
            return (
                f"it does not accept us ({reason}); compare tls_ca, secret and cluster_name with "
                "its own"
            )
        shown = await asyncio.get_running_loop().run_in_executor(None, _certificate_at, address)
        if shown is None:
            return f"what listens there is no node of clustersession ({reason}); mend the seed"
        for name in self._names:
            keys = ClusterKeys.derive(self._settings.secret, name)
            if shown in {_der(k) for k in keys.secrets}:
                return (
                    f"it holds our secret and belongs to cluster {name!r}, this one to "
                    f"{self._settings.cluster_name!r}; set the same cluster_name"
                )
        if shown in {_der(k) for k in self._keys.secrets}:
            return (
                "it holds one of our secrets and does not accept our first; give it all of them "
                "(docs/operations/run.md, rotating the secret)"
            )
        return (
            "it holds another secret (or is of a cluster with another name); set the same "
            "CLUSTERSESSION_SECRET on every node"
        )

    async def listen(self, listen_s: float) -> Heard:
        """Send to the group and listen to who is heard there, ourselves first of all."""
        settings, heard = self._settings, Heard()
        name = settings.cluster_name
        node = secrets.token_bytes(NODE_ID_BYTES)
        sealer = Sealer(self._keys, name, node, secrets.randbits(63))
        opener = Opener(self._keys, name)

        def on_datagram(data: bytes, source: tuple[str, int]) -> None:
            opened = opener.open(data)
            if not isinstance(opened, Opened):
                heard.strangers.setdefault(opened.reason, source[0])
            elif opened.sender == node:
                heard.ourselves = True
            else:
                _note(heard, opened)

        def on_trouble(text: str) -> None:
            heard.trouble = text

        channel = MulticastChannel(
            settings.multicast_address, settings.multicast_port, settings.multicast_ttl,
            "0.0.0.0" if ":" in settings.bind else settings.bind, on_datagram, on_trouble,
        )
        try:
            await channel.start()
        except OSError as error:
            heard.trouble = error.strerror or str(error)
            return heard
        try:
            end_s = time.monotonic() + min(listen_s, LISTEN_S_MAX)
            while time.monotonic() < end_s:
                channel.send(sealer.seal(encode_message(Pong(0))))
                await asyncio.sleep(0.2)
        finally:
            channel.close()
        return heard


def _note(heard: Heard, opened: Opened) -> None:
    try:
        message = decode_message(opened.payload)
    except WireError:
        return
    if isinstance(message, Heartbeat):
        heard.peers[message.identity] = message.wall_ms - time.time_ns() // 1_000_000


def _any_hello(data: bytes) -> Hello:
    hello = decode_message(data)
    if not isinstance(hello, Hello):
        raise WireError("the first message is not a hello")
    return hello


def _certificate_at(address: Address) -> bytes | None:
    """Fetch the certificate that anybody is shown; None where nobody speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address.host, address.port), DIAL_TIMEOUT_S) as sock:
            with context.wrap_socket(sock) as secured:
                return secured.getpeercert(binary_form=True)
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise
        return None


def _der(keys: SecretKeys) -> bytes:
    pem = cluster_certificate(keys).certificate_pem
    return ssl.PEM_cert_to_DER_cert(pem.decode())
