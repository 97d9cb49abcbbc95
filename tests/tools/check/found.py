"""What ``clustersession check --json`` printed."""

from typing import NamedTuple

SECRET = "qT8w-Lz3Rk5_vN0xYb7d"


class Found(NamedTuple):
    """What a check printed, by check, and how it ended."""

    verdicts: list[dict[str, str]]
    status: int

    def of(self, check: str) -> list[tuple[str, str]]:
        return [(v["level"], v["text"]) for v in self.verdicts if v["check"] == check]

    def problems(self) -> set[str]:
        return {v["check"] for v in self.verdicts if v["level"] == "problem"}
