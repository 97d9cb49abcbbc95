"""Runs rounds of power cuts: ``python -m tests.power.run --rounds 50 --seed 1 --only all,away``."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.power.rounds import ROUNDS, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(ROUNDS), help="ways to lose power")
    options = parser.parse_args()
    failed = 0
    for name in options.only.split(","):
        oldest_s = 0.0
        for seed in range(options.seed, options.seed + options.rounds):
            began_s = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="clustersession-power-") as directory:
                loss = run(name, seed, Path(directory))
            oldest_s = max(oldest_s, loss.oldest_s)
            wrong = [*loss.lost, *(f"back: {what}" for what in loss.back)]
            failed += bool(wrong)
            print(
                f"{name} {seed}: lost {len(loss.lost)}, back {len(loss.back)}, "
                f"oldest that went {loss.oldest_s:.2f} s, took {time.monotonic() - began_s:.0f} s",
                *wrong[:6], *wrong[-6:], sep="\n  ", flush=True,
            )
        print(f"{name}: {options.rounds} rounds, the oldest change that went {oldest_s:.2f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
