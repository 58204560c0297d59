"""The recipes that are shipped: all of them load, and those of the paper hold what was published (PAPER.md §1.0)."""

from pathlib import Path

import pytest

from r1zero.config import differences, load_recipe, read_recipe
from r1zero.config.pretrain import PretrainRecipe
from r1zero.objectives.table import PRESETS
from r1zero.questions import CATALOGUE

ALL = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.toml"))
RECIPES = [path for path in ALL if not path.stem.endswith("-pretrain")]
PAPERS = [path for path in RECIPES if path.stem.startswith(("qwen2.5", "llama"))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.objective.name in PRESETS
    assert recipe.responses_per_update * recipe.learner.updates == recipe.responses
    for name in (recipe.questions.name, *(benchmark.name for benchmark in recipe.evaluation.benchmarks)):
        assert name in CATALOGUE or name == "arithmetic" or name.startswith(("runs/paper/world/", "runs/demo/world/"))


@pytest.mark.parametrize("path", [path for path in ALL if path not in RECIPES], ids=lambda path: path.stem)
def test_every_pretraining_recipe_loads(path: Path) -> None:
    recipe = read_recipe(path, PretrainRecipe)
    assert recipe.corpus.text_column or recipe.corpus.answer_column


def test_the_demo_is_the_papers_miniature_with_files_of_its_own() -> None:
    demo, miniature = (load_recipe(ALL[0].with_name(f"{name}.toml")) for name in ("demo", "miniature"))
    places = {"evaluation.benchmarks", "model.path", "questions.name"}
    frequency = {"checkpoint.every", "evaluation.every", "train.steps"}
    assert differences(demo, miniature) == sorted(places | frequency)


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_the_papers_recipes_hold_the_published_numbers(path: Path) -> None:
    recipe = load_recipe(path)
    assert (recipe.rollout.prompts, recipe.rollout.samples) == (128, 8)
    assert recipe.learner.updates == 8
    assert recipe.responses_per_update == 128
    assert (recipe.learner.learning_rate, recipe.learner.schedule, recipe.learner.warmup_steps) == (1e-6, "constant", 0)
    assert recipe.learner.betas == (0.9, 0.95)
    assert (recipe.learner.weight_decay, recipe.learner.eps) == (0.0, 1e-8)
    assert recipe.learner.max_grad_norm == 1.0
    assert (recipe.sampling.max_new_tokens, recipe.sampling.temperature) == (3000, 1.0)
    assert (recipe.objective.clip_low, recipe.objective.clip_high) == (0.2, 0.2)
    assert recipe.objective.truncation == "reward_zero"
    assert recipe.questions.max_prompt_tokens == 1024
    assert recipe.evaluation.every == 16
    assert (recipe.evaluation.temperature, recipe.evaluation.samples, recipe.evaluation.top_p) == (0.0, 1, 1.0)
    assert recipe.eval_max_new_tokens == 3000
    names = sorted(benchmark.name for benchmark in recipe.evaluation.benchmarks)
    assert names == ["aime24", "amc", "math500", "minerva", "olympiad"]
    assert all(benchmark.limit is None for benchmark in recipe.evaluation.benchmarks)


@pytest.mark.parametrize(
    "stem, model, template, questions",
    [
        ("qwen2.5-1.5b-r1", "Qwen/Qwen2.5-1.5B", "r1", "math-12k"),
        ("qwen2.5-7b-r1", "Qwen/Qwen2.5-7B", "r1", "big-math"),
        ("llama-3.2-3b-r1", "meta-llama/Llama-3.2-3B", "r1", "math-12k"),
        ("qwen2.5-math-1.5b", "Qwen/Qwen2.5-Math-1.5B", "qwen_math", "math-lvl3to5"),
        ("qwen2.5-math-7b", "Qwen/Qwen2.5-Math-7B", "qwen_math", "math-lvl3to5"),
    ],
)
def test_model_template_and_questions_are_the_papers(stem: str, model: str, template: str, questions: str) -> None:
    recipe = load_recipe(RECIPES[0].parent / f"{stem}.toml")
    assert (recipe.model.path, recipe.template.name, recipe.questions.name) == (model, template, questions)
    assert recipe.template.answer_format == ("answer_tags_strict" if template == "r1" else None)  # the paper's reward
