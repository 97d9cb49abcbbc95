"""A plan: what a world is like and what happens in it, as plain data that JSON can hold.

Steps, each a list. Hosts, browsers and workers are numbers, taken modulo how many there are, so
that every list of steps is a plan and a failing one can be shortened.

========================================================== ========================================
``["visit", browser, host, worker, action, name, ms]``      a request that takes so long: read, set,
                                                           nested, delete, rotate, end, login as
                                                           the user ``name``, revoke that user,
                                                           local: set what stays on the host,
                                                           download: read, and stay open so long,
                                                           late: set with the id from before a login
``["wait", ms]``                                           time passes
``["kill", host]`` ``["off", host]`` ``["start", host]``   kill -9, power off, start again
``["agent", host]`` ``["worker", host, worker]``           kill -9 of the agent, of a worker
``["wipe", host]``                                         kill and lose the store
``["sync", host]`` ``["fall_back", host]``                 kill and lose what was not synced
``["leave", host]`` ``["drain", host]``                    stop or empty gracefully
``["pause", host, ms]``                                    stand still
``["step", host, ms]`` ``["drift", host, ppm]``            set the wall clock wrong, let it run away
``["freeze", host, worker, ms]``                           one process takes its clock for another
``["full", host]`` ``["space", host]``                     no disk space, space again
``["cut", a, b]`` ``["deafen", a, b]`` ``["isolate", a]``  block both ways, from a to b, from all
``["split", count]`` ``["heal"]``                          the first so many from the others; mend
``["reset", a, b]``                                        connections break
``["drop", a, b, count]`` ``["double", a, b, count]``      the next datagrams from a to b
``["delay", a, b, ms]``                                    the next datagram from a to b
``["slow", a, b, ms]`` ``["clog", a, b, ms]``              all traffic from a to b is late, or waits
========================================================== ========================================
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

Step = list[Any]

HARMLESS = {"visit", "wait", "sync"}


@dataclass
class Plan:
    """Everything a run follows from.

    settings: of the product, beside the defaults of ``World``. tiny: batches, pages and windows of
    a few bytes, so that a handful of sessions takes many of each. loss, duplication, jitter_s: what
    happens to every datagram.
    """

    hosts: int = 3
    browsers: int = 3
    seed: int = 0
    tiny: bool = False
    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def is_harmless(self) -> bool:
        """Whether nothing is injected, so that nobody may be suspected."""
        return not self.loss and all(step[0] in HARMLESS for step in self.steps)

    def to_json(self) -> str:
        """One step a line, for people to read."""
        facts = {name: value for name, value in asdict(self).items() if name != "steps"}
        lines = ",\n".join("  " + json.dumps(step) for step in self.steps)
        head = json.dumps(facts, sort_keys=True)[:-1]
        return f'{head},\n "steps": [\n{lines}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan in a file."""
        return cls(**json.loads(text))
