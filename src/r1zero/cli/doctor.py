"""`r1zero doctor`."""

from __future__ import annotations

import sys

from r1zero.cli.program import app


@app.command
def doctor() -> None:
    """Say what is installed, which device is used, what is missing, and the command that mends it."""
    from rich.console import Console

    from r1zero.doctor import diagnose, exit_code, render

    checks = diagnose()
    Console().print(render(checks))
    sys.exit(exit_code(checks))
