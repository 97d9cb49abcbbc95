"""Record the formats of this tree, for later versions to be held against.

    python -m tests.versions.record [--replace]

Writes ``recordings/v<PROTOCOL_VERSION>``. A recording of a version that was released is never made
again; ``--replace`` is for one that was not.
"""

import argparse
import gzip
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from clustersession.agent.start import encode_start
from clustersession.net.cluster_certificate import cluster_certificate
from clustersession.replica.home import NodeHome
from clustersession.session.seen import SeenTokens
from clustersession.session.token import id_signer
from clustersession.settings.settings import Settings
from clustersession.wire.envelope import Sealer
from clustersession.wire.keys import ClusterKeys
from clustersession.wire.local import encode_answer, encode_request
from clustersession.wire.messages import PROTOCOL_VERSION, encode_message
from clustersession.wire.proof import HelloProof
from clustersession.wire.records import encode_batch, encode_state
from clustersession.wire.values import encode_value
from tests.versions import conversation, samples, store
from tests.versions.describing import describe, spelled
from tests.versions.formats import formats_now
from tests.versions.old_reader import RECORDINGS

SENDERS = dict(zip(samples.SECRETS, [(samples.NODE_A, 1 << 22), (samples.NODE_B, 2**64 - 1)],
                   strict=True))


def messages() -> list[dict[str, Any]]:
    """Every kind of message, several values of it."""
    return [
        {"name": name, "bytes": encode_message(message).hex(), "meaning": describe(message)}
        for name, message in samples.messages().items()
    ]


def records() -> list[dict[str, Any]]:
    """Sessions and batches as they stand alone."""
    coded = [(f"session {n}", encode_state(s), s) for n, s in samples.STATES.items()]
    coded += [(f"batch {n}", encode_batch(b), b) for n, b in samples.BATCHES.items()]
    return [
        {"name": name, "bytes": data.hex(), "meaning": describe(what)} for name, data, what in coded
    ]


def datagrams() -> dict[str, Any]:
    """Sealed datagrams, of one sender for each secret, and the keys that open them."""
    sealed = []
    for secret, (sender, epoch) in SENDERS.items():
        keys = ClusterKeys.derive([secret], samples.CLUSTER_NAME)
        sealer = Sealer(keys, samples.CLUSTER_NAME, sender, epoch)
        for sequence, name in enumerate(("heartbeat", "changes", "goodbye"), 1):
            payload = encode_message(samples.messages()[name])
            sealed.append({
                "bytes": sealer.seal(payload).hex(), "sender": sender.hex(), "epoch": epoch,
                "sequence": sequence, "payload": payload.hex(),
            })
    keys_of_senders = {
        f"{sender.hex()} {epoch}": sender_key(secret, sender, epoch).hex()
        for secret, (sender, epoch) in SENDERS.items()
    }
    return {"datagrams": sealed, "keys": keys_of_senders}


def sender_key(secret: str, sender: bytes, epoch: int) -> bytes:
    """The key of one sender's datagrams, derived here as the protocol says and not by its code."""
    info = b"datagram\0" + samples.CLUSTER_NAME.encode()
    base = HKDF(SHA256(), 32, b"clustersession keys 1", info).derive(secret.encode())
    return HKDFExpand(SHA256(), 32, b"sender" + sender + epoch.to_bytes(8, "big")).derive(base)


def connections() -> dict[str, Any]:
    """What the two ends of a connection show each other."""
    keys = ClusterKeys.derive(samples.SECRETS, samples.CLUSTER_NAME)
    certificate = cluster_certificate(keys.first)
    hello = encode_message(samples.messages()["hello"])
    ours, theirs = b"certificate of the dialler", b"certificate of the answerer"
    return {
        "certificate": certificate.certificate_pem.decode(),
        "private_key": certificate.key_pem.decode(),
        "dialler": ours.decode(), "answerer": theirs.decode(), "hello": hello.hex(),
        "proved_by_dialler": HelloProof(keys, ours).add(hello, theirs, we_dialled=True).hex(),
        "proved_by_answerer": HelloProof(keys, theirs).add(hello, ours, we_dialled=False).hex(),
    }


def local() -> dict[str, Any]:
    """What workers and agent say to each other, and what an agent is started with."""
    settings = Settings(
        distributable=True, route="tomcat1", secret=samples.SECRETS, seeds=("10.0.0.1:4000",)
    )
    return {
        "requests": [
            {"name": name, "bytes": encode_request(op, token, *argument).hex(),
             "meaning": [int(op), token, describe(argument)]}
            for name, (op, token, argument) in samples.REQUESTS.items()
        ],
        "answers": [
            {"name": name, "bytes": encode_answer(token, value).hex(), "meaning": [token, value]}
            for name, (token, value) in samples.ANSWERS.items()
        ],
        "views": [
            {"name": name, "bytes": view.encode().hex(), "meaning": describe(view)}
            for name, view in samples.VIEWS.items()
        ],
        "start": encode_start(settings, NodeHome(Path("/var/lib/app/shop.tomcat1"))).decode(),
    }


def cookies() -> dict[str, Any]:
    """What browsers keep: ids by each secret, and the second cookie."""
    ids = []
    tokens = SeenTokens(id_signer(samples.SECRETS, samples.CLUSTER_NAME))
    for secret in samples.SECRETS:
        signer = id_signer([secret], samples.CLUSTER_NAME)
        for number in (0, 1, 255):
            identifier = signer.mint(bytes([number]) * 16)
            ids.append({"secret": secret, "id": identifier, "key": signer.key_of(identifier)})
    seen = [
        {"token": tokens.encode(samples.KEY, state), "meaning": describe(state.versions)}
        for state in samples.STATES.values()
    ]
    return {"ids": ids, "seen": seen}


def values() -> list[dict[str, str]]:
    """Values of attributes; as Python writes them, because JSON cannot."""
    return [{"bytes": encode_value(v).hex(), "meaning": spelled(v)} for v in samples.VALUES]


def stored(target: Path) -> dict[str, Any]:
    """A replica's tables, and beside them LMDB's own file."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "replica"
        store.write(directory)
        dumped = store.dump(directory)
        replica = store.open_replica(directory, "later")
        found = store.meaning(replica)
        replica.mark_clean()
        data = (directory / "data.mdb").read_bytes()
        (target / "data.mdb.gz").write_bytes(gzip.compress(data, mtime=0))
        boot = f"{store.BOOT}\nclean"
    return {"machine": platform.machine(), "boot": boot, "tables": dumped, "meaning": found}


def write_recording(target: Path) -> None:
    """Everything, into an existing directory."""
    parts = {
        "formats": formats_now(), "messages": messages(), "records": records(),
        "datagrams": datagrams(), "connections": connections(), "local": local(),
        "cookies": cookies(), "values": values(), "store": stored(target),
    }
    for name, part in parts.items():
        text = json.dumps(part, indent=1, ensure_ascii=False)
        (target / f"{name}.json").write_text(text + "\n")
    conversation.save(target / "conversation.jsonl.gz", conversation.record())


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replace", action="store_true", help="this version is not released yet")
    replace = parser.parse_args().replace
    target = RECORDINGS / f"v{PROTOCOL_VERSION}"
    if target.exists() and not replace:
        print(
            f"{target.name} is recorded. If it was released, raise PROTOCOL_VERSION in "
            "clustersession/wire/messages.py; if not, record it again with --replace."
        )
        return 1
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    write_recording(target)
    total = sum(path.stat().st_size for path in target.iterdir())
    print(f"recorded {target.name}: {total // 1024} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
