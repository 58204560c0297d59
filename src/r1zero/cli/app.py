"""The program `r1zero`; each command stands in a module of its own beside this one."""

from __future__ import annotations

from cyclopts import App

from r1zero import __version__

app = App(
    name="r1zero",
    version=__version__,
    help="Reinforcement learning with verified rewards straight from a base language model.",
    suppress_keyboard_interrupt=False,  # `main` says what an interrupt means
)
