"""`r1zero evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from r1zero.cli.program import app


@app.command
def evaluate(
    model: str,
    /,
    *,
    benchmarks: Annotated[list[str], Parameter(name=["--benchmarks", "-b"], consume_multiple=True)],
    template: str = "qwen_math",
    answer_format: str | None = None,
    instruction: str = "",
    samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_new_tokens: int = 3000,
    limit: int | None = None,
    seed: int = 0,
    batch_rows: int = 64,
    device: str = "auto",
    data_dir: Path | None = None,
    out: Path | None = None,
) -> None:
    """Evaluate a model folder, checkpoint or Hub name on question sets.

    Parameters
    ----------
    model
        A model folder, a run's checkpoint, or a Hub name.
    benchmarks
        Question sets: catalogue names (aime24 amc math500 minerva olympiad gsm8k-test …), files, or `arithmetic`.
    template
        qwen_math, r1, no, few_shot, chat, or a Jinja file.
    answer_format
        boxed, answer_tags or last_number; the template's own by default.
    instruction
        Added to the question by the chat template.
    samples
        Responses per question; more than one needs a temperature above 0.
    limit
        Take only the first questions of each set.
    out
        Keep every response and the results there.
    """
    from rich.console import Console
    from rich.markup import escape

    from r1zero.assemble import evaluate_model
    from r1zero.config import Benchmark, Evaluation, Template, checked
    from r1zero.view import response_counter, results_table

    protocol = checked(
        Evaluation,
        {
            "benchmarks": [checked(Benchmark, {"name": name, "limit": limit}) for name in benchmarks],
            "samples": samples,
            "temperature": temperature,
            "top_p": top_p,
            "max_new_tokens": max_new_tokens,
        },
    )
    shape = checked(Template, {"name": template, "answer_format": answer_format, "instruction": instruction})
    console = Console()
    with response_counter(console) as count:
        results = evaluate_model(
            model,
            protocol,
            shape,
            seed=seed,
            rows=batch_rows,
            device=device,
            data_dir=data_dir,
            out=out,
            progress=count,
        )
    console.print(results_table(escape(f"{model}, template {template}, temperature {temperature:g}"), results))
