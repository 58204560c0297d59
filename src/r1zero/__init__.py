r"""r1zero: reinforcement learning with verified rewards straight from a base language model.

These names are for programs of your own; everything else may move from one version to the next:

    train(recipe, out, …)        run a recipe, or what your program holds: a model, questions, a reward, an objective
    View, Control                watch a run, and steer it
    Objective                    a row of the table, or one whose parts are your own functions
    load_recipe(path, changes)   read a recipe, with settings changed
    Run                          read a run directory: recipe, metrics and responses as tables
    evaluate(model, benchmarks)  ask a model, grade its answers, count
    sample(model, prompts)       draw responses
    measure_bias(objectives)     audit objectives exactly; `check_invariance(recipe)` a gradient of your own recipe
    Verifier                     grade responses; `Question` and `AnswerFormat` say what is right, and where it stands

After `python scripts/make_arithmetic_base.py`, this trains that model for twenty steps and asks it some sums:

    from r1zero import AnswerFormat, Question, Verifier, evaluate, train

    run = train("recipes/arithmetic.toml", "runs/twenty", **{"train.steps": 20})
    print(run.metrics()["rollout/reward"].to_pylist())

    sums = {"name": "arithmetic", "limit": 100, "options": {"level": 3, "style": "bare"}}
    (result,) = evaluate("runs/twenty/checkpoints/step-000020", [sums], "no", max_new_tokens=64)
    print(result.accuracy, result.accuracy_low, result.accuracy_high)

    question = Question("mine/1", "What is a quarter and a quarter?", gold=("1/2",))
    with Verifier() as verifier:
        (verdict,) = verifier.verify([(r"It is \boxed{0.5}.", question.gold, AnswerFormat.BOXED)])
    print(verdict.outcome, verdict.rule)

`import r1zero` loads nothing else; a name loads its module, and with it what that needs, when it is first asked for.
The command line is `r1zero --help`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1zero.api.ask import evaluate, sample
    from r1zero.api.measure import check_invariance, measure_bias
    from r1zero.api.train import train
    from r1zero.config import load_recipe
    from r1zero.objectives.objective import Objective
    from r1zero.runs.run import Run
    from r1zero.training.watch import Control, View
    from r1zero.types import AnswerFormat, Question
    from r1zero.verify import Verifier

__version__ = "0.2.0"

__all__ = [
    "AnswerFormat", "Control", "Objective", "Question", "Run", "Verifier", "View", "check_invariance", "evaluate",
    "load_recipe", "measure_bias", "sample", "train",
]  # fmt: skip

_HOMES = {
    "AnswerFormat": "r1zero.types",
    "Control": "r1zero.training.watch",
    "Objective": "r1zero.objectives.objective",
    "Question": "r1zero.types",
    "Run": "r1zero.runs.run",
    "Verifier": "r1zero.verify",
    "View": "r1zero.training.watch",
    "check_invariance": "r1zero.api.measure",
    "evaluate": "r1zero.api.ask",
    "load_recipe": "r1zero.config",
    "measure_bias": "r1zero.api.measure",
    "sample": "r1zero.api.ask",
    "train": "r1zero.api.train",
}

if not TYPE_CHECKING:  # which knows the names from above, and would take any other for one of them

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
