"""Fuzz the targets: `python -m tests.fuzz.run [--seconds N] [target …]`; each in a process of its own.

Inputs that reach new code are kept under `.weightslab/fuzz`; what was a finding belongs into `tests/fuzz/corpus`.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from tests.fuzz import targets

CORPUS = Path(__file__).parent / "corpus"
KEPT = Path(".weightslab") / "fuzz"
# An input that takes longer hangs; a process that takes more grows.
INPUT_TIMEOUT_SECS = 10
MEMORY_MB = 2048
MAX_INPUT_BYTES = 4096


def fuzz(name: str, seconds: int) -> None:
    """Attack one target for so long; does not return. Ends the process with a status that is not 0 at a finding."""
    import atheris

    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["weightslab", "weightslab_ledger", "weightslab_gateway", "lark"]):
        target = targets.load(name)
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_TIMEOUT_SECS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-artifact_prefix={folder}-",
        "-print_final_stats=1",
        str(folder),
    ]
    if (CORPUS / name).is_dir():
        options.append(str(CORPUS / name))
    atheris.Setup(options, target.attack)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *targets.names()], default=[], metavar="target")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    chosen = given.targets or targets.names()
    if given.here:
        fuzz(chosen[0], given.seconds)
    failed = []
    for name in chosen:
        print(f"== {name}: {given.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.run", "--here", "--seconds", str(given.seconds), name]
        if subprocess.run(command).returncode:
            failed.append(name)
    print(f"findings in: {', '.join(failed)}" if failed else "no findings")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
