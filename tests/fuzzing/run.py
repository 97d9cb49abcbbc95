"""A campaign against the decoders, from the command line.

    python -m tests.fuzzing.run --inputs 10000000 --jobs 1 --seed 1
    python -m tests.fuzzing.run --target message.Changes --inputs 100000
    python -m tests.fuzzing.run --replay tests/fuzzing/findings/NAME.json

At the end stands a table. A finding is printed and kept as a file, and the exit status is 1.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

from tests.fuzzing.campaign import Campaign, Count, Finding, all_targets, replay

FINDINGS = Path(__file__).parent / "findings"
REPORT_EVERY_S = 5.0
HEX_MAX = 4_000

Result = tuple[dict[str, Count], Finding | None]


def save(finding: Finding, seed: int, directory: Path = FINDINGS) -> Path:
    """Keep a finding as a file, which the tests replay from then on."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{finding.target}-{sha256(finding.data).hexdigest()[:12]}.json"
    content = {
        "target": finding.target, "seed": seed, "what": finding.what[:500],
        "input": finding.data.hex(),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def load(path: Path) -> tuple[str, bytes]:
    """The target and the input of a finding."""
    content = json.loads(path.read_text())
    return content["target"], bytes.fromhex(content["input"])


def run_one(names: list[str], seed: int, inputs: int) -> Result:
    """One process's share; the finding that ended it, if any."""
    targets = all_targets()
    campaign = Campaign([targets[name] for name in names], seed)
    begin_s = said_s = time.monotonic()

    def progress(done: int) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        if now_s - said_s >= REPORT_EVERY_S:
            said_s = now_s
            rate = done / (now_s - begin_s)
            print(f"seed {seed}: {done:,} of {inputs:,} inputs, {rate:,.0f}/s", flush=True)

    try:
        campaign.run(inputs, progress)
    except Finding as finding:
        return campaign.counts, finding
    return campaign.counts, None


def table(results: list[Result]) -> str:
    """What became of the inputs, decoder by decoder."""
    total: dict[str, Count] = {}
    for counts, _ in results:
        for name, count in counts.items():
            kept = total.setdefault(name, Count())
            kept.inputs += count.inputs
            kept.accepted += count.accepted
            kept.slowest_s = max(kept.slowest_s, count.slowest_s)
            kept.most_bytes_per_byte = max(kept.most_bytes_per_byte, count.most_bytes_per_byte)
    rows = [f"{'decoder':28} {'inputs':>11} {'accepted':>10} {'refused':>11} {'slowest ms':>10}"]
    for name, count in [*total.items(), ("all", _sum(total))]:
        refused = count.inputs - count.accepted
        rows.append(
            f"{name:28} {count.inputs:11,} {count.accepted:10,} {refused:11,} "
            f"{1000 * count.slowest_s:10.1f}"
        )
    return "\n".join(rows)


def _sum(total: dict[str, Count]) -> Count:
    return Count(
        sum(c.inputs for c in total.values()), sum(c.accepted for c in total.values()),
        max(c.slowest_s for c in total.values()),
    )


def _report(finding: Finding, seed: int) -> None:
    path = save(finding, seed)
    print(f"\nFINDING in {finding.target}, seed {seed}: {finding.what}")
    hexadecimal = finding.data.hex()
    print(f"input ({len(finding.data)} bytes): {hexadecimal[:HEX_MAX]}"
          + ("..." if len(hexadecimal) > HEX_MAX else ""))
    print(f"replay: python -m tests.fuzzing.run --replay {path}")


def _replay(path: Path) -> int:
    name, data = load(path)
    accepted = replay(all_targets()[name], data)
    print(f"{name}: {'accepted' if accepted else 'refused'}, as it should be")
    return 0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.run")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all processes together")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--replay", type=Path, help="a file of tests/fuzzing/findings")
    options = parser.parse_args()
    if options.replay is not None:
        return _replay(options.replay)
    names = options.target or list(all_targets())
    shares = [(options.seed + job, options.inputs // options.jobs) for job in range(options.jobs)]
    begin_s = time.monotonic()
    if options.jobs == 1:
        results = [run_one(names, *shares[0])]
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            futures = [pool.submit(run_one, names, *share) for share in shares]
            results = [future.result() for future in futures]
    took_s = time.monotonic() - begin_s
    print(table(results))
    done = sum(count.inputs for counts, _ in results for count in counts.values())
    print(f"{took_s:.0f} s, {done / took_s:,.0f} inputs/s")
    findings = [(f, seed) for (_, f), (seed, _) in zip(results, shares, strict=True) if f]
    for finding, seed in findings:
        _report(finding, seed)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
