"""`r1zero.evaluate` and `r1zero.sample`: asking a model that a program names or holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r1zero.api.inputs import check_model, find_tokenizer, write_rows
from r1zero.api.rows import rows_of
from r1zero.api.said import said, tell
from r1zero.config import BenchmarkSettings, EvaluationSettings, TemplateSettings, checked
from r1zero.errors import UserError
from r1zero.evaluation.cell import Conditions
from r1zero.evaluation.matrix import evaluate_matrix
from r1zero.evaluation.models import EvaluatedModel, beside, held, local
from r1zero.evaluation.summary import SetResult
from r1zero.policy.held import held as held_policy
from r1zero.policy.held import weights_hash
from r1zero.sampling.protocol import Request, SamplingParams
from r1zero.templates.table import make_template
from r1zero.types import Completion

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ROWS = 64
_OF_SETS = BenchmarkSettings.model_fields.keys() - {"name"}
Benchmark = str | Mapping[str, Any] | tuple[str, Any]
"""A name or path, a mapping of settings with a `name`, or a name and rows (as `train` takes them)."""


def evaluate(
    model: str | Path | PreTrainedModel,
    benchmarks: Benchmark | Sequence[Benchmark],
    template: str = "qwen_math",
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    engine: Literal["torch", "vllm"] = "torch",
    **settings: Any,
) -> list[SetResult]:
    """Evaluate a model folder, a checkpoint, a Hub model or a model object on question sets, as `r1zero evaluate` does.

    `benchmarks` and `settings` are a recipe's section `[evaluation]`: names of sets, mappings with a `name` and
    `where`, `limit`, `split`, `options`, …, or pairs of a name and rows of one's own; `samples`, `temperature` (0 by
    default), `max_new_tokens` (3000), … What is said of a set may stand beside them, `where="level >= 3"`: it is of
    every set that does not say otherwise.

    `engine` is the embedded sampler, or a vLLM engine with the model in a process of its own. A model object is asked
    where it is, with its `tokenizer`, or that of the folder it came from; it is in evaluation mode meanwhile.

    Raises:
        UserError: anything that the user has to mend.
    """
    several = benchmarks if isinstance(benchmarks, list) or _is_tuple_of_sets(benchmarks) else [benchmarks]
    shape = checked(TemplateSettings, {"name": template})
    shared = {name: settings.pop(name) for name in _OF_SETS & settings.keys()}
    place = Path(out) if out is not None else None
    with (
        said("data_dir="),
        _folder(place) as folder,
        _opener(model, tokenizer, engine, place is not None) as (name, opened),
    ):
        sets = [shared | _set(each, folder) for each in several]  # type: ignore[union-attr]
        section = checked(EvaluationSettings, {"benchmarks": sets} | settings)
        conditions = Conditions(seed=seed, data_dir=Path(data_dir) if data_dir else None, out=place)
        (cell,) = evaluate_matrix([name], opened, [shape], section, conditions)
    return cell.results


def sample(
    model: str | Path | PreTrainedModel,
    prompts: str | Sequence[str],
    samples: int = 1,
    template: str | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    seed: int = 0,
    **settings: Any,
) -> list[list[Completion]]:
    """Draw `samples` responses to each prompt with the sampler that training uses; a list for each, in order.

    Under a `template` the prompts are questions; without one they are taken as they are. `settings` are `top_p`,
    `top_k` and `stop` (strings that end a response). Equal seeds, equal responses, whatever else is asked beside.

    Raises:
        UserError: anything that the user has to mend.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if strange := [each for each in texts if not isinstance(each, str)]:
        raise UserError(f"prompts= holds {strange[0]!r:.80}, which is not a valid prompt: give texts.")
    if not isinstance(samples, int) or samples < 1:
        raise UserError(f"samples = {samples!r} is not a valid number of responses: give 1 or more.")
    with said(), _opener(model, tokenizer, "torch", False) as (name, opened):
        asked = opened(name)
        if template is not None:
            shape = make_template(checked(TemplateSettings, {"name": template}), asked.tokenizer)
            texts = [shape.render(text) for text in texts]
            settings = {"stop": shape.stop} | settings
        requests = [Request(f"{i}:{text}", asked.encode(text)) for i, text in enumerate(texts)]
        if empty := [text for text, request in zip(texts, requests, strict=True) if not request.prompt_ids]:
            raise UserError(f"The prompt {empty[0]!r} has no tokens; write one that has.")
        try:
            params = SamplingParams(max_new_tokens, temperature, positions=asked.positions(), **settings)
        except (TypeError, ValueError) as error:
            raise UserError(f"{error}.") from None
        drawn = asked.sampler.sample(requests, samples, params, seed=seed, step=0)
        found = {(each.request, each.sample): each.completion for each in drawn}
    return [[found[p, g] for g in range(samples)] for p in range(len(texts))]


def _is_tuple_of_sets(benchmarks: object) -> bool:
    """Tell several sets in a tuple from a name with its rows."""
    return isinstance(benchmarks, tuple) and not (len(benchmarks) == 2 and not isinstance(benchmarks[1], str | Mapping))


def _set(benchmark: Benchmark, folder: Path) -> dict[str, Any]:
    if isinstance(benchmark, str | Path):
        return {"name": str(benchmark)}
    if isinstance(benchmark, Mapping) and "name" in benchmark:
        return dict(benchmark)
    if not isinstance(benchmark, tuple) or len(benchmark) != 2 or not isinstance(benchmark[0], str):
        raise UserError(
            f"benchmarks= holds {benchmark!r:.80}, which is not a valid benchmark: give a name, a mapping of settings "
            'with a name, or a pair of a name and rows, such as ("mine", rows).'
        )
    name, rows = benchmark
    path = folder / f"{name}.jsonl"
    if Path(name).name != name or not name:
        raise UserError(f"{name!r} is not a valid name of a set: write one without slashes.")
    given = rows_of(rows, f"benchmarks={name!r}")
    tell([f"{name}: {note}" for note in given.notes])
    write_rows(given, path, f"The rows of {name!r}")
    return {"name": str(path)}


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Where rows are written: beside the responses that are kept, or nowhere that stays."""
    if out is not None:
        yield out / "questions"
        return
    with tempfile.TemporaryDirectory(prefix="r1zero-questions-") as folder:
        yield Path(folder)


@contextmanager
def _opener(
    model: str | Path | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, engine: str, kept: bool
) -> Iterator[tuple[str, Callable[[str], EvaluatedModel]]]:
    """What a model is called, and how it is opened."""
    if engine not in ("torch", "vllm"):
        raise UserError(f'engine = {engine!r} is not a valid engine: write "torch" or "vllm".')
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise UserError("tokenizer= belongs to a model object; leave it out, or give the model as an object, too.")
        yield str(model), partial(local if engine == "torch" else beside, rows=_ROWS)
        return
    if engine != "torch":
        raise UserError('engine="vllm" reads a model from its folder; save the object and give that, or leave it out.')
    check_model(model)
    name = f"{type(model).__name__}{f'-{weights_hash(model)}' if kept else ''}"
    with held_policy(model, find_tokenizer(model, tokenizer)) as policy:
        yield name, lambda _: held(policy, name, rows=_ROWS)
