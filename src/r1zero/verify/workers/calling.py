"""How a user's reward function is called: by the parameters that it names, or as TRL calls its own.

A function is given what its parameters name: the fields of a response (`FIELDS`), and any further column of the
question's row by its name. Two parameters that name neither are the response and its golds, by position. A function
with `completions`, `completion_ids` or `prompts` is called as TRL's `GRPOTrainer` does it: with lists, of one. One that
says nothing of a response is a factory, and is called first, with its options.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from r1zero.types import GradingTask

Fields = Mapping[str, Any]
"""What is known of a response, by name; `columns` are the names of its row's further columns."""
_ALIASES = {"solution_str": "response", "ground_truth": "first_gold", "extra_info": "extra"}  # of verl's functions
FIELDS = (
    "response", "gold", "question", "extra", "prompt", "length", "stop", "id", "token_ids", "turns", "answer_format"
)  # fmt: skip
_RESPONSE = frozenset({"response", "solution_str"})
_GOLDS = frozenset(
    ("gold", "golds", "ground_truth", "answer", "answers", "gt_answer", "ground_truth_answer", "target", "targets")
) | {"expected", "expected_answer", "final_answer", "label", "reference", "solution", "truth"}
"""What people call the golds."""
_ALWAYS = ("response", "gold", "first_gold", "columns")
_TRL = frozenset({"completions", "completion_ids", "prompts"})
_SHAPE_ERRORS = (TypeError, KeyError, IndexError, AttributeError)
"""What a function that expects messages says to a text, and the other way round."""


@dataclass(frozen=True, slots=True)
class Calling:
    """How a function is called. `asks` are the fields and columns that it may read; None: all."""

    call: Callable[[Fields], object]
    asks: frozenset[str] | None


def fields_of(task: GradingTask) -> dict[str, Any]:
    """Return what a function may ask of a response, in plain values."""
    golds = [task.gold] if isinstance(task.gold, str) else list(task.gold)
    return {
        "response": task.response,
        "gold": golds,
        "question": task.question,
        "extra": dict(task.extra),
        "prompt": task.prompt,
        "length": task.length,
        "stop": None if task.stop is None else str(task.stop),
        "id": task.id,
        "token_ids": list(task.token_ids),
        "turns": [{"role": role, "content": text} for role, text in task.turns],
        "answer_format": str(task.answer_format),
        "first_gold": golds[0] if golds else None,
        "columns": sorted(task.extra),
    }


def selected(fields: Fields, asks: Collection[str] | None) -> Fields:
    """Return the fields that a function asks for, and of its row the columns."""
    if asks is None:
        return fields
    kept = {name: value for name, value in fields.items() if name in asks or name in _ALWAYS}
    extra = fields["extra"]
    return kept | {"extra": extra if "extra" in asks else {name: extra[name] for name in extra if name in asks}}


def caller(function: Callable[..., Any], options: Mapping[str, Any] | None, name: str = "") -> Calling:
    """Return a function that calls `function` with what it asks for.

    `options` are those of a reward in a list; None: of `verifier.reward`, where two parameters are the response and its
    golds, whatever they are called, as they have always been.

    Raises:
        TypeError: it cannot be called so; the message says why.
    """
    parameters = _parameters(function)
    if options and parameters is not None and not _is_reward(parameters, options):
        function, options = function(**options), {}
        if not callable(function):
            raise TypeError(f"{name} with these options gave a {type(function).__name__}, not a function")
        parameters = _parameters(function)
    if options:
        function = _with_options(function, parameters, options, name)
        parameters = {key: each for key, each in (_parameters(function) or {}).items() if key not in options}
    if parameters is None or (options is None and _is_pair(parameters)):
        return Calling(lambda fields: function(fields["response"], fields["gold"]), frozenset())
    gathers = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    if _TRL & parameters.keys():
        ids = {"token_ids"} if "completion_ids" in parameters else set()
        asks = frozenset({*parameters, "prompt", "question", "turns"} | ids)
        return Calling(_Trl(function, parameters), None if gathers else asks)
    asks = frozenset({_ALIASES.get(name, name) for name in parameters} | {*parameters})
    return Calling(partial(_by_name, function, parameters), None if gathers else asks)


def awaited(result: object) -> object:
    """Return a result; of an async function what it comes to."""
    if not isinstance(result, Awaitable):
        return result

    import asyncio  # here: a worker that grades for the verifier starts without it

    async def wait() -> object:
        return await result

    return asyncio.run(wait())


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return a function's parameters by name; None of one that is not written in Python."""
    try:
        return dict(inspect.signature(function).parameters)
    except ValueError:
        return None


def _is_reward(parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> bool:
    """Tell a reward that has options from a factory: it asks for something of a response, or for what is no option."""
    asked = {name for name, each in parameters.items() if _needed(each)} - options.keys()
    return bool(asked or _TRL & parameters.keys() or (parameters.keys() - options.keys()) & {*FIELDS, *_ALIASES})


def _needed(parameter: inspect.Parameter) -> bool:
    gathers = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not gathers


def _with_options(
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter] | None,
    options: Mapping[str, Any],
    name: str,
) -> Callable[..., Any]:
    known = parameters or {}
    gathers = any(each.kind is each.VAR_KEYWORD for each in known.values())
    strange = [each for each in options if each not in known]
    if strange and not gathers:
        raise TypeError(f"{name} has no parameter {strange[0]!r} for its option; it has {', '.join(known) or 'none'}")
    return partial(function, **options)


def _is_pair(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Tell whether a function can be called as (response, gold), by position alone."""
    places = [each for each in parameters.values() if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in parameters.values() if _needed(each)]
    many = any(each.kind is each.VAR_POSITIONAL for each in parameters.values())
    fits = len(needed) <= 2 and all(each in places for each in needed) and (len(places) >= 2 or many)
    named = {each.name for each in places[:2]} <= {*FIELDS, *_ALIASES}
    return fits and (many or not named)


def _fits(parameters: Mapping[str, inspect.Parameter], known: Collection[str]) -> bool:
    """Tell whether the names of a pair of parameters allow for the response and its golds, in that order.

    Not where one names something else that there is, and not (response, LEVLE), a column's name with a slip in it.
    """
    first, second = [*list(parameters)[:2], "", ""][:2]
    if first in known and first not in _RESPONSE:
        return False
    return second in _GOLDS or (second not in known and first not in known)


def _by_name(function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], fields: Fields) -> object:
    known = dict(fields["extra"]) | dict(fields)
    known |= {alias: known[field] for alias, field in _ALIASES.items() if alias not in known and field in known}
    columns = known.pop("columns")
    del known["first_gold"]
    missing = [name for name, each in parameters.items() if _needed(each) and name not in known]
    if (missing or not parameters.keys() & known.keys()) and _is_pair(parameters) and _fits(parameters, known):
        return function(fields["response"], fields["gold"])
    if missing:
        raise TypeError(
            f"it asks for {missing[0]!r}, neither a column of the row ({', '.join(columns) or 'it has none'}) nor a "
            f"field ({', '.join(FIELDS)})"
        )
    places = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY]
    named = {name: known[name] for name in parameters if name in known and name not in places}
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        named = {name: value for name, value in known.items() if name not in places and name not in _ALIASES} | named
    return function(*(known[name] for name in places if name in known), **named)


class _Trl:
    """Calls a function by TRL's signature, with lists of one.

    `completions` are lists of messages where the question was given as turns, as TRL has it, and where the function
    wants them: its annotation names a dict, or it fails on a text in a way that it does not fail on messages. That is
    found out once.
    """

    def __init__(self, function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]):
        self.function = function
        self.names = None if any(each.kind is each.VAR_KEYWORD for each in parameters.values()) else {*parameters}
        self.messages = _wants(parameters.get("completions"))

    def __call__(self, fields: Fields) -> object:
        given_as_turns = bool(fields["turns"])
        if given_as_turns or self.messages is not None or (self.names and "completions" not in self.names):
            return self._call(fields, given_as_turns or bool(self.messages))
        try:
            found = self._call(fields, False)
        except _SHAPE_ERRORS as error:
            try:
                found = self._call(fields, True)
            except _SHAPE_ERRORS:
                raise error from None  # it is something else that it lacks
            self.messages = True
        else:
            self.messages = False
        return found

    def _call(self, fields: Fields, messages: bool) -> object:
        said: object = fields["response"]
        asked: object = fields["prompt"]
        if messages:
            said = [{"role": "assistant", "content": said}]
            asked = fields["turns"] or [{"role": "user", "content": fields["question"]}]
        columns = {name: [value] for name, value in fields["extra"].items()}
        given = {"solution": [fields["first_gold"]]} | columns
        given |= {"prompts": [asked], "completions": [said], "completion_ids": [fields.get("token_ids")]}
        found = awaited(self.function(**{name: given[name] for name in given if not self.names or name in self.names}))
        return _only(found)


def _wants(completions: inspect.Parameter | None) -> bool | None:
    """Tell from its annotation whether a function wants messages; None where it does not say."""
    if completions is None or completions.annotation is inspect.Parameter.empty:
        return None
    told = str(completions.annotation).lower()
    return True if "dict" in told else False if "str" in told else None


def _only(found: Any) -> object:
    """Return the one reward of a list of one."""
    if isinstance(found, str | bytes | dict) or not hasattr(found, "__len__") or len(found) != 1:
        raise TypeError(
            f"by TRL's signature it returned {found!r:.60}: return a list with a reward for each completion"
        )
    return found[0]
