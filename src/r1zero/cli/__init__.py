"""The command line. Heavy modules are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import signal
import sys

from cyclopts import CycloptsError

# importing a command registers it
from r1zero.cli import analyze as analyze
from r1zero.cli import audit as audit
from r1zero.cli import compare as compare
from r1zero.cli import demo as demo
from r1zero.cli import doctor as doctor
from r1zero.cli import evaluate as evaluate
from r1zero.cli import export as export
from r1zero.cli import objectives as objectives
from r1zero.cli import paper as paper
from r1zero.cli import pretrain as pretrain
from r1zero.cli import report as report
from r1zero.cli import train as train
from r1zero.cli import verify as verify
from r1zero.cli.app import app, with_steps
from r1zero.errors import UserError


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupt once more after an interrupt that Python swallowed, as it does in finalizers and callbacks."""
    sys.__unraisablehook__(unraisable)
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # what is raised in here would be swallowed, too


def main() -> None:
    """Run the command line: a user's mistake is one sentence on standard error and exit code 2."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again
    try:
        app(with_steps(sys.argv[1:]), exit_on_error=False, print_error=False)
    except (UserError, CycloptsError) as error:
        print(f"r1zero: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(
            "r1zero: interrupted; train and pretrain go on from their last checkpoints with --resume, other commands "
            "when given again.",
            file=sys.stderr,
        )
        sys.exit(130)
