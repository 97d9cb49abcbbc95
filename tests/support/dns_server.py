"""A name server for tests: A records from a JSON file that is read anew for every question.

Arguments: the address to listen on (UDP port 53), the file. The file maps names to lists of
addresses; a name that is not in it does not exist.
"""

import json
import socket
import struct
import sys
from pathlib import Path

TYPE_A = 1
NO_SUCH_NAME = 3


def answer(query: bytes, zone: dict[str, list[str]]) -> bytes:
    """The response to one question; nobody in a test asks two in one message."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack_from("!H", query, at + 1)
    addresses = zone.get(".".join(labels).lower())
    found = addresses if addresses and kind == TYPE_A else []
    flags = 0x8580 | (NO_SUCH_NAME if addresses is None else 0)
    head = struct.pack("!HHHHHH", struct.unpack_from("!H", query)[0], flags, 1, len(found), 0, 0)
    # The name is the one at offset 12; nothing may be kept for a second.
    records = [
        struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, 0, 4) + socket.inet_aton(address)
        for address in found
    ]
    return head + question + b"".join(records)


def main() -> None:
    host, path = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 53))
        print("ready", flush=True)
        while True:
            query, client = sock.recvfrom(4096)
            sock.sendto(answer(query, json.loads(Path(path).read_text())), client)


if __name__ == "__main__":
    main()
