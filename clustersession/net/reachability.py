"""Tries whether anybody accepts connections at an address."""

import asyncio


async def why_unreachable(host: str, port: int, timeout_s: float) -> str:
    """Say why no connection to the address comes up; empty when one does. Nothing is sent."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.transport.abort()
    return ""
