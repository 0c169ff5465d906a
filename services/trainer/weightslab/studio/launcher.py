"""Runs a command that ends when the process that started it ends, however that ends.

    python -I -S launcher.py <pid of the parent> <command> …

On Linux the kernel is asked to kill this process when its parent dies, which holds across the exec that follows:
every service can be killed at any time without losing what it has acknowledged.
Elsewhere the command runs as it is, and the next studio ends what a killed one has left (see runfile.py).
Started by its path, so that nothing but the standard library is imported: a few milliseconds.
"""

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        # The parent may have died before the request above: then nobody would send the signal.
        if os.getppid() != parent:
            sys.exit("the process that started this one has gone")
    try:
        os.execvp(command[0], command)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
