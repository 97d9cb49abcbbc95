"""Where libFuzzer runs: python -m tests.fuzzing.guided_child TARGET FOLDER SECONDS."""

import importlib
import sys

BYTES_MAX = 4096


def fuzz(name: str, folder: str, seconds: str) -> None:
    """Never returns: the process ends when the time is over, or at a finding."""
    atheris = importlib.import_module("atheris")
    # What is to be instrumented must not have been imported before.
    with atheris.instrument_imports(include=["clustersession"]):
        from tests.fuzzing.campaign import all_targets
    target = all_targets()[name]
    arguments = [
        "fuzz", folder, f"-max_total_time={seconds}", f"-max_len={BYTES_MAX}", "-seed=1",
        "-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={folder}/",
    ]

    def one(data: bytes) -> None:
        target.check(data)

    atheris.Setup(arguments, one)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(*sys.argv[1:4])
