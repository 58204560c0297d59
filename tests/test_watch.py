"""Who watches a run: how functions are called, and what several ask for together."""

from typing import Any

import pytest

from r1zero.errors import UserError
from r1zero.training.watch import Control, Function, Together, View, named_parameters, watching


class Noting(View):
    """One that notes what it is told, and asks for something."""

    def __init__(self, **asked: Any):
        self.told: list[str] = []
        self.asked = asked

    def begin(self, parts: Any, recipe: Any) -> None:
        self.told.append("begin")

    def sampled(self, completion: Any) -> None:
        self.told.append("sampled")

    def stepped(self, step: int, numbers: Any) -> Control:
        self.told.append("stepped")
        return Control(**self.asked)

    def evaluated(self, step: int, results: Any) -> None:
        self.told.append("evaluated")


def tell(view: View) -> Control | None:
    view.begin(type("Parts", (), {"run": "the run"})(), None)  # type: ignore[arg-type]
    view.sampled(None)  # type: ignore[arg-type]
    asked = view.stepped(3, {"a": 1.0})
    view.evaluated(3, [])
    return asked


@pytest.mark.parametrize("wish", ["evaluating", "saving", "stopping"])
def test_all_are_told_all_and_whatever_any_asks_for_is_done(wish: str) -> None:
    first, second = Noting(metrics={"watch/a": 1.0}, **{wish: True}), Noting(metrics={"watch/b": 2.0})
    for order in ([first, second], [second, first]):
        asked = tell(watching(order))
        assert asked == Control({"watch/a": 1.0, "watch/b": 2.0}, **{wish: True})
    assert first.told == second.told == ["begin", "sampled", "stepped", "evaluated"] * 2
    assert isinstance(watching([first]), Together)


def test_who_stops_evaluates_and_saves_and_nobody_asks_for_nothing() -> None:
    control = Control()
    control.stop()
    assert (control.evaluating, control.saving, control.stopping) == (True, True, True)
    assert tell(watching(None)) is None
    assert tell(watching([])) == Control()
    control = Control()
    control.evaluate()
    assert control == Control(evaluating=True)


def test_functions_are_called_by_the_parameters_that_they_name() -> None:
    seen: list[object] = []
    functions: list[Any] = [
        lambda run, step: seen.append((run, step)),
        lambda metrics, /, step: seen.append((metrics, step)),  # by place: step and metrics
        lambda step, **others: seen.append((step, others)),
        lambda step, *others: seen.append((step, others)),
        lambda step, other=5: seen.append((step, other)),
        lambda step, metrics=None: seen.append((step, metrics)),
        lambda one, two: seen.append((one, two)),
    ]
    for function in functions:
        tell(Function(function))
    assert seen == [
        ("the run", 3), (3, {"a": 1.0}), (3, {}), (3, ()), (3, 5), (3, {"a": 1.0}), (3, {"a": 1.0}),
    ]  # fmt: skip
    told = {"a": 1.0}
    Function(lambda metrics: metrics.clear()).stepped(1, told)
    assert told == {"a": 1.0}  # what is logged is nobody's to change


def test_a_built_in_function_without_a_signature_is_called_by_place() -> None:
    seen: dict[int, object] = {}
    tell(Function(seen.setdefault))
    assert seen == {3: {"a": 1.0}}
    assert named_parameters(max) is None


@pytest.mark.parametrize("wrong", [Noting, dict, 7, "print", lambda a, b, c: None])
def test_what_cannot_watch_is_refused(wrong: Any) -> None:
    with pytest.raises(UserError, match=r"^watch = .* is not a valid"):
        watching(wrong)
