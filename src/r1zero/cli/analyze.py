"""`r1zero analyze`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from r1zero.cli.app import Flag, Where, app, at_least, changed, several
from r1zero.cli.model_options import ENGINE, PATIENCE_S, ModelOptions, check_judge, check_patience, flags_named
from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.analyze.readiness_card import Card
    from r1zero.analyze.run import AnalysisPlan, Judges


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Asked:
    """What the model is asked, and how."""

    questions: Annotated[str, Parameter(name=["--questions", "-q"])] = "math-12k"
    """A question set: a catalogue name, a file, or `arithmetic`."""
    limit: int = 500
    """How many of its questions, as equal a number of every difficulty level as there are."""
    where: Where = None
    """Which of its rows to take, such as 'level >= 3'; all by default."""
    data_dir: Path | None = None
    """A folder to look for question sets in; the environment's R1ZERO_DATA is looked at next."""
    templates: Annotated[list[str], several("--templates", "-t")] = field(
        default_factory=lambda: ["no", "r1", "qwen_math"]
    )
    """Templates to try; the one that makes the model answer most is used for the rest."""
    answer_format: str | None = None
    """boxed, answer_tags, answer_tags_strict, answer_tags_loose or last_number; each template's own by default."""
    template_options: Annotated[list[str], several("--template-options")] = field(default_factory=list)
    """What the model's own chat template reads beside the messages: NAME=VALUE, such as enable_thinking=false."""
    temperatures: Annotated[list[float], several("--temperatures")] = field(
        default_factory=lambda: [round(0.1 * i, 1) for i in range(1, 11)]
    )
    """Temperatures to sample at."""
    samples: int = 8
    """Responses per question and temperature."""
    group_size: int = 8
    """G of the training to come, for the expected share of live groups."""
    max_new_tokens: int = 3000
    """The token budget of a response."""
    seed: int = 0
    """Seed of the draws, and of the choice of questions."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Judging:
    """Who judges the responses; rules by default."""

    judge: str | None = None
    """An OpenAI-compatible endpoint of a language model: http://HOST:PORT/v1. Key: R1ZERO_JUDGE_KEY."""
    judge_model: str | None = None
    """The language model's name there."""
    judge_workers: int = 16
    """The most questions to it side by side."""
    judge_price: tuple[float, float] | None = None
    """Its price per million prompt and answer tokens, to count the cost."""
    patience: float = PATIENCE_S
    """Seconds to wait for a server or a judge that is away, before giving up."""
    keywords: Path | None = None
    """A list of your own, one keyword a line, in place of the paper's fifteen."""


ASKED, JUDGING = Asked(), Judging()


@app.command
def analyze(
    model: str | None = None,
    what: Literal["all", "answering", "exploration", "reflection"] = "all",
    /,
    *,
    asked: Asked = ASKED,
    engine: ModelOptions = ENGINE,
    judging: Judging = JUDGING,
    saved: Annotated[list[Path] | None, several("--saved")] = None,
    run: Path | None = None,
    steps: int | None = None,
    out: Path | None = None,
    detectors: Flag = False,
) -> None:
    """Understand a base model before training it: does it answer, do samples reach right answers, does it reflect?

    Parameters
    ----------
    model
        A folder, a checkpoint or a Hub name; with --server, the model's name there.
    what
        Which analyses; each but `answering` uses the template that makes the model answer most.
    saved
        Analyse these --out folders of `r1zero evaluate` (all of one model), and ask nothing.
    run
        Analyse the saved rollouts and evaluations of this training run step by step, and ask nothing.
    steps
        With --run: at most this many steps, evenly spaced.
    out
        Where responses, pages and figures go: analysis/MODEL by default. A call that was interrupted goes on there.
    detectors
        Print precision and recall of the detectors on hand-labelled passages, and do nothing else.
    """
    if model in ("all", "answering", "exploration", "reflection") and (saved or run):
        model, what = None, model
    sources = [name for name, given in (("MODEL", model), ("--saved", saved), ("--run", run)) if given]
    if detectors:
        _detectors(judging)
        return
    if len(sources) != 1:
        given = f"not {' and '.join(sources)} together" if sources else "none was given"
        raise UserError(f"analyze needs one of MODEL, --saved FOLDER … and --run RUN; {given}.")
    _check(asked, judging, steps)
    if steps is not None and run is None:
        raise UserError(f"--steps {steps} belongs to a training run; add --run RUN, or leave it out.")
    if run is not None and what != "all":
        raise UserError(f"--run makes all analyses of what the run saved; leave {what} out.")
    if model is None:
        _check_idle(asked, engine, saved is not None)
    engine.check()
    from r1zero.evaluation.cell import slug
    from r1zero.runs.exclusive import exclusive
    from r1zero.runs.run import Run

    plan = _plan(what, asked)
    if run is not None:
        Run.open(run)
        folder = out or run / "analysis"
    else:
        folder = out or (saved[0] / "analysis" if saved else Path("analysis") / slug(model or ""))
    with exclusive(folder):
        if run is not None:
            _training(run, judging, folder, steps)
        elif saved:
            _saved(saved, plan, judging, folder)
        elif model:
            _model(model, plan, asked, engine, judging, folder)


def _check(asked: Asked, judging: Judging, steps: int | None) -> None:
    """Refuse numbers that nothing could be made of, and what does not go together."""
    for least, name, value in (
        (1, "limit", asked.limit), (2, "samples", asked.samples), (2, "group-size", asked.group_size),
        (1, "max-new-tokens", asked.max_new_tokens), (1, "steps", steps),
    ):  # fmt: skip
        at_least(least, name, value, "is too few")
    at_least(0, "seed", asked.seed, "is not a valid seed")
    for name in ("temperatures", "templates"):
        if not getattr(asked, name):
            raise UserError(f"--{name} names none; give one or more, or leave it out.")
    for temperature in asked.temperatures:
        if not 0 < temperature < 100:
            raise UserError(
                f"--temperatures {temperature:g} is not a valid temperature to sample at: give numbers above 0 and "
                "below 100."
            )
    check_patience(judging.patience)
    if judging.judge_price is not None:
        if judging.judge is None:
            raise UserError("--judge-price belongs to a judge that is asked; add --judge http://HOST:PORT/v1.")
        if not all(0 <= price < 1e9 for price in judging.judge_price):
            raise UserError(
                "--judge-price is money per million tokens of prompt and of answer; give two numbers from 0."
            )


def _check_idle(asked: Asked, engine: ModelOptions, of_saved: bool) -> None:
    """Refuse what is for asking a model, where none is asked; expectations of groups are of saved responses, too."""
    of_all = (replace(asked, group_size=ASKED.group_size), ASKED) if of_saved else (asked, ASKED)
    if idle := changed((engine, ENGINE), of_all):
        raise UserError(f"{idle[0]} asks a model, and --saved and --run ask nothing; leave it out, or name the model.")


def _plan(what: str, asked: Asked) -> AnalysisPlan:
    from r1zero.analyze.run import ANALYSES, AnalysisPlan
    from r1zero.config import TemplateSettings, checked
    from r1zero.config.overrides import parse_pairs

    shape = {
        "answer_format": asked.answer_format,
        "options": parse_pairs(asked.template_options, "--template-options"),
    }
    shapes = [checked(TemplateSettings, {"name": name} | shape) for name in asked.templates]
    analyses = ANALYSES if what == "all" else (what,)
    temperatures = tuple(dict.fromkeys(sorted(asked.temperatures)))
    return AnalysisPlan(analyses, tuple(shapes), temperatures, asked.samples, asked.group_size)


def _judges(judging: Judging, out: Path) -> Judges:
    from functools import partial

    from r1zero.analyze.judges.llm import LLMJudge, Price, connect_judge
    from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION
    from r1zero.analyze.keywords import KEYWORDS, Detector, read_keywords
    from r1zero.analyze.run import Judges

    detector = Detector(read_keywords(judging.keywords) if judging.keywords else KEYWORDS)
    check_judge(judging.judge, judging.judge_model, judging.judge_workers)
    if judging.judge is None or judging.judge_model is None:
        return Judges(detector=detector)
    client = connect_judge(judging.judge, kept=out / "judgements.sqlite", patience_s=judging.patience)
    price = Price(*judging.judge_price) if judging.judge_price else None
    judge = partial(LLMJudge, client=client, model=judging.judge_model, workers=judging.judge_workers, price=price)
    return Judges(judge(ANSWERING), judge(REFLECTION), detector)


def _model(model: str, plan: AnalysisPlan, asked: Asked, engine: ModelOptions, judging: Judging, out: Path) -> None:
    from r1zero.analyze.ask import Asking
    from r1zero.analyze.run import analyse_model
    from r1zero.cli.console import make_console, response_counter, say
    from r1zero.questions import load_questions, renamed, stratified
    from r1zero.rollouts.question_sets import each_once, flag, told, with_final_golds
    from r1zero.verify import Verifier

    judges = _judges(judging, out)
    try:
        # generated questions have no end: as many as are asked for
        whole = load_questions(
            asked.questions,
            data_dir=asked.data_dir,
            limit=asked.limit if asked.questions == "arithmetic" else None,
            where=asked.where,
        )
        whole = told(each_once(with_final_golds(whole)))
    except UserError as error:
        raise renamed(error, lambda key: "--questions" if key == "name" else flag(key)) from error
    asking = Asking(stratified(whole, asked.limit, asked.seed), asked.max_new_tokens, asked.seed, out, asked.where)
    console = make_console()
    with (
        flags_named(),
        closing(engine.open(model, out, judging.patience)) as evaluated,
        Verifier() as verifier,
        response_counter(console) as count,
    ):
        card = analyse_model(evaluated, plan, asking, judges, verifier, count)
    for note in (*evaluated.notes(), *whole.notes):
        say(console, note)
    _show(card, plan, out)


def _saved(folders: list[Path], plan: AnalysisPlan, judging: Judging, out: Path) -> None:
    from r1zero.analyze.responses import saved_cells
    from r1zero.analyze.run import analyse_saved

    cells = saved_cells(folders)
    _show(analyse_saved(cells, plan, _judges(judging, out), out), plan, out)


def _training(folder: Path, judging: Judging, out: Path, steps: int | None) -> None:
    from r1zero.analyze.run import analyse_training
    from r1zero.runs.run import Run

    analyse_training(Run.open(folder), _judges(judging, out), out, steps)
    _tell(out, "training", "training.md, .json, .png and .svg")


def _show(card: Card | None, plan: AnalysisPlan, out: Path) -> None:
    """Print the card, or the page of the answering rate; and where everything is."""
    made = ", ".join(dict.fromkeys((*plan.analyses, *(["card"] if card else []))))
    _tell(out, "answering" if card is None else "card", f"{made} as .md, .json and figures")


def _tell(out: Path, name: str, made: str) -> None:
    """Print what was found, write the page, and say where everything is."""
    from r1zero.cli.console import make_console, say
    from r1zero.report.pages.analysis import write_page

    page, console = write_page(out), make_console()
    say(console, (out / f"{name}.md").read_text(encoding="utf-8"), whole=True)
    say(console, f"written: {page}, and beside it {made}", whole=True)


def _detectors(judging: Judging) -> None:
    from r1zero.analyze.detectors import measure, table
    from r1zero.analyze.keywords import Detector, read_keywords
    from r1zero.cli.console import make_console, plain_table

    detector = Detector(read_keywords(judging.keywords)) if judging.keywords else None
    make_console().print(plain_table("on hand-labelled passages", *table(measure(detector))))
