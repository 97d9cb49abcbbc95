"""How fast changes travel, what they cost both ends, and what goes over the wire; Redis beside it.

    python -m benchmarks replication

Two nodes on loopback for the lag, two to eight in network namespaces of their own for what grows
with the members (needs root). Redis is a server and one replica, a write followed by ``WAIT 1``.
The processor time is the agents' own. Bytes are those of the sender's interface, both headers of
Ethernet and IP, the heartbeats and the confirmations in it; received ones are told apart.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.arrivals import watched
from benchmarks.nodes import BenchNode, joined_nodes, key, p50_p99_max, wait_until
from benchmarks.redis_servers import Redis, redis_servers
from benchmarks.result import Cell, Chart, Result, Table, Target
from clustersession.core.state import Change
from tests.support.namespaces import Host, network

CARRIERS = ("tcp", "multicast")
RATES = (1, 100, 1000, 5000)
SESSIONS = 1000
MEMBERS_RATE = 300
LARGE_KEYS, LARGE_VALUE_BYTES = 100, 1024
LARGE_RATE = 100
BURST_PER_COMMIT = 500


def run(small: bool) -> Result:
    """Everything, in the order of the tables."""
    result = Result("Replication")
    _confirmations(result, 500 if small else 3000)
    _lags(result, 2.0 if small else 8.0)
    _burst(result, 20_000 if small else 100_000)
    members = (2, 4) if small else (2, 4, 6, 8)
    with network(max(members)) as hosts:
        _members(result, hosts, members, 2.0 if small else 6.0)
        _large_sessions(result, hosts[:2], 100 if small else 400)
    return result


# ---- what a confirmation costs ------------------------------------------------------------------


def _confirmations(result: Result, writes: int) -> None:
    """Each write is waited for by one peer, or by one replica of Redis."""
    rows: list[Sequence[Cell]] = []
    added = {}
    for carrier in CARRIERS:
        with joined_nodes(2, carrier=carrier) as (first, second):
            _fill(first, SESSIONS)
            for way in ("by the peer itself", f"by the agents, {carrier}"):
                taken = list(_confirmed(first, second, writes, direct="agents" not in way))
                added[way] = p50_p99_max(taken)
    rows += [(f"ack=one adds, {way}", *figures) for way, figures in added.items()]
    with redis_servers(2) as (master, replica):
        waits, whole = _redis_confirmed(master, replica, writes)
    rows += [("Redis, WAIT 1 adds", *p50_p99_max(waits)), ("Redis, SET and WAIT 1",
             *p50_p99_max(whole))]
    result.tables.append(Table("A write that is confirmed, milliseconds",
                               ("", "p50", "p99", "max"), rows))
    for way, (p50, p99, _) in added.items():
        most_ms = (0.5, 3.0) if "agents" in way else (0.2, 0.5)
        result.targets += [
            Target(f"ack=one adds, {way}, p50", p50, most_ms[0], unit="ms"),
            Target(f"ack=one adds, {way}, p99", p99, most_ms[1], unit="ms"),
            Target(f"ack=one over Redis WAIT 1, {way}, p50", p50 / p50_p99_max(waits)[0], 1.0),
        ]


def _confirmed(
    first: BenchNode, second: BenchNode, writes: int, *, direct: bool
) -> Iterator[float]:
    assert first.client is not None
    confirm = first.client.confirm
    for number in range(writes):
        value = b"%d %d" % (number, direct)
        head, _, stored = first.commit(key(number % SESSIONS), value)
        started_s = time.perf_counter()
        if not confirm(head, stored if direct else ()):
            raise SystemExit("nobody confirmed")
        yield (time.perf_counter() - started_s) * 1000
        _require(second, number % SESSIONS, value)
        time.sleep(0.001)


def _redis_confirmed(
    master: Redis, replica: Redis, writes: int
) -> tuple[list[float], list[float]]:
    waits, whole = [], []
    for number in range(writes):
        value = b"%d" % number
        started_s = time.perf_counter()
        master.ask("SET", key(number % SESSIONS), value)
        set_s = time.perf_counter()
        if master.ask("WAIT", "1", "1000") != 1:
            raise SystemExit("no replica of Redis confirmed")
        ended_s = time.perf_counter()
        waits.append((ended_s - set_s) * 1000)
        whole.append((ended_s - started_s) * 1000)
        if replica.ask("GET", key(number % SESSIONS)) != value:
            raise SystemExit("confirmed by Redis and not there")
        time.sleep(0.001)
    return waits, whole


# ---- lag ----------------------------------------------------------------------------------------


def _lags(result: Result, seconds: float) -> None:
    """From a commit nobody waits for until the other replica has it, at several rates."""
    rows: list[Sequence[Cell]] = []
    p99s: dict[str, list[float | None]] = {}
    for carrier in CARRIERS:
        for rate in RATES:
            with joined_nodes(2, carrier=carrier, ack="none") as (first, second):
                _fill(first, SESSIONS)
                wait_until(lambda a=first, b=second: _abreast(a, b), "the sessions to arrive")
                cpu_s = [node.cpu_s() for node in (first, second)]
                with watched(first, second) as arrivals:
                    # At one a second there is little to see in the time of the others.
                    commits, reached = _paced(first, rate, seconds if rate > 1 else 3 * seconds)
                lags = [(arrivals.of(head) - at_s) * 1000 for head, at_s in commits]
                cpu_s = [n.cpu_s() - b for n, b in zip((first, second), cpu_s, strict=True)]
            p50, p99, most = p50_p99_max(lags)
            part = len(lags) // 4
            growth = p50_p99_max(lags[-part:])[0] - p50_p99_max(lags[:part])[0]
            per = 100_000 / len(commits)
            rows.append((f"{carrier}, {rate}/s", p50, p99, most, growth, reached,
                         cpu_s[0] * per, cpu_s[1] * per))
            p99s.setdefault(carrier, []).append(p99)
            if rate == 100:
                result.targets.append(Target(f"lag at 100/s, {carrier}, p50", p50, 0.5, unit="ms"))
                result.targets.append(Target(f"lag at 100/s, {carrier}, p99", p99, 5.0, unit="ms"))
            if rate == 5000:
                result.targets.append(Target(f"lag at 5000/s, {carrier}, p99", p99, 25, unit="ms"))
                result.targets.append(Target(
                    f"backlog at 5000/s, {carrier}: growth of the median lag", growth, 5, unit="ms",
                ))
    columns = ("", "p50 ms", "p99 ms", "max ms", "growth ms", "writes/s",
               "sender CPU s/100,000", "receiver CPU s/100,000")
    result.tables.append(Table("Commit to visible on the other node, ack=none", columns, rows))
    result.charts.append(Chart("Lag, p99", "milliseconds", RATES, p99s, x_title="writes/s"))


def _paced(
    node: BenchNode, rate: float, seconds: float, *, confirmed: bool = False
) -> tuple[list[tuple[int, float]], float]:
    """Writes at a rate; each one's place in the feed and when it was committed; the rate reached.

    Behind its time it catches up, without a pause: what is told is what was reached. ``confirmed``:
    each is waited for.
    """
    assert node.client is not None
    feed_moved, commits = node.client.feed_moved, []
    started_s = time.monotonic()
    count = int(rate * seconds)
    for number in range(count):
        due_s = started_s + number / rate
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(left_s)
        head = node.write(key(number % SESSIONS), b"%d" % number)
        commits.append((head, time.monotonic()))
        if not confirmed:
            feed_moved(head)
        elif not node.client.confirm(head):
            raise SystemExit("nobody confirmed")
    return commits, count / (time.monotonic() - started_s)


# ---- as fast as it goes ----------------------------------------------------------------------


def _burst(result: Result, changes: int) -> None:
    """One-key changes of as many sessions at once: what a receiver can apply."""
    rows: list[Sequence[Cell]] = []
    for carrier in CARRIERS:
        with joined_nodes(2, carrier=carrier, ack="none") as (first, second):
            _fill(first, changes)
            wait_until(lambda a=first, b=second: _abreast(a, b), "the sessions", 120)
            cpu_s = [node.cpu_s() for node in (first, second)]
            started_s = time.perf_counter()
            _commit(first, changes, lambda n, now_ms: Change(key(n), now_ms, {"value": b"%d" % n}))
            wait_until(lambda a=first, b=second: _abreast(a, b), "the changes", 120)
            taken_s = time.perf_counter() - started_s
            cpu_s = [n.cpu_s() - b for n, b in zip((first, second), cpu_s, strict=True)]
            _require(second, changes - 1, b"%d" % (changes - 1))
            if first.replica.digests() != second.replica.digests():
                raise SystemExit("the copies differ")
        per_core = changes / cpu_s[1]
        per = 100_000 / changes
        rows.append((carrier, changes / taken_s, per_core, cpu_s[0] * per, cpu_s[1] * per))
        result.targets.append(Target(
            f"applied per second and core, {carrier}", per_core, 40_000, at_least=True, unit="/s",
        ))
    with redis_servers(2) as (master, replica):
        before = master.cpu_s(), replica.cpu_s()
        started_s = time.perf_counter()
        for start in range(0, changes, BURST_PER_COMMIT):
            numbers = range(start, min(start + BURST_PER_COMMIT, changes))
            master.send(*[("HSET", key(n), "value", str(n)) for n in numbers])
            for _ in numbers:
                master.answer()
        master.ask("WAIT", "1", "10000")
        taken_s = time.perf_counter() - started_s
        cpu_s = [master.cpu_s() - before[0], replica.cpu_s() - before[1]]
        if replica.ask("DBSIZE") != changes:
            raise SystemExit("the replica of Redis lacks something")
    rows.append(("Redis and a replica", changes / taken_s, changes / max(cpu_s[1], 0.01),
                 cpu_s[0] * per, cpu_s[1] * per))
    columns = ("", "through, changes/s", "applied/s per core", "sender CPU s/100,000",
               "receiver CPU s/100,000")
    result.tables.append(Table(f"{changes:,} changes at once", columns, rows))


# ---- members and sessions ------------------------------------------------------------------------


def _members(
    result: Result, hosts: Sequence[Host], members: Sequence[int], seconds: float
) -> None:
    """What the sender puts on the wire and spends, by the number of members."""
    rows: list[Sequence[Cell]] = []
    kinds = [(carrier, ack) for ack in ("none", "one") for carrier in CARRIERS]
    names = {kind: f"{kind[0]}, ack={kind[1]}" for kind in kinds}
    sent_bytes: dict[str, list[float | None]] = {name: [] for name in names.values()}
    cpu_us: dict[str, list[float]] = {name: [] for name in names.values()}
    for carrier, ack in kinds:
        name = names[carrier, ack]
        for count in members:
            with joined_nodes(
                count, hosts=hosts[:count], carrier=carrier, ack=ack,
                multicast_address="228.0.0.4",
            ) as nodes:
                first, others = nodes[0], nodes[1:]
                _fill(first, SESSIONS)
                for other in others:
                    wait_until(lambda a=first, b=other: _abreast(a, b), "the sessions")
                idle = _wire(hosts[0])
                time.sleep(1.0)
                idle = tuple(b - a for a, b in zip(idle, _wire(hosts[0]), strict=True))
                before, cpu_s = _wire(hosts[0]), first.cpu_s()
                commits, reached = _paced(first, MEMBERS_RATE, seconds, confirmed=ack != "none")
                for other in others:
                    wait_until(lambda a=first, b=other: _abreast(a, b), "the changes")
                after, cpu_s = _wire(hosts[0]), first.cpu_s() - cpu_s
                for other in others:
                    _require(other, (len(commits) - 1) % SESSIONS, b"%d" % (len(commits) - 1))
            out, back = ((b - a) / len(commits) for a, b in zip(before, after, strict=True))
            sent_bytes[name].append(out)
            cpu_us[name].append(cpu_s / len(commits) * 1e6)
            rows.append((f"{name}, {count} members", out, back, cpu_us[name][-1], reached,
                         idle[0], idle[1]))
    with redis_servers(2, hosts=hosts[:2]) as (master, replica):
        before, cpu_s = _wire(hosts[0]), master.cpu_s()
        writes = int(MEMBERS_RATE * seconds)
        for number in range(writes):
            master.ask("SET", key(number % SESSIONS), b"%d" % number)
            master.ask("WAIT", "1", "1000")
        after, cpu_s = _wire(hosts[0]), master.cpu_s() - cpu_s
        out, back = ((b - a) / writes for a, b in zip(before, after, strict=True))
        if replica.ask("GET", key((writes - 1) % SESSIONS)) != b"%d" % (writes - 1):
            raise SystemExit("the replica of Redis lacks something")
    rows.append(("Redis WAIT 1, one replica", out, back, cpu_s / writes * 1e6, None, None, None))
    columns = ("", "bytes out/change", "bytes in/change", "sender CPU us/change", "writes/s",
               "idle out B/s", "idle in B/s")
    result.tables.append(Table(f"By members, {MEMBERS_RATE} writes/s", columns, rows))
    result.charts.append(Chart("Bytes the sender sends per change", "bytes", members, sent_bytes,
                               lines=True, x_title="members"))
    for ack in ("none", "one"):
        name = names["multicast", ack]
        sizes = [size for size in sent_bytes[name] if size is not None]
        for what, values in (("bytes", sizes), ("CPU", cpu_us[name])):
            result.targets.append(Target(
                f"multicast sender's {what} per change, ack={ack}, {members[-1]} members over "
                f"{members[0]}", values[-1] / values[0], 1.1,
            ))


def _large_sessions(result: Result, hosts: Sequence[Host], writes: int) -> None:
    """A change of one small key, in sessions of 100 KiB and in small ones."""
    rows: list[Sequence[Cell]] = []
    for carrier in CARRIERS:
        with joined_nodes(
            2, hosts=hosts, carrier=carrier, ack="none", multicast_address="228.0.0.4",
        ) as (first, second):
            values = {f"part{n}": b"x" * LARGE_VALUE_BYTES for n in range(LARGE_KEYS)}
            found = {}
            for what, filling in (("small", {}), ("100 KiB", values)):
                _fill(first, 20, filling)
                wait_until(lambda a=first, b=second: _abreast(a, b), "the sessions")
                idle_bytes_per_s = _idle_bytes_per_s(hosts[0])
                before = sum(_wire(hosts[0]))
                started_s = time.perf_counter()
                assert first.client is not None
                for number in range(writes):
                    head = first.write(key(number % 20), b"%d" % number)
                    first.client.feed_moved(head)
                    time.sleep(1 / LARGE_RATE)
                wait_until(lambda a=first, b=second: _abreast(a, b), "the changes")
                took_s = time.perf_counter() - started_s
                found[what] = (sum(_wire(hosts[0])) - before - idle_bytes_per_s * took_s) / writes
                _require(second, (writes - 1) % 20, b"%d" % (writes - 1))
        rows.append((carrier, found["small"], found["100 KiB"],
                     found["100 KiB"] / found["small"], writes / took_s))
        result.targets.append(Target(
            f"one key of a 100 KiB session, {carrier}", found["100 KiB"], 300, unit="bytes",
        ))
    columns = ("", "small session", "100 KiB session", "ratio", "writes/s")
    result.tables.append(Table(
        "Bytes on the wire per one-key change, both ways, beyond what an idle cluster sends",
        columns, rows,
    ))


# ---- helpers -------------------------------------------------------------------------------------


def _fill(node: BenchNode, sessions: int, values: dict[str, bytes] | None = None) -> None:
    values = {"value": b"-", **(values or {})}
    _commit(
        node, sessions,
        lambda n, now_ms: Change(key(n), now_ms, values, creation=node.creation(now_ms)),
    )


def _commit(node: BenchNode, count: int, change: Callable[[int, int], Change]) -> None:
    now_ms = time.time_ns() // 1_000_000
    for start in range(0, count, BURST_PER_COMMIT):
        numbers = range(start, min(start + BURST_PER_COMMIT, count))
        committed = node.replica.commit([change(n, now_ms) for n in numbers], now_ms)
        assert committed.effective
        if node.client is not None:
            node.client.feed_moved(committed.head)


def _abreast(writer: BenchNode, reader: BenchNode) -> bool:
    cursor = reader.replica.cursors().get(writer.replica.node)
    return cursor is not None and cursor.floor >= writer.replica.head()


def _require(node: BenchNode, number: int, value: bytes) -> None:
    state = node.replica.get(key(number))
    if state is None or state.registers["value"].value != value:
        raise SystemExit(f"{node.settings.route} does not have session {number} as written")


def _idle_bytes_per_s(host: Host) -> float:
    """What heartbeats take, both ways."""
    time.sleep(0.5)
    before, started_s = sum(_wire(host)), time.perf_counter()
    time.sleep(2.0)
    return (sum(_wire(host)) - before) / (time.perf_counter() - started_s)


def _wire(host: Host) -> tuple[int, int]:
    """Bytes that the host's interface has sent and received."""
    return host.sent_received()
