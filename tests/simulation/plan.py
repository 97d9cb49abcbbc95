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
                                                           append, insert, replace, take, add,
                                                           discard, put, pop, count, clear, drop,
                                                           zero: change a collection that merges
                                                           limit, swap: set an attribute for some
                                                           time; compare and set one
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
``["dark", host]`` ``["blackout"]``                         a power cut of one host, of all at once
``["damage", host, place]``                                the journal of one without power rots
``["slow_disk", host, ms]``                                its syncs take so long
``["bad_disk", host]`` ``["good_disk", host]``             its journal fails; is begun anew
``["dismiss", host, other]``                               the operator's word: without that one
``["store_away"]`` ``["store_back"]``                      the store stops, and starts as it was
``["store_pause", ms]`` ``["store_empty"]``                it stands still; FLUSHALL
``["store_save"]`` ``["store_fall_back"]``                 a backup, and be set back to the last one
``["store_full", bytes]`` ``["store_space"]``               it has space for no more; and again
``["store_cut", host]`` ``["store_reset", host]``          no way to it; connections break
``["store_slow", host, ms]``                               all traffic between the two is late
========================================================== ========================================
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

Step = list[Any]

HARMLESS = {"visit", "wait", "sync", "store_full", "store_space"}


@dataclass
class Plan:
    """Everything a run follows from.

    settings: of the product, beside the defaults of ``World``. tiny: batches, pages and windows of
    a few bytes, so that a handful of sessions takes many of each. store: the hosts have one, and no
    links between them; jitter_s is then how late it says what has changed. power: hosts have
    journals, and their power may be cut. loss, duplication, jitter_s: what happens to every
    datagram. direct: workers send changes to other hosts themselves, but not to those whose names
    are in ``indirect``. ahead: what somebody waits for is sent ahead of the stream however little
    is before it, and overtakes that on its way.
    """

    hosts: int = 3
    browsers: int = 3
    seed: int = 0
    tiny: bool = False
    store: bool = False
    power: bool = False
    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0
    direct: bool = False
    ahead: bool = False
    indirect: str = ""
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
