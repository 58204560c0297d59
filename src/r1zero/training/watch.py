"""Watching a run and steering it: what a program is told after each step, and what it may ask for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.config import Recipe
    from r1zero.evaluation import SetResult
    from r1zero.training.setup import RunSetup
    from r1zero.types import Completion

PREFIX = "watch/"
"""What the names of metrics begin with that a watcher logs."""


@dataclass(slots=True)
class Control:
    """What a watcher asks for after a step; the loop does it before the next one."""

    metrics: dict[str, float] = field(default_factory=dict)
    """Logged with those of the step."""
    evaluating: bool = False
    saving: bool = False
    stopping: bool = False

    def log(self, **numbers: float) -> None:
        """Log numbers with the step's metrics, `NAME` as `watch/NAME`. Raises UserError where one is not finite."""
        for name, value in numbers.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not math.isfinite(number):
                raise UserError(f"watch: {name} = {value!r} is not a number to log: give a finite one.")
            self.metrics[f"{PREFIX}{name}"] = number

    def evaluate(self) -> None:
        """Evaluate on the run's benchmarks after this step."""
        self.evaluating = True

    def save(self) -> None:
        """Save a checkpoint after this step."""
        self.saving = True

    def stop(self) -> None:
        """End the run after this step, evaluated and saved; it can be gone on with."""
        self.evaluating = self.saving = self.stopping = True

    def add(self, other: Control) -> None:
        """Ask for what another asks for, too."""
        self.metrics |= other.metrics
        self.evaluating |= other.evaluating
        self.saving |= other.saving
        self.stopping |= other.stopping


class View:
    """Someone watching a run; this one sees it and shows nothing."""

    def begin(self, parts: RunSetup, recipe: Recipe) -> None:
        """Take note that the run is about to start, or to go on."""

    def sampled(self, completion: Completion) -> None:
        """Take note of a finished response."""

    def stepped(self, step: int, numbers: Mapping[str, float]) -> Control | None:
        """Take note of a finished step, which is logged when this returns. May return what is to be done now."""

    def evaluated(self, step: int, results: list[SetResult]) -> None:
        """Take note of an evaluation that is finished and logged."""


Watcher = Callable[..., object]
"""A function of `step` and `metrics`, or of those of `step`, `metrics`, `control` and `run` that it names."""
_KNOWN = ("step", "metrics", "control", "run")


class Function(View):
    """A function that is told every step, called by the parameters that it names."""

    def __init__(self, function: Watcher):
        self.function, self.named = function, named_parameters(function)
        self.run: Any = None

    def begin(self, parts: RunSetup, recipe: Recipe) -> None:
        """Keep the run for whoever asks for it."""
        self.run = parts.run

    def stepped(self, step: int, numbers: Mapping[str, float]) -> Control:
        """Call the function; a Control that it was given holds what it asks for."""
        control = Control()
        told = {"step": step, "metrics": dict(numbers), "control": control, "run": self.run}
        if self.named is None:
            self.function(step, dict(numbers))
        else:
            self.function(**{name: told[name] for name in self.named})
        return control


def named_parameters(function: Watcher) -> tuple[str, ...] | None:
    """Return which of `step`, `metrics`, `control` and `run` a function asks for; None: step and metrics, by place.

    Raises:
        UserError: it cannot be called with these.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in ones, such as `print`, have none
        return None
    kinds = inspect.Parameter
    named = [p for p in signature.parameters.values() if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    if named and all(p.name in _KNOWN and p.kind is not kinds.POSITIONAL_ONLY for p in named if p.default is p.empty):
        return tuple(p.name for p in named if p.name in _KNOWN)
    try:
        signature.bind(0, {})
    except TypeError:
        raise UserError(
            f"watch = {function!r} is not a valid function to watch with: write one of (step, metrics), or name "
            f"parameters among {', '.join(_KNOWN)}."
        ) from None
    return None


class Together(View):
    """Several that watch one run, each told in its turn."""

    def __init__(self, views: Sequence[View]):
        self.views = tuple(views)

    def begin(self, parts: RunSetup, recipe: Recipe) -> None:
        """See `View`."""
        for view in self.views:
            view.begin(parts, recipe)

    def sampled(self, completion: Completion) -> None:
        """See `View`."""
        for view in self.views:
            view.sampled(completion)

    def stepped(self, step: int, numbers: Mapping[str, float]) -> Control:
        """See `View`; all that any of them asks for is done."""
        asked = Control()
        for view in self.views:
            asked.add(view.stepped(step, numbers) or Control())
        return asked

    def evaluated(self, step: int, results: list[SetResult]) -> None:
        """See `View`."""
        for view in self.views:
            view.evaluated(step, results)


def watching(watch: View | Watcher | Sequence[View | Watcher] | None) -> View:
    """Return one view of whatever watches: functions, views, or several of them.

    Raises:
        UserError: something of it is neither.
    """
    if watch is None:
        return View()
    if isinstance(watch, Sequence) and not isinstance(watch, str | bytes):
        return Together([watching(each) for each in watch])
    if isinstance(watch, View):
        return watch
    if isinstance(watch, type) or not callable(watch) or inspect.iscoroutinefunction(watch):
        raise UserError(
            f"watch = {watch!r} is not a valid watcher: give a function of (step, metrics) that is not async, an "
            "object of a class derived from r1zero.View, or a list of these."
        )
    return Function(watch)
