"""Visitors who count their own requests, each on a fresh connection, and notice what is wrong."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from clustersession.tools.demo.processes import StepFailed, wait_for

COOKIE_NAME = "CLUSTERSESSION"
PAUSE_AFTER_FAILURE_S = 0.05
ANSWER_TIMEOUT_S = 30.0


def request(port: int, method: str, path: str, cookie: str | None = None) -> tuple[int, str, Any]:
    """Status, body and the value of the cookie that was set, of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        headers = {"Connection": "close"}
        if cookie is not None:
            headers["Cookie"] = f"{COOKIE_NAME}={cookie}"
        connection.request(method, path, None, headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        assigned = response.getheader("Set-Cookie") or ""
    finally:
        connection.close()
    name, _, value = assigned.partition(";")[0].partition("=")
    return response.status, body, value if name == COOKIE_NAME else None


class Visitor:
    """One session. ``visit`` raises StepFailed when it is lost, new, or goes back."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self.answers = 0
        self.workers: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self._port = port
        self._cookie: str | None = None
        # Requests without an answer that have not shown yet: each may be carried out, even later.
        self._open = 0

    def visit(self) -> bool:
        """Count one on; whether there was an answer."""
        try:
            status, body, assigned = request(self._port, "POST", "/count", self._cookie)
        except (OSError, http.client.HTTPException) as error:
            self.errors["refused" if isinstance(error, ConnectionRefusedError) else "cut"] += 1
            self._open += 1
            return False
        if status != 200:
            raise StepFailed(f"answered with {status}: {body[:300]}")
        answer = json.loads(body)
        if assigned is not None:
            if self._cookie is not None:
                raise StepFailed(f"{self._cookie} was given a new cookie {assigned}")
            self._cookie = assigned
            # What had no answer before was a session of its own, whose cookie nobody has.
            self._open = 0
        surplus = answer["count"] - self.count - 1
        if not 0 <= surplus <= self._open:
            raise StepFailed(
                f"counted {answer['count']} after {self.count}, with {self._open} requests open"
            )
        self.count, self._open = answer["count"], self._open - surplus
        self.answers += 1
        self.workers[answer["pid"]] += 1
        return True


class Load:
    """Visitors who come all the time, within the block; the first wrong answer ends it."""

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        self._visitors = visitors
        self._stop = threading.Event()
        self._wrong: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._come, args=[visitor]) for visitor in self._visitors
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            self.check()

    def again(self) -> "Load":
        """The same visitors, with their sessions, in another block."""
        return Load(self._visitors)

    @property
    def answers(self) -> int:
        """How many there were."""
        return sum(visitor.answers for visitor in self._visitors)

    @property
    def errors(self) -> Counter[str]:
        """Requests without an answer, by kind."""
        return sum((visitor.errors for visitor in self._visitors), Counter())

    def workers(self) -> set[int]:
        """Who has answered."""
        return {pid for visitor in self._visitors for pid in dict(visitor.workers)}

    def check(self) -> None:
        """Raise what a visitor found."""
        if self._wrong:
            raise self._wrong[0]

    def wait_for_answers(self, more: int, deadline_s: float = 60.0) -> None:
        """Wait until there are so many more, of each visitor its share."""
        share = -(-more // len(self._visitors))
        goals = [visitor.answers + share for visitor in self._visitors]

        def all_there() -> bool:
            self.check()
            return all(
                v.answers >= goal for v, goal in zip(self._visitors, goals, strict=True)
            )

        wait_for(all_there, f"{more} more answers", deadline_s)

    def wait_for_workers(self, wanted: int, instead_of: set[int], deadline_s: float = 60.0) -> None:
        """Wait until so many workers have answered that are not among those."""
        def enough() -> bool:
            self.check()
            return len(self.workers() - instead_of) >= wanted

        try:
            wait_for(enough, f"{wanted} workers", deadline_s)
        except StepFailed as error:
            raise StepFailed(
                f"{error}: {len(self.workers())} have answered, {len(instead_of)} before"
            ) from None

    def _come(self, visitor: Visitor) -> None:
        try:
            while not self._stop.is_set():
                if not visitor.visit():
                    self._stop.wait(PAUSE_AFTER_FAILURE_S)
        except Exception as error:
            self._wrong.append(error)
