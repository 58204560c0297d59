"""`r1zero paper`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from r1zero.cli.app import Flag, RecipePath, app, at_least, several
from r1zero.cli.model_options import PATIENCE_S, check_judge, check_patience, shown
from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.paper.claims import Study
    from r1zero.paper.jobs import Job
    from r1zero.paper.planned import Orders
    from r1zero.paper.served import Servers

paper = App(name="paper", help="The paper's tables and figures: in miniature on a laptop, or as published.")
app.command(paper)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Serving:
    """What is asked elsewhere, with --scale full."""

    server: Annotated[list[str], several("--server")] = field(default_factory=list)
    """A model that a server holds (vLLM, SGLang), MODEL=http://HOST:PORT/v1; several are given one after another. Key:
    R1ZERO_SERVER_KEY."""
    server_workers: int = 64
    """The most requests to a server side by side."""
    tokenizer: Annotated[list[str], several("--tokenizer")] = field(default_factory=list)
    """The tokenizer of such a model, MODEL=FOLDER or MODEL=HUB_NAME, for a server without /tokenize."""
    judge: str | None = None
    """An OpenAI-compatible endpoint of a language model that judges: http://HOST:PORT/v1. Key: R1ZERO_JUDGE_KEY."""
    judge_model: str | None = None
    """The language model's name there."""
    judge_workers: int = 16
    """The most questions to it side by side."""
    patience: float = PATIENCE_S
    """Seconds to wait for a server or a judge that is away, before giving up."""

    def servers(self) -> Servers:
        """Return it as the jobs take it. Raises UserError."""
        from r1zero.paper.jobs import ModelServer
        from r1zero.paper.judgements import JudgeServer
        from r1zero.paper.served import Servers

        at_least(1, "server-workers", self.server_workers, "asks nothing")
        check_patience(self.patience)
        check_judge(self.judge, self.judge_model, self.judge_workers)
        addresses = _by_model(self.server, "--server", "http://localhost:30000/v1")
        tokenizers = _by_model(self.tokenizer, "--tokenizer", "FOLDER")
        for model in tokenizers.keys() - addresses.keys():
            raise UserError(f"--tokenizer {model}=… is of a model that no server holds; add --server {model}=ADDRESS.")
        models = {
            model: ModelServer(address, tokenizers.get(model), self.server_workers, self.patience)
            for model, address in addresses.items()
        }
        judge = None
        if self.judge is not None and self.judge_model is not None:
            judge = JudgeServer(self.judge, self.judge_model, self.judge_workers, self.patience)
        return Servers(models, judge)


def _by_model(words: list[str], option: str, example: str) -> dict[str, str]:
    """Return MODEL=VALUE words as a mapping. Raises UserError."""
    found: dict[str, str] = {}
    for word in words:
        model, _, value = word.partition("=")
        if not model or not value or "://" in model:
            raise UserError(
                f"{option} {shown(word)} is not valid: write MODEL={example}, with the model's name as in the plan, "
                f"such as deepseek-ai/DeepSeek-V3-Base={example}."
            )
        if model in found:
            raise UserError(f"{option} names {model} more than once; keep one of them.")
        found[model] = value
    return found


SERVING = Serving()


@paper.command(name="list")
def list_(*, full: Flag = False, machine: str | None = None) -> None:
    """List the tables and figures there are.

    Parameters
    ----------
    full
        With the jobs of the published settings, and the hours of a machine's GPUs that they take.
    machine
        That machine; the paper's own, 8xA100-80GB, by default.
    """
    from rich.table import Table

    from r1zero.cli.console import make_console
    from r1zero.paper.studies import STUDIES

    if full:
        _list_full(list(STUDIES.values()), machine)
        return
    if machine is not None:
        raise UserError("--machine is for the hours of --full; add it.")
    table = Table(show_header=False, box=None, pad_edge=False)
    for study in STUDIES.values():
        table.add_row(study.name, study.source, study.title)
    make_console().print(table)


@paper.command
def run(
    *names: str,
    scale: Literal["laptop", "full"] = "laptop",
    quick: Flag = False,
    seeds: int | None = None,
    workers: int = 2,
    rehearse: Flag = False,
    machine: str | None = None,
    plan: Flag = False,
    set_: Annotated[list[str], Parameter(name="--set", consume_multiple=True, negative=())] = [],  # noqa: B006
    recipe_overrides: RecipePath | None = None,
    serving: Serving = SERVING,
    out: Path = Path("runs/paper"),
) -> None:
    """Run tables and figures, e.g. `r1zero paper run fig5`, and write one page with every claim and its statistic.

    What is finished is kept, what was interrupted goes on.

    Parameters
    ----------
    names
        Their names (`r1zero paper list`); all by default.
    scale
        laptop: in miniature, under an hour on two cores for all; full: the published models and settings.
    quick
        The miniature with few seeds and steps, to see that everything runs.
    seeds
        How many, for what is compared over seeds (fig1, fig5, ablation, fig7); the others are tested on the first.
    workers
        How many runs side by side, each with one thread.
    rehearse
        With --scale full: every job to its last step with a tiny random model in place of its own, on a few rows of
        its questions, within minutes; its page gives no verdicts.
    machine
        With --scale full: the GPUs to plan for, such as 8xA100-80GB, 4xGPU-48GB for any of so much memory, or "here"
        for those that are here. Every job has its engine, precision, rows, ranks and GPUs from that plan, which is
        printed first; as many run side by side as there are GPUs for.
    plan
        Print the plan for --machine (by default the GPUs that are here), all jobs with memory, hours and what will be
        reused, and start nothing.
    set_
        With --scale full: settings of all training runs, SECTION.KEY=VALUE, such as learner.updates=4; none that a
        study compares, and with --machine none that its plan decides ([cluster], engine, micro-batches, device).
    recipe_overrides
        The same from a TOML file with a recipe's sections; where --set says otherwise, --set counts.
    out
        The runs and the page stand in OUT/SCALE; of a rehearsal in OUT/rehearsal.
    """
    from r1zero.cli.console import make_console, say
    from r1zero.paper.planned import gpus_of
    from r1zero.paper.run import run_paper
    from r1zero.paper.studies import pick_studies
    from r1zero.report.draw.numbers import duration

    at_least(1, "workers", workers, "does nothing")
    orders = _orders(machine, plan, set_, recipe_overrides, serving)
    console, chosen = make_console(), _size(scale, orders, quick=quick, rehearse=rehearse)

    def noted(note: str) -> None:
        say(console, f"note {note}", style="yellow")

    def told(job: Job, seconds: float | None) -> None:
        say(console, f"begun     {job.name}" if seconds is None else f"finished  {job.name}  {duration(seconds)}")

    studies = pick_studies(names)
    if orders.machine is not None:
        if not plan:
            gpus_of((), orders)  # a machine that is not here is told before its table
        _tell_plan(studies, out / chosen, seeds, orders)
    if plan:
        return
    page = run_paper(studies, out / chosen, chosen, seeds=seeds, workers=workers, told=told, noted=noted, orders=orders)
    say(console, f"page: {page}", whole=True)


def _size(
    scale: Literal["laptop", "full"], orders: Orders, *, quick: bool, rehearse: bool
) -> Literal["laptop", "quick", "full", "rehearsal"]:
    """Return which form of the grids is meant. Raises UserError where options do not go together."""
    from r1zero.paper.planned import NO_ORDERS

    if quick and scale == "full":
        raise UserError("--quick makes the miniature smaller; leave it out, or --scale full.")
    if rehearse and scale != "full":
        raise UserError("--rehearse is of the published settings; add --scale full.")
    if scale != "full" and orders != NO_ORDERS:
        raise UserError(
            "--machine, --set, --recipe-overrides, --server and --judge are of the published settings; add --scale "
            "full."
        )
    if rehearse and orders.machine is not None:
        raise UserError("--rehearse tries jobs on the CPU, whatever --machine there is; leave one of them out.")
    return "quick" if quick else "rehearsal" if rehearse else scale


def _orders(machine: str | None, plan: bool, settings: list[str], file: Path | None, serving: Serving) -> Orders:
    """Return what is said of all jobs. Raises UserError."""
    from r1zero.config.load import read_settings
    from r1zero.config.overrides import parse_settings
    from r1zero.paper.planned import Orders
    from r1zero.plan.machine import HERE, full_name

    if plan and machine is None:
        machine = HERE
    sources = {**({str(file): read_settings(file)} if file else {}), **({"--set": parse_settings(settings, "--set")}
               if settings else {})}  # fmt: skip
    changes = {key: value for each in sources.values() for key, value in each.items()}
    source = " and ".join(sources) or "--set"
    return Orders(machine if machine is None else full_name(machine), changes, serving.servers(), source)


def _tell_plan(studies: list[Study], out: Path, seeds: int | None, orders: Orders) -> None:
    """Print every job as it would run. Raises UserError where one does not fit."""
    from r1zero.cli.console import make_console, plain_table, say
    from r1zero.paper.planned import fitting, plan_jobs, plan_rows, total
    from r1zero.paper.run import published
    from r1zero.paper.served import left_out
    from r1zero.plan.machine import counted_machine

    jobs = published(studies, seeds, orders)
    orders.servers.check(jobs)
    found = plan_jobs(jobs, orders, out.resolve())
    console = make_console()
    headings = ["job", "how", "GPUs", "GiB of one at most", "hours", ""]
    console.print(plain_table(f"on {orders.machine}", headings, plan_rows(found)))
    say(console, total(found, counted_machine(str(orders.machine))[0]))
    for each in (*orders.unused(jobs), *left_out([planned.job for planned in found], out.resolve())):
        say(console, str(each))
    fitting(found)


def _list_full(studies: list[Study], machine: str | None) -> None:
    """Print element of the paper, study, jobs and hours."""
    from r1zero.cli.console import make_console, plain_table, say
    from r1zero.paper.elements import ELEMENTS
    from r1zero.paper.planned import MACHINE, Orders, plan_jobs
    from r1zero.plan.machine import full_name

    orders = Orders(full_name(MACHINE if machine is None else machine))
    told, seen = dict[str, tuple[str, str]](), set[str]()
    for study in studies:
        found = plan_jobs(list(study.full(1)), orders)
        fresh = [each for each in found if each.job.name not in seen]
        seen |= {each.job.name for each in found}
        shared = f", {len(found) - len(fresh)} of them of studies above" if len(fresh) < len(found) else ""
        served = sum(not each.gpus for each in found)
        shared += f", {served} by servers (--server, --judge)" if served else ""
        jobs = f"{len(found)}{shared}" if found else "none: exact, on any machine"
        told[study.name] = jobs, f"{sum(each.gpu_hours for each in fresh):.1f}"
    rows = []
    for element in sorted(ELEMENTS, key=lambda each: [*told, ""].index(each.study)):
        jobs, hours = told.pop(element.study, None) or ("as above", "–")
        jobs = jobs if element.study else "none"
        rows.append(
            [element.name, element.about, element.study or "–", "; ".join(filter(None, (jobs, element.note))), hours]
        )
    console = make_console()
    headings = ["element", "what", "study", "jobs", "GPU-hours"]
    console.print(plain_table(f"the paper at full scale, one seed, on {orders.machine}", headings, rows))
    say(
        console, "What jobs of several studies share is counted with the first of them; hours are within a factor of 3."
    )
