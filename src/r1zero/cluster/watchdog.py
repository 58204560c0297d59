"""A process that outlives its parent to say why that ended: Ray ends a program at once, and mutely, with its head node.

    python -m r1zero.cluster.watchdog HOST PORT ADDRESS

reads standard input to its end, which is the parent's. Without a last word, and with nobody at the head node's address,
it says that the head node is gone. Standard library only, for it is started with every run.
"""

from __future__ import annotations

import socket
import sys

FAREWELL = b"bye"
_LOOKS_S = 2.0


def main() -> None:
    """Wait, and say it if there is anything to say."""
    if sys.stdin.buffer.read().endswith(FAREWELL):
        return
    host, port, address = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    try:
        socket.create_connection((host, port), timeout=_LOOKS_S).close()
    except OSError:
        what, again = f"the head node of the Ray cluster at {host}:{port} is gone", "start the cluster again and "
        if address == "local":  # it goes with this run, and this run with it: nobody knows which was killed
            what, again = "this run or its local Ray cluster was killed", ""
        print(
            f"r1zero: {what}, and all actors with it; the run stands at its last checkpoint: {again}give the same "
            "command with --resume.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
