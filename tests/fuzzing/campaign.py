"""Feeds mutated inputs to targets, watches time and memory, and stops at the first finding."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from tests.fuzzing import (
    collection_targets,
    connection_targets,
    local_targets,
    store_targets,
    stream_targets,
    wire_targets,
)
from tests.fuzzing.mutation import mutated
from tests.fuzzing.target import Target

CORPUS = Path(__file__).parent / "corpus"
CHUNK = 5_000
SAMPLES_PER_CHUNK = 60
POOL_MAX = 400
MEMORY_EVERY = 500
"""One of so many inputs is measured: tracing makes a decoder many times slower."""

TIME_S_MAX = 0.05
TIME_S_PER_BYTE_MAX = 5e-6
MEMORY_BYTES_MAX = 512 * 1024
"""Msgpack's packer, which the way back needs, begins with half of that."""

MEMORY_PER_BYTE_MAX = 160
"""An empty list costs 64 bytes and one of its message; a check decodes twice."""


def all_targets() -> dict[str, Target]:
    """Every target by its name."""
    modules = (
        wire_targets, stream_targets, local_targets, connection_targets, store_targets,
        collection_targets,
    )
    return {target.name: target for module in modules for target in module.targets()}


class Finding(Exception):
    """An input that a decoder did not handle as it promises."""

    def __init__(self, target: str, data: bytes, what: str) -> None:
        super().__init__(f"{target}: {what}")
        self.target = target
        self.data = data
        self.what = what


@dataclass
class Count:
    """What became of the inputs of one target."""

    inputs: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    most_bytes_per_byte: float = 0.0


@dataclass
class Campaign:
    """A run over some targets from one seed."""

    targets: Sequence[Target]
    seed: int
    counts: dict[str, Count] = field(default_factory=dict)

    def run(self, inputs: int, on_chunk: Callable[[int], None] = lambda done: None) -> None:
        """Try so many inputs in all, over the targets by their shares. Raises Finding."""
        done = 0
        for number in count(1):
            for target in self.targets:
                size = min(round(CHUNK * target.share), inputs - done)
                if size <= 0:
                    return
                self._run_chunk(target, number, size)
                done += size
                on_chunk(done)

    def _run_chunk(self, target: Target, number: int, size: int) -> None:
        rng = Random(f"{self.seed} {target.name} {number}")
        result = self.counts.setdefault(target.name, Count())
        pool = self._pool(target, rng)
        check, clock, pick = target.check, time.process_time, rng.random
        for index in range(size):
            origin = pool[int(pick() * len(pool))]
            data = mutated(rng, origin, pool[int(pick() * len(pool))])
            begin_s = clock()
            try:
                accepted = check(data)
            except Exception as error:
                raise Finding(target.name, data, f"{type(error).__name__}: {error}") from error
            took_s = clock() - begin_s
            if took_s > TIME_S_MAX + TIME_S_PER_BYTE_MAX * len(data):
                self._judge_time(target, data)
            result.inputs += 1
            result.slowest_s = max(result.slowest_s, took_s)
            if accepted:
                result.accepted += 1
                if len(pool) < POOL_MAX and pick() < 0.02:
                    pool.append(data)
            if index % MEMORY_EVERY == 0:
                self._judge_memory(target, data)

    def _pool(self, target: Target, rng: Random) -> list[bytes]:
        pool = [target.sample(rng) for _ in range(SAMPLES_PER_CHUNK)]
        for data in pool:
            try:
                accepted = target.check(data)
            except Exception as error:
                raise Finding(target.name, data, f"{type(error).__name__}: {error}") from error
            if target.expected and not accepted:
                raise Finding(target.name, data, "a valid input was refused")
        return pool + list(corpus_of(target.name))

    def _judge_time(self, target: Target, data: bytes) -> None:
        allowed_s = TIME_S_MAX + TIME_S_PER_BYTE_MAX * len(data)
        # Only what seems slow is looked at again, in case the machine was.
        if not any(_seconds(target, data) <= allowed_s for _ in range(3)):
            raise Finding(target.name, data, f"took over {allowed_s:.3f} s for {len(data)} bytes")

    def _judge_memory(self, target: Target, data: bytes) -> None:
        peak = peak_bytes(target, data)
        if len(data) > 1000:
            result = self.counts[target.name]
            result.most_bytes_per_byte = max(result.most_bytes_per_byte, peak / len(data))
        if peak > MEMORY_BYTES_MAX + MEMORY_PER_BYTE_MAX * len(data):
            raise Finding(target.name, data, f"took {peak} bytes of memory for {len(data)}")


def peak_bytes(target: Target, data: bytes) -> int:
    """How much memory an input takes at most while it is looked at."""
    tracemalloc.start()
    try:
        target.check(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _seconds(target: Target, data: bytes) -> float:
    # Of this process: others may keep the processor busy. Without its garbage collector, whose time
    # is that of everything else that the tests hold.
    gc.disable()
    try:
        begin_s = time.process_time()
        target.check(data)
        return time.process_time() - begin_s
    finally:
        gc.enable()


def corpus_of(name: str) -> Iterator[bytes]:
    """The checked-in inputs of a target that coverage guidance has found: one per line, hex."""
    path = CORPUS / f"{name}.hex"
    if path.exists():
        yield from map(bytes.fromhex, path.read_text().split())


def replay(target: Target, data: bytes) -> bool:
    """Judge one input as a campaign does; True when it was accepted. Raises Finding."""
    campaign = Campaign([target], 0, {target.name: Count()})
    try:
        accepted = target.check(data)
    except Exception as error:
        raise Finding(target.name, data, f"{type(error).__name__}: {error}") from error
    campaign._judge_time(target, data)
    campaign._judge_memory(target, data)
    return accepted
