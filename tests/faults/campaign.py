"""Every fault, several times, and a table.

    python -m tests.faults.campaign --runs 3 [--only NAME] [--nodes 3,4] [--seed N]
    python -m tests.faults.campaign --store [redis,valkey]
    python -m tests.faults.campaign --store [redis,valkey] --soak MINUTES

A failed run prints the command that runs it again; processes being real, it need not fail again.
Needs root, for network namespaces and small file systems. Exits with 1 when anything failed.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.judge import Verdict
from tests.faults.run import JUDGED, Result, median, run_fault
from tests.faults.scene import Fault
from tests.faults.soak import soak_for
from tests.faults.store_faults import STORE_FAULTS
from tests.store.servers import SERVERS
from tests.support.processes import find_program

COLUMNS = (
    ("fault", 22), ("runs", 4), ("acked", 6), ("unknown", 7), ("lost", 4), ("resurr", 6),
    ("other", 5), ("unstored", 8), ("guests", 6), ("stale", 5), ("detected p50/max s", 18),
    ("back p50/max s", 14), ("worst s", 7), ("failed", 6),
)


def main() -> int:
    """Run what was asked for; the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results: list[Result] = []
    print(f"# commit {_commit()}", flush=True)
    for fault in _faults(options):
        missing = [name for name in fault.needs if find_program(name) is None]
        if missing:
            print(f"# {fault.name} not run: {', '.join(missing)} is not installed", flush=True)
            continue
        mine = [_run(fault, options, number) for number in range(options.runs)]
        results += mine
        if len(results) == len(mine):
            print(_line([name for name, _ in COLUMNS]))
        print(_line(_row(fault, mine)), flush=True)
        for result in mine:
            if result.found_late:
                print(f"#   seed {result.seed}: {result.found_late} known only when asked again")
            for failure in result.failures:
                print(f"#   seed {result.seed}, {result.nodes} nodes: {failure}", flush=True)
            if result.failures:
                print(f"#   again: {_command(result, options)}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps([r.to_json() for r in results], indent=1))
    return 1 if any(result.failures for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign")
    parser.add_argument("--runs", type=int, default=3)
    names = sorted({fault.name for fault in (*FAULTS, *STORE_FAULTS)})
    parser.add_argument("--only", action="append", choices=names)
    parser.add_argument("--nodes", default="3,4", help="numbers of nodes, taken in turn")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument(
        "--store", nargs="?", const=",".join(SERVERS), default="",
        help="kinds of servers that nodes have in the place of peers, taken in turn",
    )
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="kill at random for so long, beside a store"
    )
    parser.add_argument("--json", help="write everything to this file")
    parser.add_argument("--keep", help="copy the logs of failed runs below this directory")
    options = parser.parse_args()
    if options.soak is not None and not options.store:
        parser.error("--soak is for a cluster with a --store")
    return options


def _faults(options: argparse.Namespace) -> Sequence[Fault]:
    if options.soak is not None:
        return [soak_for(60 * options.soak)]
    faults = STORE_FAULTS if options.store else FAULTS
    return [fault for fault in faults if not options.only or fault.name in options.only]


def _command(result: Result, options: argparse.Namespace) -> str:
    """What runs it again."""
    what = f"--only {result.fault}" if options.soak is None else f"--soak {options.soak:g}"
    store = f" --store {result.store}" if result.store else ""
    return (
        f"python -m tests.faults.campaign --runs 1{store} {what} --seed {result.seed} "
        f"--nodes {result.nodes} --keep DIRECTORY"
    )


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True,
        cwd=Path(__file__).parent,
    )
    return described.stdout.strip() or "unknown"


def _run(fault: Fault, options: argparse.Namespace, number: int) -> Result:
    counts = [int(text) for text in options.nodes.split(",")]
    nodes, seed = counts[number % len(counts)], options.seed + number
    kinds = options.store.split(",")
    store = kinds[number % len(kinds)]
    with tempfile.TemporaryDirectory(prefix="clustersession-faults-") as directory:
        try:
            result = run_fault(fault, seed, nodes, Path(directory), store)
        except Exception as error:
            result = Result(fault.name, seed, nodes, Verdict(), store)
            result.failures.append(f"the run broke off: {error!r}")
            traceback.print_exc()
        if result.failures and options.keep:
            _keep(Path(directory), Path(options.keep) / f"{fault.name}-{seed}")
    return result


def _keep(source: Path, target: Path) -> None:
    for path in (*source.rglob("*.log*"), *source.glob("history.json")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _row(fault: Fault, results: Sequence[Result]) -> list[str]:
    verdicts = [result.verdict for result in results]
    detected = [s for result in results for s in result.detected_s]
    recovered = [s for result in results for s in result.recovered_s]

    def total(*names: str) -> str:
        found = (getattr(verdict, name) for verdict in verdicts for name in names)
        return str(sum(f if isinstance(f, int) else len(f) for f in found))

    others = [name for name in JUDGED if name not in ("lost", "resurrected")]
    return [
        fault.name, str(len(results)), total("acknowledged"), total("unknown"), total("lost"),
        total("resurrected"), total(*others), total("unstored"), total("guests"),
        total("stale"), _times(detected), _times(recovered),
        f"{max(v.worst_latency_s for v in verdicts):.2f}",
        str(sum(bool(result.failures) for result in results)),
    ]


def _times(values: Sequence[float]) -> str:
    return f"{median(values):.2f}/{max(values):.2f}" if values else "-"


def _line(cells: Sequence[str]) -> str:
    widths = [width for _, width in COLUMNS]
    return " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    sys.exit(main())
