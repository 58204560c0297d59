"""The command line. Heavy modules are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import errno
import gc
import signal
import sys
import traceback
from types import TracebackType

from cyclopts import CycloptsError

# importing a command registers it
from r1zero.cli import analyze as analyze
from r1zero.cli import audit as audit
from r1zero.cli import compare as compare
from r1zero.cli import completion as completion
from r1zero.cli import demo as demo
from r1zero.cli import doctor as doctor
from r1zero.cli import evaluate as evaluate
from r1zero.cli import export as export
from r1zero.cli import objectives as objectives
from r1zero.cli import paper as paper
from r1zero.cli import pretrain as pretrain
from r1zero.cli import recipe as recipe
from r1zero.cli import report as report
from r1zero.cli import settings as settings
from r1zero.cli import train as train
from r1zero.cli import verify as verify
from r1zero.cli.app import app, with_steps
from r1zero.cli.output import steady_output
from r1zero.errors import UserError, shown


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupt once more after an interrupt that Python swallowed, as it does in finalizers and callbacks."""
    sys.__unraisablehook__(unraisable)
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # what is raised in here would be swallowed, too


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what Python prints of a fault of ours, without what a terminal obeys: it may quote anything."""
    print(shown("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def main() -> None:
    """Run the command line: a user's mistake is one sentence on standard error and exit code 2."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook, sys.excepthook = _interrupt_again, _print_traceback
    try:
        with steady_output():
            status = _run()
    except KeyboardInterrupt:  # once more, while the first was being told
        status = 130
    finally:
        _end_quietly()
    sys.exit(status)


def _run() -> int:
    """Run the command, and return its exit code."""
    if sys.argv[1:2] == [completion.ASK]:
        print(*completion.candidates(sys.argv[2:]), sep="\n")
        return 0
    gc.set_threshold(50_000)  # what imports make stays: looking through it again and again takes a second
    try:
        app(with_steps(sys.argv[1:]), exit_on_error=False, print_error=False)
    except OSError as error:  # of whatever was asked about a path, `exists` among it
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"r1zero: {str(error.filename)[:60]}… is too long for a file's name: give another.", file=sys.stderr)
        return 2
    except (UserError, CycloptsError) as error:
        print(f"r1zero: {shown(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        _end_quietly()
        print(
            "r1zero: interrupted; train and pretrain go on from their last checkpoints with --resume, other commands "
            "when given again.",
            file=sys.stderr,
        )
        return 130
    return 0


def _end_quietly() -> None:
    """Let an interrupt end the process at once from here on: Python at its end would answer with a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)
