"""The FastAPI example, and a request that waits between its reading and its writing.

For tests of what happens to a session while a slow request has it in hand: the test sees that the
request has read, does something elsewhere, and lets it go on. Run it as ``gated_app:app`` in this
directory.
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "fastapi_app"))

from app import api_show, app
from fastapi import Request

waiting: list[asyncio.Event] = []


@app.post("/api/held")
async def held(request: Request) -> dict[str, object]:
    """Read at once; write when somebody lets go."""
    request.session.get("late")
    gate = asyncio.Event()
    waiting.append(gate)
    await gate.wait()
    request.session["late"] = 1
    return await api_show(request)


@app.get("/api/held")
async def count_held() -> dict[str, int]:
    """How many requests wait."""
    return {"waiting": len(waiting)}


@app.post("/api/let-go")
async def let_go() -> dict[str, int]:
    """Let all of them write."""
    released = list(waiting)
    waiting.clear()
    for gate in released:
        gate.set()
    return {"released": len(released)}
