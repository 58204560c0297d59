"""The question sets that a recipe or a command line names, and how their prompts fit into the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, zip_longest
from pathlib import Path

from r1zero.config import BenchmarkSettings, EvaluationSettings, QuestionsSettings, Recipe, SourceSettings
from r1zero.errors import SettingName, UserError, plural
from r1zero.questions import QuestionSet, check_name, fingerprint, load_questions, renamed
from r1zero.questions.files import SUFFIXES
from r1zero.questions.where import parse_where
from r1zero.rollouts.mixture import mixed
from r1zero.rollouts.prompts import Encode, PreparedSet, first_of, fit_told, long_prompts, unshown_turns
from r1zero.runs.files import stems_apart
from r1zero.templates import Template
from r1zero.verify.golds import listed, read_golds

_UNREADABLE = "unreadable gold"


def load_sets(
    recipe: Recipe,
    called: Sequence[str | None] = (),
    benchmarks_called: Sequence[str] = (),
    own_golds: tuple[str | None, str | None] | None = None,
) -> tuple[QuestionSet, tuple[QuestionSet, ...]]:
    """Return the questions to train on and the sets to evaluate on. Raises UserError like `load_benchmarks`.

    A run that goes on has names for them already, which files that were renamed keep: they are part of questions' ids.
    `own_golds` are what grades in the verifier's place, of training questions and of benchmarks, where that does not
    stand in the recipe.
    """
    data_dir = _folder(recipe.questions.data_dir)
    trained, evaluated = own_golds or recipe.own_golds
    benchmarks = load_benchmarks(recipe.evaluation, data_dir, reward=evaluated, called=benchmarks_called)
    return load_training(recipe, called, trained), benchmarks


def load_training(recipe: Recipe, called: Sequence[str | None] = (), reward: str | None = None) -> QuestionSet:
    """Return the questions to train on: one set, or several as parts of one. Raises UserError like `load_set`."""
    settings = recipe.questions
    if not settings.sources:
        return load_set(settings, _folder(settings.data_dir), reward, next(iter(called), None))
    parts: list[QuestionSet] = []
    stems = stems_apart([each.name for each in settings.sources if each.name.endswith(SUFFIXES)])
    for number, (source, known) in enumerate(zip_longest(settings.sources, called[: len(settings.sources)])):
        folder = _folder(source.data_dir or settings.data_dir)
        try:
            part = load_set(source, folder, reward, known or stems.get(source.name))
            if known is None and (other := _another_name(part.name, source.split, {each.name for each in parts})):
                part = load_set(source, folder, reward, other)
        except UserError as error:
            raise error.renamed(_in_source(number)) from error
        parts.append(part)
    return mixed(parts)


def _another_name(name: str, split: str | None, taken: set[str]) -> str | None:
    """Return what to call a source whose name another one has, for names are parts of ids: `#2` and so on, its split
    apart; None where nobody has it."""
    bare = name.removesuffix(f":{split}")
    numbered = (f"{bare}#{number}" for number in count(2))
    return next(each for each in numbered if each + name[len(bare) :] not in taken) if name in taken else None


def check_training(settings: QuestionsSettings) -> None:
    """Refuse sets that `load_training` would find nowhere, and filters that are none. Raises UserError."""
    for number, each in enumerate(settings.each):
        try:
            _check(each, each.data_dir or settings.data_dir)
        except UserError as error:
            raise error.renamed(_in_source(number) if settings.sources else str) from error


def check_benchmarks(recipe: Recipe) -> None:
    """Refuse sets that `load_benchmarks` would find nowhere, and filters that are none. Raises UserError."""
    try:
        for each in recipe.evaluation.benchmarks:
            _check(each, recipe.questions.data_dir)
    except UserError as error:
        raise renamed(
            error, lambda key: "a set of evaluation.benchmarks" if key == "name" else in_recipe(key)
        ) from None


def _check(settings: QuestionsSettings | SourceSettings | BenchmarkSettings, data_dir: str | None) -> None:
    check_name(settings.name, _folder(data_dir), settings.options)
    if settings.where is not None:
        parse_where(settings.where)


def _in_source(number: int) -> Callable[[str], str]:
    return lambda setting: setting.replace("questions.", f"questions.sources.{number}.", 1)


def _folder(data_dir: str | None) -> Path | None:
    return Path(data_dir) if data_dir else None


def load_set(
    settings: QuestionsSettings | SourceSettings | BenchmarkSettings,
    data_dir: Path | None,
    reward: str | None = None,
    called: str | None = None,
) -> QuestionSet:
    """Return the question set that a section of the recipe names, its golds as they are graded by.

    A user's own `reward` is given the golds as they stand, if there are any; `called` is the set's name, where it is
    not that of its file. `notes` says all that a user should know: rows left out and why, another size, golds of which
    a part was taken or that cannot be graded, questions that several rows ask.

    Raises:
        UserError: the set cannot be had, or most of its golds cannot be graded.
    """
    found = load_questions(
        settings.name,
        data_dir=data_dir,
        question_column=settings.question_column,
        answer_column=settings.answer_column,
        split=settings.split,
        limit=settings.limit,
        options=settings.options,
        where=settings.where,
        called=called,
        gold_needed=reward is None,
    )
    return told(found if reward is not None else with_final_golds(found))


def with_final_golds(found: QuestionSet) -> QuestionSet:
    """Return the set with golds that the verifier can grade by, and without the questions that have none.

    Raises:
        UserError: most of them have none.
    """
    if not isinstance(found.questions, tuple):  # generated ones are sound
        return found
    read = read_golds(found.questions)
    wordy = {fault.question for fault in read.sentences}
    useless = len(found) - len(read.questions) + len(wordy)
    if 2 * useless > len(found):
        raise UserError(
            f"{useless:,} of {found.name}'s {plural(len(found), 'gold answer')} cannot be graded: "
            f"{listed(read.left_out + read.sentences)}; write the final answer alone, in a box or behind ####, or name "
            "another column with ",
            SettingName("questions.answer_column"),
        )
    notes, dropped = [*found.notes], dict(found.dropped)
    if read.taken:
        whole, answer = read.taken[0]
        notes.append(
            f"{found.name}: {plural(len(read.taken), 'gold')} held more than an answer, of which the marked final "
            f"answer was taken: of {shortened(whole)!r}, {answer!r}"
        )
    if read.left_out:
        dropped[_UNREADABLE] = len(found) - len(read.questions)
        notes.append(f"{found.name}: golds that cannot be graded: {listed(read.left_out)}")
    if read.costly:
        notes.append(f"{found.name}: golds of which only the same text is right: {listed(read.costly)}")
    same = read.questions == found.questions
    mark = found.fingerprint if same else fingerprint(read.questions)
    return replace(found, questions=read.questions, dropped=dropped, notes=tuple(notes), fingerprint=mark)


def told(found: QuestionSet) -> QuestionSet:
    """Return the set with notes on the rows that were left out, and on questions that several rows ask."""
    dropped = [f"{found.name}: {plural(count, 'row')} left out ({reason})" for reason, count in found.dropped.items()]
    stored = found.questions if isinstance(found.questions, tuple) else ()
    different = len({question.asked for question in stored})
    if different < len(stored):
        dropped.append(
            f"{found.name}: its {plural(len(stored), 'row')} ask {plural(different, 'question')}; rows of one question "
            "are one piece of evidence in intervals and p-values"
        )
    return replace(found, notes=(*dropped, *found.notes))


def each_once(found: QuestionSet) -> QuestionSet:
    """Return the set with every question once: who chooses what to ask asks nothing twice."""
    if not isinstance(found.questions, tuple):
        return found
    first = {question.asked: question for question in reversed(found.questions)}
    kept = tuple(question for question in found.questions if first[question.asked] is question)
    repeated = len(found) - len(kept)
    note = f"{found.name}: {plural(repeated, 'row')} left out (asking what another row asks)"
    return replace(found, questions=kept, notes=(*found.notes, note)) if repeated else found


def shortened(text: str, most: int = 80) -> str:
    """Return the end of a long text, where a solution says its answer."""
    return text if len(text) <= most else f"…{text[-most:]}"


def in_recipe(key: str) -> str:
    """Return a benchmark's setting as a recipe names it."""
    return "evaluation.benchmarks" if key == "name" else f"{key} in evaluation.benchmarks"


def flag(key: str) -> str:
    """Return a benchmark's setting as the command line names it."""
    return "--benchmarks" if key == "name" else f"--{key.replace('_', '-')}"


def load_benchmarks(
    settings: EvaluationSettings,
    data_dir: Path | None,
    named: Callable[[str], str] = in_recipe,
    reward: str | None = None,
    called: Sequence[str] = (),
) -> tuple[QuestionSet, ...]:
    """Return the sets to evaluate on; `named` says what their settings are called where the user wrote them, `called`
    what the sets are, if not as their files.

    Raises:
        UserError: a set cannot be had, has no end, or has another's name: nobody could tell their results apart.
    """
    sets: list[QuestionSet] = []
    stems = stems_apart([each.name for each in settings.benchmarks if each.name.endswith(SUFFIXES)])
    for benchmark, name in zip_longest(settings.benchmarks, called[: len(settings.benchmarks)]):
        if benchmark.name == "arithmetic" and benchmark.limit is None and "count" not in benchmark.options:
            raise UserError(f"{named('name')}: arithmetic has no end; set {named('limit')} to a number of questions.")
        try:
            sets.append(load_set(benchmark, data_dir, reward, name or stems.get(benchmark.name)))
        except UserError as error:
            raise renamed(error, named) from error
    names = [each.name for each in sets]
    for each in names:
        if names.count(each) > 1:
            raise UserError(f"{named('name')} names {each!r} more than once; keep one of them.")
    return tuple(sets)


def fit_notes(
    recipe: Recipe, positions: int | None, questions: QuestionSet, template: Template, encode: Encode
) -> tuple[str, ...]:
    """Tell what a reader must know of the training sets' prompts: turns that the template leaves out, and which are too
    long.

    Raises:
        UserError: a conversation that the template cannot show.
    """
    told: list[str] = []
    for number, (part, settings) in enumerate(zip(questions.parts or [questions], recipe.questions.each, strict=True)):
        bound, name = settings.max_prompt_tokens or recipe.questions.max_prompt_tokens, "questions.max_prompt_tokens"
        if settings.max_prompt_tokens and questions.parts:
            name = f"questions.sources.{number}.max_prompt_tokens"
        told += unshown_turns(part, template)
        told += _fit_of(
            part,
            (name, bound),
            recipe.sampling.max_new_tokens,
            positions,
            partial(long_prompts, part, template, encode),
        )
    return tuple(told)


def _fit_of(
    questions: QuestionSet,
    asked_by: tuple[str, int],
    budget: int,
    positions: int | None,
    longer_than: Callable[[int], dict[str, int]],
) -> list[str]:
    """Tell which prompts of a set are longer than a setting (its name and its value) or the model allow."""
    setting, asked = asked_by
    bound = asked if positions is None else min(asked, max(positions - budget, 0))
    found = longer_than(bound)
    longer = [name for name, tokens in found.items() if tokens > asked]
    held = [tokens for tokens in found.values() if tokens <= asked] if positions is not None else []
    crowded = [name for name, tokens in found.items() if positions is not None and positions <= tokens <= asked]
    told = fit_told(questions.name, positions, budget, crowded, len(held) - len(crowded))
    if longer:
        told.append(
            f"{questions.name}: {plural(len(longer), 'question')} passed over, whose prompts are longer than "
            f"{setting} = {asked}: {first_of(longer)}"
        )
    return told


def context_length(recipe: Recipe, positions: int | None, longest: int, benchmarks: Sequence[PreparedSet]) -> int:
    """Return tokens of the longest prompt and response together, training's and evaluation's.

    A model of `positions` holds no more.
    """
    evaluated = max((each.longest for each in benchmarks), default=0)
    needed = max(longest + recipe.sampling.max_new_tokens, evaluated + recipe.eval_max_new_tokens)
    return needed if positions is None else min(needed, positions)
