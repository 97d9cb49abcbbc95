"""Run benchmarks and keep what they say as text, JSON and SVG.

    python -m benchmarks [--small] [--valkey] [--out DIRECTORY] [NAME ...]

Without names all of them, one after the other, each in a process of its own: memory, settings and
threads of one are no business of the next. One that fails is reported, and the others still run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.registry import BENCHMARKS, benchmark
from benchmarks.result import Target, as_json, as_text
from benchmarks.stores import SERVER
from benchmarks.svg import as_svg

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Returns how many failed."""
    parser = _parser()
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.valkey:
        os.environ[SERVER] = "valkey"
    if arguments.here:
        run_here(arguments.here, out, arguments.small)
        return 0
    failed = []
    for name in arguments.names or BENCHMARKS:
        command = [sys.executable, "-m", "benchmarks", "--here", name, "--out", str(out.resolve())]
        if subprocess.run(command + ["--small"] * arguments.small, cwd=ROOT).returncode:
            failed.append(name)
    _print_targets(arguments.names or list(BENCHMARKS), out)
    for name in failed:
        print(f"FAILED: {name}")
    return len(failed)


def run_here(name: str, out: Path, small: bool) -> None:
    """One benchmark in this process; writes NAME.txt, NAME.json and NAME.svg."""
    for old in out.glob(f"{name}.*"):
        old.unlink()
    started_s = time.perf_counter()
    result = benchmark(name).run(small)
    seconds = time.perf_counter() - started_s
    text = as_text(result)
    print(f"{text}({name}: {seconds:.0f} s)\n", flush=True)
    (out / f"{name}.txt").write_text(text)
    (out / f"{name}.json").write_text(as_json(result, seconds, small))
    for number, chart in enumerate(result.charts):
        (out / f"{name}{number or ''}.svg").write_text(as_svg(chart))


def _print_targets(names: list[str], out: Path) -> None:
    found = [out / f"{name}.json" for name in names]
    results = [json.loads(path.read_text()) for path in found if path.exists()]
    targets = [Target(**target) for result in results for target in result["targets"]]
    missed = [target for target in targets if not target.met]
    print(f"{len(targets) - len(missed)} of {len(targets)} targets met; all is in {out}")
    for target in missed:
        print(f"missed: {target.what}: {target.measured:.3g} instead of {target.limit:.3g}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--small", action="store_true", help="less of everything")
    parser.add_argument("--valkey", action="store_true", help="a Valkey is the store, not a Redis")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="for the files")
    parser.add_argument("--here", choices=list(BENCHMARKS), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
