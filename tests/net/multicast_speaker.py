"""A process that says its name to a group over and over and prints each new name it hears.

    python -m tests.net.multicast_speaker NAME INTERFACE_ADDRESS [GROUP]
"""

import asyncio
import sys

from clustersession.net.multicast import MulticastChannel

PORT = 45564


async def main(name: str, interface_address: str, group: str = "228.0.0.4") -> None:
    heard: set[str] = set()

    def on_datagram(data: bytes, source: tuple[str, int]) -> None:
        line = f"{data.decode()} {source[0]}"
        if line not in heard:
            heard.add(line)
            print(line, flush=True)

    channel = MulticastChannel(
        group, PORT, 1, interface_address, on_datagram,
        on_trouble=lambda text: print("trouble:", text, flush=True),
    )
    await channel.start()
    while True:
        channel.send(name.encode())
        await asyncio.sleep(0.02)


asyncio.run(main(*sys.argv[1:]))
