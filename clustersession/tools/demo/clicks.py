"""Clicks as a user would, without a pause, and counts what failed."""

import threading
import time

from clustersession.tools.demo.processes import StepFailed, wait_for
from clustersession.tools.demo.scenario import Browser, Reply

PAUSE_S = 0.01
GO_ON_TIMEOUT_S = 30.0


class Clicks:
    """Writes a number, reads it back, and so on, in a thread, from entry to exit.

    reads, writes: how many were answered as they must be. slowest_s: the longest wait for one.
    failed: what was answered otherwise.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.reads = self.writes = 0
        self.slowest_s = 0.0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._click_on, daemon=True)

    def __enter__(self) -> "Clicks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def go_on(self, count: int) -> None:
        """Wait until so many more of each kind were answered. Raises StepFailed if one failed."""
        wanted = self.writes + count

        def enough() -> bool:
            if self.failed:
                raise StepFailed(f"a click failed: {self.failed[0]}")
            return self.writes >= wanted and self.reads >= wanted

        wait_for(enough, f"{count} more clicks of the user of {self.browser.route}",
                 GO_ON_TIMEOUT_S)

    def _click_on(self) -> None:
        while not self._stop.wait(PAUSE_S):
            number = self.writes + 1
            began_s = time.monotonic()
            try:
                for reply in (
                    self.browser.post("/api/set", {"key": "clicks", "value": number}),
                    self.browser.get("/api/session"),
                ):
                    self._note(reply, number, began_s)
                    began_s = time.monotonic()
            except StepFailed as error:
                self.failed.append(str(error))
            else:
                self.writes, self.reads = number, number

    def _note(self, reply: Reply, number: int, began_s: float) -> None:
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        data = reply.body.get("data")
        if reply.status != 200 or not isinstance(data, dict) or data.get("clicks") != number:
            raise StepFailed(f"status {reply.status}, wanted click {number}, saw {data!r}")
