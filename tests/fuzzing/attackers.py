"""Programs that attack a node's ports from outside: each runs as a process of its own.

    python -m tests.fuzzing.attackers datagrams GROUP PORT COUNT
    python -m tests.fuzzing.attackers connections HOST PORT COUNT
    python -m tests.fuzzing.attackers loris HOST PORT COUNT SECONDS
    python -m tests.fuzzing.attackers mute HOST PORT COUNT SECONDS [asks]

The last one wants TEST_SECRET and TEST_CLUSTER in its environment.

Each prints "begun" when it is under way, and what it did at its end.
"""

import os
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from random import Random

from clustersession.core.feed import START
from clustersession.core.identity import Address, Identity, first_incarnation
from clustersession.net.tls import tls_contexts
from clustersession.wire.envelope import Sealer
from clustersession.wire.frames import encode_frame
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.messages import (
    PROTOCOL_VERSION,
    Hello,
    Ping,
    Progress,
    SessionsRequest,
    encode_message,
)
from tests.fuzzing.mutation import mutated

CONNECT_TIMEOUT_S = 2.0
AUTHENTICATE_TIMEOUT_S = 20.0
LORIS_INTERVAL_S = 1.0


def datagrams(group: str, port: str, count: str) -> str:
    """Garbage of many kinds to the group, as fast as the system takes it."""
    rng = Random(1)
    strangers = ClusterKeys.derive(["a secret of strangers"], "elsewhere")
    sealer = Sealer(strangers, "elsewhere", b"stranger", 1)
    kinds = [sealer.seal(rng.randbytes(size)) for size in (0, 100, 1300, 60_000)]
    kinds += [rng.randbytes(size) for size in (1, 35, 52, 1400, 9000)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        for _ in range(int(count)):
            data = rng.choice(kinds)
            if rng.random() < 0.3:
                data = mutated(rng, data[:1400], kinds[1])
            sock.sendto(data[:65_000], (group, int(port)))
    return f"{count} datagrams"


def client_hello() -> bytes:
    """The first bytes of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=None).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def connections(host: str, port: str, count: str) -> str:
    """Connections that say garbage and go, some of them without waiting for an answer."""
    rng = Random(2)
    hello = client_hello()
    refused = 0
    for _ in range(int(count)):
        say = rng.choice((b"", b"GET / HTTP/1.0\r\n\r\n", rng.randbytes(3000), hello,
                          mutated(rng, hello, hello)))
        try:
            with socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S) as sock:
                sock.sendall(say)
                if rng.random() < 0.5:
                    sock.settimeout(0.05)
                    sock.recv(100)
        except OSError:
            refused += 1
    return f"{count} connections, {refused} of them cut short"


def loris(host: str, port: str, count: str, seconds: str) -> str:
    """Handshakes of one byte a second, each begun anew when it is closed."""
    hello = client_hello()
    open_now: dict[socket.socket, int] = {}
    opened, end_s = 0, time.monotonic() + float(seconds)
    with selectors.DefaultSelector() as selector:
        next_s = time.monotonic()
        while time.monotonic() < end_s:
            while len(open_now) < int(count):
                try:
                    sock = socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S)
                except OSError:
                    break
                opened += 1
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
                open_now[sock] = 0
            for key, _ in selector.select(min(0.05, max(0.0, next_s - time.monotonic()))):
                _drop_if_closed(key.fileobj, selector, open_now)  # type: ignore[arg-type]
            if time.monotonic() >= next_s:
                next_s += LORIS_INTERVAL_S
                for sock, said in list(open_now.items()):
                    _say_one_byte(sock, hello[said : said + 1], open_now)
    return f"{opened} handshakes of which at most {count} at a time"


def _drop_if_closed(
    sock: socket.socket, selector: selectors.BaseSelector, open_now: dict[socket.socket, int]
) -> None:
    try:
        gone = not sock.recv(4096)
    except OSError:
        gone = True
    if gone:
        selector.unregister(sock)
        open_now.pop(sock, None)
        sock.close()


def _say_one_byte(sock: socket.socket, byte: bytes, open_now: dict[socket.socket, int]) -> None:
    try:
        sock.send(byte)
        open_now[sock] += 1
    except OSError:
        pass


def mute(host: str, port: str, count: str, seconds: str, asks: str = "") -> str:
    """Peers that know the secret and read nothing; with ``asks`` they ask, again and again."""
    cluster = os.environ["TEST_CLUSTER"]
    keys = ClusterKeys.derive([os.environ["TEST_SECRET"]], cluster)
    context = tls_contexts(keys).client
    end_s = time.monotonic() + float(seconds)
    closed: list[float] = []

    def one(number: int) -> None:
        begin_s = time.monotonic()
        node = b"mute%04d" % number
        own = Identity(node, first_incarnation(1), "mute", Address("127.0.0.9", 9))
        question = encode_frame(
            encode_message(SessionsRequest(tuple(f"1{n:022d}" for n in range(200))))
        )
        ping = encode_frame(encode_message(Ping(1)))
        with socket.create_connection((host, int(port)), AUTHENTICATE_TIMEOUT_S) as raw:
            # What the kernel keeps for it is small, so that it is the node that has to wait.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            with context.wrap_socket(raw) as sock:
                sock.sendall(encode_frame(
                    encode_message(Hello(PROTOCOL_VERSION, cluster, own))
                ))
                sock.sendall(encode_frame(encode_message(Progress(START, True, False))))
                try:
                    while time.monotonic() < end_s:
                        sock.sendall(question if asks else ping)
                        pause.wait(0.02 if asks else 0.5)
                except OSError:
                    closed.append(time.monotonic() - begin_s)

    pause = threading.Event()
    threads = [threading.Thread(target=one, args=(number,)) for number in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = ", ".join(f"{s:.1f}" for s in sorted(closed))
    return f"{count} mute peers, {len(closed)} of them closed by the node after {times} s"


ATTACKS: dict[str, Callable[..., str]] = {
    "datagrams": datagrams, "connections": connections, "loris": loris, "mute": mute,
}


if __name__ == "__main__":
    print("begun", flush=True)
    print(ATTACKS[sys.argv[1]](*sys.argv[2:]), flush=True)
