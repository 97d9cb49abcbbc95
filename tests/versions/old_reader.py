"""A reader of an older version that knows nothing of the product: only a recorded ``formats.json``.

It reads as that version did: what it needs must be there and of the right kind, what is appended
it ignores. What it makes of the bytes are plain values, to be compared with what it makes of bytes
that the older version itself wrote.

A shape is a word ("uint", "bool", "text", "bytes", "any", "ip", "route", "key", "state") or one of
``{"bytes": length}``, ``{"number": n}``, ``{"among": [n, ...]}``, ``{"row": [shape, ...]}``,
``{"list": shape}``, ``{"maybe": shape}``, ``{"packed": shape}`` (a byte string of msgpack),
``{"kind": name}``.
"""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from struct import Struct
from typing import Any

import msgpack
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RECORDINGS = Path(__file__).with_name("recordings")
UINT_MAX = 2**63 - 1


class NotUnderstood(AssertionError):
    """What an older version could not have read."""


class OldReader:
    """Reads by the formats of one recording."""

    def __init__(self, recording: Path) -> None:
        self.formats: dict[str, Any] = json.loads((recording / "formats.json").read_text())
        self._words = {
            "uint": lambda v: type(v) is int and 0 <= v <= UINT_MAX,
            "bool": lambda v: type(v) is bool,
            "text": lambda v: type(v) is str,
            "bytes": lambda v: type(v) is bytes,
            "any": lambda v: True,
            "ip": lambda v: type(v) is str and bool(ip_address(v)),
            "route": lambda v: type(v) is str and bool(re.fullmatch("[A-Za-z0-9_]{1,32}", v)),
            "key": lambda v: type(v) is str and 0 < len(v) <= 128 and v.isascii(),
        }

    # ---- shapes ----------------------------------------------------------------------------------

    def read(self, shape: Any, value: Any) -> Any:
        """What the shape means in the value."""
        if isinstance(shape, str):
            if shape == "state":
                return self._state(value)
            _expect(self._words[shape](value), f"{value!r} is no {shape}")
            return value
        ((form, inner),) = shape.items()
        return getattr(self, f"_{form}")(inner, value)

    def _bytes(self, length: int, value: Any) -> bytes:
        _expect(type(value) is bytes and len(value) == length, f"{value!r}: not {length} bytes")
        return value

    def _number(self, number: int, value: Any) -> int:
        _expect(type(value) is int and value == number, f"{value!r} is not {number}")
        return value

    def _among(self, numbers: list[int], value: Any) -> int:
        _expect(type(value) is int and value in numbers, f"{value!r} is none of {numbers}")
        return value

    def _row(self, shapes: list[Any], value: Any) -> list[Any]:
        _expect(type(value) is list and len(value) >= len(shapes), f"{value!r} is too short a row")
        return [self.read(shape, part) for shape, part in zip(shapes, value, strict=False)]

    def _list(self, shape: Any, value: Any) -> list[Any]:
        _expect(type(value) is list, f"{value!r} is no list")
        return [self.read(shape, part) for part in value]

    def _maybe(self, shape: Any, value: Any) -> Any:
        return None if value is None else self.read(shape, value)

    def _packed(self, shape: Any, value: Any) -> Any:
        _expect(type(value) is bytes, f"{value!r} is no byte string")
        return self.read(shape, _unpacked(value))

    def _kind(self, name: str, value: Any) -> Any:
        return self.read(self.formats["kinds"][name], value)

    def _state(self, value: Any) -> dict[str, Any]:
        """A session; nodes are named by their index in a table."""
        shapes = [{"number": self.formats["record_format"]}, "uint", "uint", "uint",
                  {"list": {"bytes": 8}}, {"list": "uint"}, {"list": "any"}, "any"]
        _, created, accessed, deadline, nodes, versions, registers, ended = self._row(shapes, value)
        _expect(len(versions) % 2 == 0 and len(registers) % 5 == 0, "an uneven list")
        register_shape = ["text", "uint", "uint", "uint", {"maybe": "bytes"}]
        rows = [
            self._row(register_shape, registers[at : at + 5]) for at in range(0, len(registers), 5)
        ]
        end = None if ended is None else self._row(["uint", "uint", "text"], ended)
        return {
            "times": [created, accessed, deadline],
            "versions": {nodes[i]: seq for i, seq in zip(versions[::2], versions[1::2],
                                                         strict=True)},
            "registers": {name: (t, nodes[i], seq, data) for name, t, i, seq, data in rows},
            "ended": end and [end[0], nodes[end[1]], end[2]],
        }

    # ---- between nodes ---------------------------------------------------------------------------

    def message(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """A message's name and fields; one of an unknown number is ("unknown", {})."""
        plain = _unpacked(data)
        _expect(type(plain) is list and bool(plain) and type(plain[0]) is int, "no message")
        known = self.formats["messages"].get(str(plain[0]))
        if known is None:
            return "unknown", {}
        values = {}
        for field in known["fields"]:
            if field["number"] < len(plain):
                shape = {"kind": field["kind"]}
                values[field["name"]] = self.read(shape, plain[field["number"]])
            else:
                _expect(not field["required"], f"{known['name']} lacks {field['name']}")
        return known["name"], values

    def accepts_hello(self, data: bytes) -> bool:
        """Whether the older node works together with the sender of a hello."""
        name, fields = self.message(data)
        _expect(name == "Hello", f"the first message is a {name}")
        lowest, highest = self.formats["protocol_version_min"], self.formats["protocol_version"]
        return max(fields["version_min"], lowest) <= min(fields["version"], highest)

    def datagram(self, data: bytes, cluster_name: str, keys: dict[str, str]) -> tuple[Any, ...]:
        """Sender, epoch, sequence and payload; ``keys`` by sender and epoch, in hexadecimal."""
        header = Struct(self.formats["datagram"]["header"])
        magic, version, _, _, sender, epoch, sequence = header.unpack_from(data)
        _expect(magic == b"CLS", "no datagram of ours")
        _expect(version == self.formats["datagram"]["version"], f"a datagram of version {version}")
        cipher = AESGCM(bytes.fromhex(keys[f"{sender.hex()} {epoch}"]))
        bound = data[: header.size] + cluster_name.encode()
        payload = cipher.decrypt(sequence.to_bytes(12, "big"), data[header.size :], bound)
        return sender, epoch, sequence, payload

    # ---- on one host -----------------------------------------------------------------------------

    def request(self, data: bytes) -> list[Any]:
        """Operation, token and arguments of a worker; an unknown operation is answered with nil."""
        operation, token, arguments = self.read({"row": ["uint", "uint", {"list": "any"}]},
                                                _unpacked(data))
        shapes = self.formats["operations"].get(str(operation))
        return [operation, token, None if shapes is None else self._row(shapes, arguments)]

    def answer(self, data: bytes) -> list[Any]:
        """Token and value of an answer of the agent."""
        return self.read({"row": ["uint", "any"]}, _unpacked(data))

    def table(self, name: str, rows: list[list[str]]) -> list[tuple[Any, Any]]:
        """The rows of a table of the store, given in hexadecimal."""
        key_parts, value_parts = self.formats["tables"][name]
        return [
            (self._parts(key_parts, bytes.fromhex(key)), self._parts(value_parts,
                                                                   bytes.fromhex(value)))
            for key, value in rows
        ]

    def _parts(self, parts: list[str], data: bytes) -> list[Any]:
        """Fixed parts by struct, the last one may be "text", "bytes" or "state"."""
        found: list[Any] = []
        for part in parts:
            if part == "state":
                found.append(self._packed("state", data))
            elif part == "text":
                found.append(data.decode())
            elif part == "bytes":
                found.append(data)
            else:
                fixed = Struct(part)
                found += fixed.unpack_from(data)
                data = data[fixed.size :]
        return found

    def view(self, data: bytes) -> tuple[set[str], bool]:
        """Serving routes and whether the node drains."""
        line = data.decode().partition("\n")[0]
        return set(filter(None, line.removesuffix("!").split(","))), line.endswith("!")

    # ---- what browsers keep ----------------------------------------------------------------------

    def key_of_id(self, identifier: str, secret: bytes, cluster_name: str) -> str | None:
        """The key of a session id, None when its signature is wrong."""
        ids = self.formats["ids"]
        secret = self._id_key(secret, cluster_name)
        key, signature = identifier[: ids["key_length"]], identifier[ids["key_length"] :]
        salt = ids["salt"].encode()
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        character = alphabet[sha256(salt + b".key-character\0" + secret).digest()[0] & 63]
        signing_key = hmac.digest(secret, salt, "sha256")
        code = hmac.digest(signing_key, key.encode(), "sha256")[: ids["mac_bytes"]]
        good = key[0] == character and signature == urlsafe_b64encode(code).decode().rstrip("=")
        return key if good else None

    def seen(self, token: str, key: str, secret: bytes, cluster_name: str) -> dict[bytes, int]:
        """The writes a second cookie names, for a session, signed with a secret."""
        _expect(token[:1] == "1", f"a token of format {token[:1]}")
        signed = urlsafe_b64decode(token[1:] + "=" * (-len(token[1:]) % 4))
        ids = self.formats["ids"]
        data, mac = signed[: -ids["seen_mac_bytes"]], signed[-ids["seen_mac_bytes"] :]
        root = sha256(ids["salt"].encode() + b".keys\0" + self._id_key(secret, cluster_name))
        signing_key = hmac.digest(root.digest(), b"seen", "sha256")
        code = hmac.digest(signing_key, key.encode() + b"\0" + data, "sha256")
        _expect(code[: ids["seen_mac_bytes"]] == mac, "a token with another signature")
        return {
            data[at : at + 8]: int.from_bytes(data[at + 8 : at + 14], "big")
            for at in range(0, len(data), 14)
        }

    def _id_key(self, secret: bytes, cluster_name: str) -> bytes:
        info = f"{self.formats['ids']['purpose']}\0{cluster_name}".encode()
        return HKDF(SHA256(), 32, b"clustersession keys 1", info).derive(secret)


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, use_list=True)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise NotUnderstood(f"no msgpack: {error!r}") from error


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotUnderstood(otherwise)
