"""Coverage guidance by atheris, where that is installed: what it finds new goes into the corpus.

    pip install atheris
    python -m tests.fuzzing.guided --seconds 20
    python -m tests.fuzzing.guided --target message.Heartbeat --seconds 120

Each target runs in a process of its own, because libFuzzer ends the process it runs in. Of what it
kept, the shortest inputs that bring new lines of code are added to ``tests/fuzzing/corpus``, which
campaigns start from too.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from tests.fuzzing.campaign import CORPUS, all_targets, corpus_of

KEPT_BYTES_MAX = 300
KEPT_INPUTS_MAX = 16
SAMPLES = 50
KEYED = ("envelope", "proof")
"""Coverage leads nowhere without the key, and no sample is valid in another process."""


def guide(name: str, seconds: int) -> tuple[int, str]:
    """Fuzz one target; how many inputs are new in the corpus, and libFuzzer's last words."""
    target = all_targets()[name]
    rng = Random(name)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        known = {target.sample(rng) for _ in range(SAMPLES)} | set(corpus_of(name))
        for number, data in enumerate(sorted(known)):
            (folder / f"known{number}").write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzzing.guided_child", name, directory]
        done = subprocess.run([*command, str(seconds)], capture_output=True, text=True)
        found = [path.read_bytes() for path in folder.iterdir() if path.name[:5] != "known"]
        if done.returncode:
            return -1, done.stderr[-2000:]
    return keep(name, [data for data in found if len(data) <= KEPT_BYTES_MAX]), _runs(done.stderr)


def _runs(text: str) -> str:
    return next((line for line in text.splitlines() if "number_of_executed_units" in line), "")


def keep(name: str, found: list[bytes]) -> int:
    """Add the shortest that are new to the corpus of a target, as many as it takes."""
    known = list(corpus_of(name))
    new = sorted(set(found) - set(known), key=lambda data: (len(data), data))
    # Not only the shortest: those stop at the first check.
    step = max(1, len(new) // max(1, KEPT_INPUTS_MAX - len(known)))
    chosen = new[::step][: max(0, KEPT_INPUTS_MAX - len(known))]
    if chosen:
        CORPUS.mkdir(exist_ok=True)
        lines = sorted({data.hex() for data in (*known, *chosen) if data})
        (CORPUS / f"{name}.hex").write_text("\n".join(lines) + "\n")
    return len(chosen)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.guided")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--target", action="append")
    options = parser.parse_args()
    status = 0
    for name in options.target or [name for name in all_targets() if name not in KEYED]:
        added, words = guide(name, options.seconds)
        print(f"{name:28} {added:4} new  {words}", flush=True)
        status = status or int(added < 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
