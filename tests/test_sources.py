"""What tells one function from another: all that it says and holds, and nothing of how it is laid out."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from r1zero.sources import function_name, source_hash


def scaled(x: float, by: float = 1.0, *, most: float = 9.0) -> float:
    return min(x * by, most)


def closed_over(held: object) -> Callable[[], object]:
    def inner() -> object:
        return held

    return inner


def named(body: str) -> Callable[[], object]:
    """A function whose source is nowhere."""
    space: dict[str, Any] = {}
    exec(f"def f(x=1):\n    return {body}", space)
    return space["f"]


class Scorer:
    def __init__(self, **held: object):
        self.__dict__.update(held)

    def __call__(self, response: str) -> float:
        return 1.0

    def other(self, response: str) -> float:
        return 0.0


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: float) -> float:
        return function(*arguments)

    return wrapper


def times(factor: int) -> Callable[..., Any]:
    def wrapped(function: Callable[..., float]) -> Callable[..., float]:
        @functools.wraps(function)
        def wrapper(*arguments: float) -> float:
            return factor * function(*arguments)

        return wrapper

    return wrapped


def half(x: float) -> float:
    return x / 2


def third(x: float) -> float:
    return x / 3


third.__qualname__ = third.__name__ = "half"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (functools.partial(scaled, 1.0), functools.partial(scaled, 2.0)),
        (functools.partial(scaled, by=1.0), functools.partial(scaled, by=2.0)),
        (Scorer(scale=1), Scorer(scale=2)),
        (Scorer(scale={"a": 1}), Scorer(scale={"a": 2})),
        (Scorer(scale=[1, 2]), Scorer(scale=[2, 1])),
        (Scorer(scale=half), Scorer(scale=third)),
        (Scorer().other, Scorer()),
        (closed_over(1), closed_over(2)),
        (closed_over(half), closed_over(third)),
        (lambda x: min(x), lambda x: max(x)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: sorted(x, key=lambda z: z + 1), lambda x: sorted(x, key=lambda z: z + 2)),
        (named("x + 1"), named("x + 2")),
        (named("len(x)"), named("sum(x)")),
        (wrapping(half), wrapping(third)),
        (wrapping(closed_over(1)), wrapping(closed_over(2))),
        (wrapping(half), half),
        (times(2)(half), times(3)(half)),
        (len, sum),
    ],
)
def test_what_differs_is_told_apart(one: Callable[..., Any], other: Callable[..., Any]) -> None:
    assert source_hash(one) != source_hash(other)
    assert source_hash(one) == source_hash(one)
    assert len(source_hash(one)) == 16


def variants(by: float, most: float) -> Callable[..., float]:
    def function(x: float, by: float = by, *, most: float = most) -> float:
        return min(x * by, most)

    return function


def test_defaults_are_told_apart() -> None:
    marks = {source_hash(variants(by, most)) for by in (1.0, 2.0) for most in (8.0, 9.0)}
    assert len(marks) == 4


def test_equal_functions_are_one_however_they_are_laid_out() -> None:
    def laid() -> Callable[[float], float]:
        def function(x: float) -> float:
            return x + 1

        return function

    def out() -> Callable[[float], float]:
        if True:

            def function(x: float) -> float:
                # a comment

                return x + 1

        return function

    assert source_hash(laid()) == source_hash(out())
    assert function_name(laid()) == "function"
    assert source_hash(Scorer(scale=1)) == source_hash(Scorer(scale=1))
    assert source_hash(Scorer(scale=object())) == source_hash(Scorer(scale=object()))  # an address says nothing
    assert function_name(functools.partial(scaled, 1.0)) == "scaled"
    assert function_name(Scorer()) == "Scorer"
