"""Recipes: what is accepted, what is refused, and the sentence that refuses it."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r1zero.config import (
    EvaluationSettings,
    Keeps,
    Recipe,
    Section,
    checked,
    differences,
    load_recipe,
    make_recipe,
    parse_overrides,
    read_recipe,
)
from r1zero.config.overrides import flattened, merge, overlap, parse_pairs, parse_settings, without
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError

SMALL = """
[model]
path = "base"

[questions]
name = "arithmetic"

[train]
steps = 3
"""


def small(overrides: dict[str, object] | None = None) -> Recipe:
    return make_recipe(tomllib.loads(SMALL), overrides)


def refusal(overrides: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        small(overrides)
    return str(caught.value)


def test_defaults_are_the_papers() -> None:
    recipe = small()
    assert (recipe.rollout.prompts, recipe.rollout.samples, recipe.responses) == (128, 8, 1024)
    assert recipe.responses_per_update == 1024
    assert recipe.constant == 3000
    assert recipe.eval_max_new_tokens == 3000
    assert recipe.objective.name == "dr_grpo"
    assert recipe.train.steps == 3


def test_what_follows_from_other_settings() -> None:
    recipe = small({"learner.updates": 8, "objective.constant": 512.0, "evaluation.max_new_tokens": 77})
    assert (recipe.responses_per_update, recipe.constant, recipe.eval_max_new_tokens) == (128, 512.0, 77)


# Read these aloud: each names the setting and says what to write instead.
REFUSALS = {
    "lerner.updates=2": "the recipe has an unknown setting 'lerner'; did you mean 'learner'? See `r1zero settings`.",
    "learner.update=2": "the recipe has an unknown setting 'learner.update'; did you mean 'learner.updates'? See "
    "`r1zero settings learner`.",
    "train.learning_rate=2": "the recipe has an unknown setting 'train.learning_rate'; did you mean "
    "'learner.learning_rate'? See `r1zero settings learning_rate`.",
    "train.colour=1": "the recipe has an unknown setting 'train.colour'; known here: steps, seed, threads, "
    "max_logprob_gap. See `r1zero settings train`.",
    "evaluation.benchmarks=[{name='amc', limt=3}]": "the recipe has an unknown setting "
    "'evaluation.benchmarks.0.limt'; did you mean 'evaluation.benchmarks.0.limit'? See `r1zero settings "
    "evaluation`.",
    "train.steps='many'": "the recipe: train.steps = 'many' cannot be used; input should be a valid integer, unable to "
    "parse string as an integer.",
    "train.steps=2.5": "the recipe: train.steps = 2.5 cannot be used; input should be a valid integer, got a number "
    "with a fractional part.",
    "train.seed=4294967296": "the recipe: train.seed = 4294967296 cannot be used; input should be less than "
    "4294967296.",
    "learner.betas=[0.9]": "the recipe: learner.betas = [0.9] cannot be used; write a list of 2 values.",
    "learner.betas=[0.9, 0.99, 0.999]": "the recipe: learner.betas = [0.9, 0.99, 0.999] cannot be used; write a list "
    "of 2 values.",
    "learner.betas=0.9": "the recipe: learner.betas = 0.9 cannot be used; write a list, in square brackets.",
    "log.sinks='wandb'": "the recipe: log.sinks = 'wandb' cannot be used; write a list, in square brackets.",
    "evaluation.benchmarks=['amc']": "the recipe: evaluation.benchmarks.0 = 'amc' cannot be used; input should be a "
    "table.",
    "evaluation.benchmarks=[{limit=3}]": "the recipe lacks the setting 'evaluation.benchmarks.0.name'; add it.",
    "questions.options=3": "the recipe: questions.options = 3 cannot be used; input should be a table.",
    "checkpoint.keep_best='maybe'": "the recipe: checkpoint.keep_best = 'maybe' cannot be used; input should be true "
    "or false, unable to interpret input.",
    "train.seed=-1": "the recipe: train.seed = -1 cannot be used; input should be greater than or equal to 0.",
    "learner.learning_rate=0": "the recipe: learner.learning_rate = 0 cannot be used; input should be greater than 0.",
    "learner.learning_rate=nan": "the recipe: learner.learning_rate = nan cannot be used; input should be a finite "
    "number.",
    "template.answer_format='boxes'": "the recipe: template.answer_format = 'boxes' cannot be used; input should be "
    "'boxed', 'answer_tags', 'answer_tags_strict', 'answer_tags_loose', 'last_number', 'auto' or 'bare'.",
    "model='base'": "the recipe: model = 'base' is not a section: write [model] and below it a line for each setting.",
    "learner.updates=3": "the recipe: learner.updates = 3 does not divide the 1024 responses of a rollout batch "
    "(rollout.prompts 128 x rollout.samples 8); set learner.updates to a divisor of it.",
    "evaluation.samples=4": "the recipe: evaluation.samples = 4 with evaluation.temperature = 0 would draw the same "
    "greedy answer again; set evaluation.temperature above 0 or evaluation.samples = 1.",
}


@pytest.mark.parametrize("setting", REFUSALS)
def test_a_wrong_setting_is_one_sentence_with_the_remedy(setting: str) -> None:
    key, _, value = setting.partition("=")
    assert refusal({key: tomllib.loads(f"v = {value}")["v"]}) == REFUSALS[setting]


def test_dynamic_sampling_has_rounds() -> None:
    assert "belongs to dynamic sampling" in refusal({"rollout.rounds": 6})


def test_packed_rows_need_an_attention_that_keeps_them_apart() -> None:
    sentence = refusal({"learner.layout": "packed", "model.attention": "eager"})
    assert 'learner.layout = "packed" needs model.attention = "sdpa"' in sentence
    assert small({"learner.layout": "packed"}).learner.layout == "packed"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"sampling.memory": 0.3},
            "sampling.memory is vLLM's, and the embedded sampler has no use for it; leave it out",
        ),
        ({"sampling.check_every": 2}, "sampling.check_every is for engines with weights of their own"),
        ({"model.device": "cuda:1", "cluster.learners": 2}, 'set CUDA_VISIBLE_DEVICES=1 and write "cuda".'),
        (
            {"rollout.max_staleness": 1},
            'the embedded sampler has none but the learner\'s; set sampling.engine = "vllm"',
        ),
        ({"rollout.max_staleness": 1, "cluster.learners": 2}, "set objective.importance_cap (2.0, say)."),
        ({"cluster.learners": 2, "cluster.share_gpus": True}, "set the first two to the same and the last to 1."),
        ({"cluster.learners": 2, "learner.layout": "shared"}, 'write "padded" or "packed".'),
        ({"cluster.address": "head:6379"}, 'write "local", "auto" or "ray://HOST:10001"'),
        ({"cluster.gpus": 8}, "known here: address, learners, samplers, share_gpus, verifiers."),
        ({"lora.rank": 8, "lora.alfa": 1}, "did you mean 'lora.alpha'?"),
        (
            {"rollout.max_staleness": 1, "objective.importance_cap": 2.0, "cluster.share_gpus": True},
            "under cluster.share_gpus they take turns; leave one of them out.",
        ),
    ],
)
def test_engines_and_clusters_refuse_what_does_not_go_together(overrides: dict[str, object], sentence: str) -> None:
    assert sentence in refusal(overrides)


def test_a_missing_setting_is_named_with_the_way_to_give_it() -> None:
    with pytest.raises(UserError) as caught:
        make_recipe({"model": {"path": "base"}, "questions": {"name": "arithmetic"}, "train": {}}, where="r.toml")
    assert str(caught.value) == "r.toml lacks the setting 'train.steps'; add it, or give it as --train.steps VALUE."


def test_a_missing_section_is_named_with_its_settings() -> None:
    with pytest.raises(UserError) as caught:
        make_recipe({"model": {"path": "base"}, "questions": {"name": "arithmetic"}}, where="r.toml")
    assert str(caught.value) == (
        "r.toml lacks the section [train]; add it with its settings steps, seed, threads, max_logprob_gap."
    )


def test_several_samples_are_fine_once_they_differ() -> None:
    assert small({"evaluation.samples": 4, "evaluation.temperature": 0.6}).evaluation.samples == 4


def test_a_section_by_itself_is_checked_like_a_recipe() -> None:
    assert checked(EvaluationSettings, {"every": 3}).every == 3
    with pytest.raises(UserError, match=r"^evaluation: top_p = 2\.0 cannot be used; .* less than or equal to 1\.$"):
        checked(EvaluationSettings, {"top_p": 2.0})


@pytest.mark.parametrize(
    "divisor, divides", [(1, True), (2, True), (3, False), (4, True), (5, False), (6, False), (8, True), (12, False)]
)
def test_updates_must_divide_the_responses(divisor: int, divides: bool) -> None:
    shape: dict[str, object] = {"rollout.prompts": 4, "rollout.samples": 2, "learner.updates": divisor}  # 8 responses
    if divides:
        assert small(shape).responses_per_update == 8 // divisor
    else:
        assert "does not divide the 8 responses" in refusal(shape)


def test_a_recipe_cannot_be_changed() -> None:
    recipe = small()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train = recipe.train  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train.seed = 1  # type: ignore[misc]


# ---- overrides


def test_overrides_are_read_as_toml_where_they_are_toml() -> None:
    words = ["--train.seed", "1", "--learner.learning_rate=3e-4", "--objective.name", "grpo", "--log.sinks=['wandb']"]
    words += ["--checkpoint.keep_best=false", "--model.path=a=b", "--model.revision", '"7"', "--template.instruction="]
    assert parse_overrides(words) == {
        "train.seed": 1,
        "learner.learning_rate": 3e-4,
        "objective.name": "grpo",
        "log.sinks": ["wandb"],
        "checkpoint.keep_best": False,
        "model.path": "a=b",
        "model.revision": "7",
        "template.instruction": "",
    }


def test_a_value_may_begin_with_a_hyphen() -> None:
    assert parse_overrides(["--train.seed", "-1"]) == {"train.seed": -1}
    words = ["enable_thinking=false", "effort=low", "equals=a=b", "budget=12"]
    assert parse_pairs(words, "--x") == {"enable_thinking": False, "effort": "low", "equals": "a=b", "budget": 12}
    assert parse_overrides(["--template.instruction", "--be brief"]) == {"template.instruction": "--be brief"}


def test_the_last_of_two_equal_overrides_counts() -> None:
    assert parse_overrides(["--train.seed=1", "--train.seed=2"]) == {"train.seed": 2}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--train.seed"], "--train.seed has no value; write --train.seed VALUE."),
        (["train.seed"], "'train.seed' is not an override; write --section.key value, for example --train.seed 1."),
        (["-x", "1"], "'-x' is not an override; write --section.key value, for example --train.seed 1."),
        (["--"], "'--' is not an override; write --section.key value, for example --train.seed 1."),
    ],
)
def test_what_is_no_override_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_overrides(words)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("word", ["enable_thinking", "=false", ""])
def test_what_is_no_pair_is_refused(word: str) -> None:
    with pytest.raises(UserError, match=f"--template-options {word} is not a valid setting: write NAME=VALUE"):
        parse_pairs([word], "--template-options")


@given(value=st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False), st.text("ab c.-/é", max_size=8)))
def test_any_value_survives_the_command_line(value: object) -> None:
    words = json.dumps(value, ensure_ascii=False) if not isinstance(value, float) else repr(value)
    assert parse_overrides([f"--a.b={words}", "--a.c", words]) == {"a.b": value, "a.c": value}


def test_one_setting_is_given_once_whether_whole_or_in_part() -> None:
    for words in (["log={project='x'}", "log.project=y"], ["log.project=y", "log={project='x'}"]):
        with pytest.raises(UserError, match=r"--set gives log\.project more than once|--set gives log more than once"):
            parse_settings(words, "--set")
    assert parse_settings(["log.project=y", "log.sinks=[]"], "--set") == {"log.project": "y", "log.sinks": []}
    assert (overlap("a", "a.b"), overlap("a.b", "a"), overlap("a", "a"), overlap("a", "ab")) == (
        True,
        True,
        True,
        False,
    )


def test_a_setting_of_one_table_in_a_list() -> None:
    data = {"questions": {"sources": [{"name": "a"}, {"name": "b"}]}, "deep": {"er": {"x": 1}}}
    before = json.loads(json.dumps(data))
    merged = merge(data, {"questions.sources.1.limit": 5, "deep.er.x": 2})
    assert merged["questions"] == {"sources": [{"name": "a"}, {"name": "b", "limit": 5}]}
    assert merged["deep"] == {"er": {"x": 2}}
    assert data == before
    recipe = {"model": {"path": "m"}, "questions": ({"name": "a"}, {"name": "b"}), "train": {"steps": 1}}
    assert [each.name for each in make_recipe(recipe).questions.each] == ["a", "b"]
    for key in ("questions.sources.2.limit", "questions.sources.0"):
        with pytest.raises(UserError, match=r"names none of the 2 tables of questions\.sources, which are counted"):
            make_recipe(recipe, {key: 5})


def test_an_unknown_setting_of_pretraining_is_looked_for_there() -> None:
    with pytest.raises(UserError, match=r"See `r1zero settings --pretrain learner`\."):
        read_recipe("miniature-pretrain", PretrainRecipe, {"learner.rowz": 1})
    said = refusal({"xyzzyx": 1})
    assert "has an unknown setting 'xyzzyx'; known here: model, questions, train, " in said
    said = refusal({"evaluation.benchmarks": [{}]})
    assert said.endswith("lacks the setting 'evaluation.benchmarks.0.name'; add it.")


def test_an_override_reaches_sections_that_the_file_lacks() -> None:
    recipe = small({"learner.learning_rate": 0.5, "questions.options.level": 2, "train.steps": 9})
    assert recipe.learner.learning_rate == 0.5
    assert recipe.questions.options == {"level": 2}
    assert recipe.train.steps == 9
    assert recipe.questions.name == "arithmetic"


def test_an_override_leaves_the_data_it_overrides_alone() -> None:
    data = tomllib.loads(SMALL)
    make_recipe(data, {"train.steps": 9, "questions.options.level": 2})
    assert data == tomllib.loads(SMALL)


# ---- files


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    assert load_recipe(path) == small()
    assert load_recipe(path, {"train.seed": 4}) == small({"train.seed": 4})


def test_what_a_run_saves_reads_back_equal(tmp_path: Path) -> None:
    recipe = small(
        {
            "learner.betas": [0.8, 0.99],
            "questions.options": {"level": [1, 2], "style": "bare"},
            "evaluation.benchmarks": [{"name": "amc", "limit": 5}, {"name": "aime24"}],
            "template.answer_format": "last_number",
            "log.sinks": ["tensorboard"],
        }
    )
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe.model_dump(mode="json")))
    assert load_recipe(path) == recipe
    assert differences(load_recipe(path), recipe) == []


@pytest.mark.parametrize(
    "name, content, says",
    [
        (
            "r.toml",
            None,
            "There is no recipe at {path}; give the path of a TOML file, or a name of `r1zero recipe list`.",
        ),
        ("r.toml", b"[train\n", "The recipe {path} cannot be parsed: Expected ']'"),
        ("r.toml", b"a = 1\na = 2\n", "The recipe {path} cannot be parsed: Cannot overwrite a value"),
        ("r.toml", b"\xff\xfe", "The recipe {path} is not text; give the path of a TOML file."),
        ("r.json", b"{", "The recipe {path} cannot be parsed: "),
        ("r.json", b"[]", "The recipe {path} holds no sections; give the path of a TOML file or of a run."),
        ("r.toml", b"", "{path} lacks the section [model]; add it with its settings path, "),
    ],
)
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(says.format(path=path))
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path)


def test_differences_are_told_of_whatever_either_has() -> None:
    with_lora = small({"lora.rank": 2})
    names = ["lora.alpha", "lora.rank", "lora.targets"]
    assert differences(with_lora, small()) == differences(small(), with_lora) == names


def test_differences_name_the_settings() -> None:
    other = {"train.seed": 1, "questions.options.level": 2, "evaluation.benchmarks": [{"name": "amc"}]}
    # options went from {} to {"level": 2}: both names are told
    assert differences(small(), small(other)) == [
        "evaluation.benchmarks",
        "questions.options",
        "questions.options.level",
        "train.seed",
    ]
    assert differences(small(other), small(other)) == []


_CLUSTER = ("address", "learners", "samplers", "share_gpus", "verifiers")
_BOTH = [
    "checkpoint.every", "checkpoint.keep_best", "checkpoint.keep_last", "cluster",
    *(f"cluster.{name}" for name in _CLUSTER), "log.project", "log.rollouts_every", "log.sinks", "questions.data_dir",
    "sampling.check_every", "sampling.memory", "sampling.tensor_parallel", "verifier.workers",
]  # fmt: skip
_PRETRAIN_BOTH = ["checkpoint.every", "checkpoint.keep_last", "log.project", "log.sinks"]
MARKED = [
    (Recipe, Keeps.RUN, [*_BOTH, "evaluation.every", "model.device", "train.steps"]),
    (Recipe, Keeps.EXPERIMENT, [*_BOTH, "train.seed", "train.threads"]),
    (PretrainRecipe, Keeps.RUN, [*_PRETRAIN_BOTH, "model.device", "evaluation.every"]),
    (
        Recipe,
        Keeps.PAST,
        [
            *(f"learner.{name}" for name in ("learning_rate", "schedule", "warmup_steps", "max_grad_norm")),
            *(f"objective.{name}" for name in ("clip_low", "clip_high", "dual_clip")),
            *(f"critic.{name}" for name in ("learning_rate", "clip")),
            *(f"evaluation.{name}" for name in ("benchmarks", "samples", "temperature", "top_p", "top_k")),
            "evaluation.max_new_tokens",
        ],
    ),
    (
        PretrainRecipe,
        Keeps.PAST,
        [
            *(f"learner.{name}" for name in ("learning_rate", "schedule", "warmup_steps", "max_grad_norm")),
            *("train.steps", "train.epochs"),
        ],
    ),
    (
        Recipe,
        Keeps.PLACE,
        [
            *("model.path", "model.revision", "objective.reference", "questions.name", "template.name"),
            *("verifier.reward", "reward", "evaluation.benchmarks", "questions.sources"),
        ],
    ),
    (PretrainRecipe, Keeps.PLACE, ["model.path", "model.revision", "corpus.name"]),
    (PretrainRecipe, Keeps.EXPERIMENT, [*_PRETRAIN_BOTH, "train.seed", "train.threads"]),
]


@pytest.mark.parametrize(("kind", "mark", "names"), MARKED)
def test_the_marked_settings_are_these(kind: type[Section], mark: Keeps, names: list[str]) -> None:
    corpus = {"name": "texts", "text_column": "text"}
    pretraining = {"model": {"path": "tiny"}, "corpus": corpus, "train": {"steps": 1}}
    recipes = (
        (small(), small({"cluster.learners": 2, "reward": [{"use": "verify"}]}))
        if kind is Recipe
        else (PretrainRecipe.model_validate(pretraining),)
    )
    flat = {key: value for recipe in recipes for key, value in flattened(recipe.model_dump(mode="json")).items()}
    assert sorted(flat.keys() - without(flat, kind, mark).keys()) == sorted(names)


def test_differences_but_for_a_mark() -> None:
    other = small({"train.seed": 1, "train.steps": 9, "cluster.learners": 1, "log.sinks": ["wandb"]})
    assert differences(small(), other, but=Keeps.RUN) == ["train.seed"]
    assert differences(small(), other, but=Keeps.EXPERIMENT) == ["train.steps"]
    assert differences(small(), other, but=Keeps.BOTH) == []
