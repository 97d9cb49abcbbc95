"""A peer that knows the secret and sends anything, in any order, to a node of an honest cluster.

    python -m tests.fuzzing.hostile --plans 200 --steps 2000 --seed 1

Two honest nodes run in the virtual world of ``tests.node.world``. A third one, or what claims to
be several, sends what the honest ones say to each other and what samples hold, mutated, repeated
and out of order. Nothing may escape the engine; what it keeps stays within bounds; and when the
peer has gone, the two serve, confirm and replicate as before. That they also agree about what the
peer wrote is not asked for: it may have told each of them something else under one version.
"""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from clustersession.core.feed import Batch, Cursor
from clustersession.core.identity import Address, Identity, Phase, first_incarnation
from clustersession.core.state import Delta, Register, SessionState
from clustersession.node.engine import Engine
from clustersession.wire import messages as m
from clustersession.wire.fields import Entry
from tests.fuzzing import samples
from tests.fuzzing.bounds import check_bounds
from tests.fuzzing.mutation import mutated
from tests.node.world import WALL_START_MS, Node, World

RECORDED_MAX = 500
KEYS = [f"1{number:022d}" for number in range(12)]
CHECK_EVERY = 100


class RecordingWorld(World):
    """Keeps what is said, also to nodes that are not of this world."""

    def __init__(self, names: str) -> None:
        super().__init__(names)
        self.said: list[bytes] = []

    def _send(self, node: Node, receiver_id: bytes, data: bytes) -> None:
        if len(self.said) < RECORDED_MAX:
            self.said.append(data)
        super()._send(node, receiver_id, data)


class Attack:
    """One plan: what the peer does, drawn from a seed. ``step`` counts what it has done."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(f"hostile {seed}")
        self.step = 0
        self.done: Counter[str] = Counter()
        self.world = RecordingWorld("ab")
        self.world.start()
        self.world.run_until(lambda: all(n.phase() == "READY" for n in self.world.nodes.values()))
        self.victim = self.world.nodes["a"]
        self.names = [bytes([number]) * 8 for number in (3, 4, 5)]
        for number in range(4):
            self.world.write("ab"[number % 2], KEYS[number], create=True, n=str(number))
        self.world.run(0.5)
        self._steps: list[tuple[float, Callable[[], None]]] = [
            (30, self._say_mutated), (25, self._say_plausible), (10, self._say_recorded),
            (5, self._say_sample), (2, self._link_up), (1, self._link_down), (1, self._dial_failed),
            (4, self._honest_work), (6, self._pass_time),
        ]
        self._link_up()

    @property
    def engine(self) -> Engine:
        """The engine under attack."""
        return self.victim.running

    def run(self, steps: int) -> None:
        """Attack."""
        weights = [weight for weight, _ in self._steps]
        actions = [action for _, action in self._steps]
        while self.step < steps:
            self.step += 1
            action = self.rng.choices(actions, weights)[0]
            self.done[action.__name__] += 1
            action()
            if self.step % CHECK_EVERY == 0:
                check_bounds(self.engine)
                self.victim.events.clear()

    def _say(self, data: bytes) -> None:
        at = self.world.at(self.victim)
        reliable = self.rng.random() < 0.8
        self.engine.receive(self.rng.choice(self.names), data, at, reliable=reliable)
        self.world._pump(self.victim)

    def _say_mutated(self) -> None:
        self._say(mutated(self.rng, self._valid(), self._valid()))

    def _say_sample(self) -> None:
        self._say(m.encode_message(samples.message(self.rng)))

    def _say_recorded(self) -> None:
        if self.world.said:
            self._say(self.rng.choice(self.world.said))

    def _say_plausible(self) -> None:
        self._say(m.encode_message(self._plausible()))

    def _valid(self) -> bytes:
        if self.world.said and self.rng.random() < 0.4:
            return self.rng.choice(self.world.said)
        return m.encode_message(self._plausible())

    def _plausible(self) -> m.Message:
        """What passes the first checks: right names, places near the victim's, stamps of today."""
        rng, world = self.rng, self.world
        sender = rng.choice(self.names)
        known = self.engine.context.cursor(sender)
        head = self.victim.replica.head()
        near = [0, known.floor, known.position, known.position + 1, head, head + 1, 2**63 - 1]
        place = Cursor(rng.choice(near), rng.choice(near))
        choice = rng.randrange(9)
        if choice == 0:
            return self._heartbeat(sender, place)
        if choice == 1:
            after = rng.choice(near)
            upto = min(2**63 - 1, after + rng.choice((0, 1, 5, 2**62)))
            deltas = [
                Delta(rng.choice(KEYS), self._state(sender), rng.random() < 0.5)
                for _ in range(rng.randint(0, 3))
            ]
            batch = Batch(
                sender, rng.choice(near), after, upto, upto + rng.choice((0, 1, 2**61)), deltas
            )
            return m.Changes(batch, rng.random() < 0.5)
        if choice == 2:
            return m.Progress(place, rng.random() < 0.5, rng.random() < 0.3)
        if choice == 3:
            entries = tuple(
                Entry(samples.key(rng), {sender: samples.number(rng)}, 2**62)
                for _ in range(rng.choice((0, 3, 60)))
            )
            buckets = tuple(rng.randrange(1024) for _ in range(rng.choice((0, 5, 64))))
            return m.Listing(buckets, entries, rng.random() < 0.5)
        if choice == 4:
            pairs = ((rng.choice(KEYS), self._state(sender)) for _ in range(rng.randint(0, 4)))
            return m.Sessions(tuple(pairs))
        if choice == 5:
            return m.SessionsRequest(tuple(rng.choices(KEYS, k=rng.choice((0, 4, 200)))))
        if choice == 6:
            return m.ProbeRequest(rng.choice([*self.names, world.nodes["b"].replica.node]))
        if choice == 7:
            return m.Digests(rng.getrandbits(64), rng.choice((b"", bytes(8192))))
        return m.SnapshotPageMessage(
            rng.choice(("", *KEYS)), (), rng.choice(("", *KEYS)), rng.random() < 0.5, {}, 3
        )

    def _heartbeat(self, sender: bytes, place: Cursor) -> m.Heartbeat:
        rng = self.rng
        honest = self.world.nodes["b"].replica.node
        addresses = tuple(
            Address(f"10.1.{rng.randrange(256)}.{rng.randrange(256)}", rng.randint(1, 65535))
            for _ in range(rng.choice((0, 2, 100)))
        )
        suspicion = (rng.choice((self.victim.replica.node, honest)), samples.number(rng))
        return m.Heartbeat(
            self._identity(sender), samples.number(rng), rng.choice(list(Phase)),
            rng.random() < 0.5, samples.number(rng), place.floor, place.position,
            {self.victim.replica.node: place}, (self.victim.replica.node,), (suspicion,),
            addresses, rng.random() < 0.5,
        )

    def _identity(self, node: bytes) -> Identity:
        rng = self.rng
        incarnation = rng.choice((first_incarnation(1), first_incarnation(rng.randint(1, 9)), 0))
        number = rng.randint(1, 9)
        return Identity(node, incarnation, rng.choice("abc"), Address(f"10.0.0.{number}", 4000))

    def _state(self, sender: bytes) -> SessionState:
        rng = self.rng
        if rng.random() < 0.3:
            return samples.state(rng)
        now_ms = WALL_START_MS + int(self.world.now_s * 1000)
        stamp = now_ms + rng.choice((-10**6, 0, 299_000, 301_000)) << 16
        seq = rng.randint(0, 9)
        value = rng.randbytes(rng.choice((1, 9, 5000)))
        return SessionState(
            now_ms, now_ms, now_ms + rng.choice((-1, 10**6, 10**9)),
            {samples.text(rng): Register(stamp, sender, seq, value)}, {sender: seq},
        )

    def _link_up(self) -> None:
        for node in self.names:
            if self.rng.random() < 0.8:
                identity = self._identity(node)
                dialled = identity.address if self.rng.random() < 0.3 else None
                self.engine.link_up(identity, self.world.at(self.victim), dialled)
        self.world._pump(self.victim)

    def _link_down(self) -> None:
        node = self.rng.choice(self.names)
        self.engine.link_down(node, "connection lost", self.world.at(self.victim))
        self.world._pump(self.victim)
        if self.rng.random() < 0.2:
            # It comes back as somebody else.
            self.names[self.names.index(node)] = self.rng.randbytes(8)

    def _dial_failed(self) -> None:
        address = samples.address(self.rng)
        refused = self.rng.random() < 0.5
        self.engine.dial_failed(address, refused, self.world.at(self.victim))
        self.world._pump(self.victim)

    def _honest_work(self) -> None:
        name, key = self.rng.choice("ab"), self.rng.choice(KEYS)
        head = self.world.write(name, key, create=True, n=str(self.step))
        if self.rng.random() < 0.5:
            self.world.confirm(name, head)
        else:
            self.world.fetch(name, samples.key(self.rng))

    def _pass_time(self) -> None:
        self.world.run(self.rng.choice((0.001, 0.02, 0.3, 2.0)))

    def end(self) -> None:
        """The peer goes; then everything must be as it should."""
        world, at = self.world, self.world.at
        for node in list(self.engine.context.peers):
            if node != world.nodes["b"].replica.node:
                self.engine.link_down(node, "connection lost", at(self.victim))
        world._pump(self.victim)
        world.run(20)
        fresh = [f"2{number:022d}" for number in range(4)]
        for number, key in enumerate(fresh):
            name = "ab"[number % 2]
            token = world.confirm(name, world.write(name, key, create=True, n=str(number)))
            world.run_until(lambda name=name, token=token: world.answer(name, token) is not None)
            assert world.answer(name, token) == 1, f"{name} is not confirmed any more"
        for number, key in enumerate(fresh):
            for name in "ab":
                assert world.values(name, key) == {"n": str(number)}, f"{name} lacks {key}"
        check_bounds(self.engine)
        for node in world.nodes.values():
            held = read_all(node.replica)
            assert held == node.replica.stats().sessions + node.replica.stats().tombstones
            assert held == len(node.replica.listing(range(1024), 100_000))


def read_all(replica: object) -> int:
    """Every page of a replica, as a donor reads them."""
    after, sessions = "", 0
    while True:
        page = replica.snapshot(after, 10_000)  # type: ignore[attr-defined]
        sessions += len(page.sessions)
        if page.done:
            return sessions
        after = page.next_key


def attack(seed: int, steps: int) -> Attack:
    """One plan to its end. Raises AssertionError, or whatever escaped the engine."""
    plan = Attack(seed)
    try:
        plan.run(steps)
        plan.end()
    except Exception as error:
        raise AssertionError(
            f"seed {seed}, step {plan.step}: {type(error).__name__}: {error}\n"
            f"replay: python -m tests.fuzzing.hostile --plans 1 --steps {steps} --seed {seed}"
        ) from error
    return plan


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.hostile")
    parser.add_argument("--plans", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begin_s, messages = time.monotonic(), 0
    for seed in range(options.seed, options.seed + options.plans):
        done = attack(seed, options.steps).done
        gc.collect()
        messages += sum(n for name, n in done.items() if name.startswith("_say"))
    took_s = time.monotonic() - begin_s
    print(f"{options.plans} plans, {messages:,} hostile messages, {took_s:.0f} s: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())


