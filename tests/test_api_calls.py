"""What a call from Python comes to, part by part: settings, rows that are written, what is asked of a model."""

import importlib
import inspect
import json
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import r1zero
from r1zero import Question
from r1zero.api.ask import _is_tuple_of_sets
from r1zero.api.inputs import kept, put_model
from r1zero.api.rewards import importable, rewards_of
from r1zero.api.sources import settings_of, sources_of, told_of
from r1zero.config import QuestionsSettings, make_recipe
from r1zero.errors import UserError
from r1zero.policy.tiny import character_tokenizer
from r1zero.rollouts.question_sets import load_set
from r1zero.types import Completion, Stop
from tiny_runs import random_model

TOKENIZER = character_tokenizer()
ROW = {"question": "1+1=", "answer": 2}
BARE: dict[str, Any] = {"model": {"path": "m"}, "train": {"steps": 1}}


def chain(text: str, positions: int = 2048) -> LlamaForCausalLM:
    """A model that says after each character of a text the next one, and the first after the last."""
    ids = TOKENIZER.convert_tokens_to_ids(list(text))
    config = LlamaConfig(
        vocab_size=len(TOKENIZER), hidden_size=128, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=positions, tie_word_embeddings=False, bos_token_id=None,
        eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" not in name:
                tensor.zero_()
        model.get_parameter("model.embed_tokens.weight").fill_diagonal_(1.0)
        for each, following in zip(ids, [*ids[1:], ids[0]], strict=True):
            model.get_parameter("lm_head.weight")[following, each] = 9.0
    return model


def said(completions: Sequence[Completion]) -> list[str]:
    return [TOKENIZER.decode(each.token_ids) for each in completions]


# ---- sampling


def test_a_template_asks_and_stops_as_it_does_in_training() -> None:
    """`r1` ends in ">", and its answers in "</answer>"; other stop strings take the place of its own."""
    model = chain("</answer>")
    for settings, response in (
        ({}, "</answer>"),
        ({"stop": ("wer",)}, "</answer"),
        ({"stop": ()}, "</answer></"),
    ):
        (drawn,) = r1zero.sample(
            model, "1+1=", 2, "r1", tokenizer=TOKENIZER, temperature=0, max_new_tokens=11, **settings
        )
        assert said(drawn) == [response] * 2
    (bare,) = r1zero.sample(model, "</ans", tokenizer=TOKENIZER, temperature=0, max_new_tokens=6)
    assert said(bare) == ["wer></"]


def test_a_response_ends_where_the_model_has_no_more_positions() -> None:
    (drawn,) = r1zero.sample(chain("abc", positions=16), "ab", tokenizer=TOKENIZER, max_new_tokens=64, temperature=0)
    assert said(drawn) == ["cabcabcabcabca"]
    assert drawn[0].stop is Stop.CONTEXT


def test_what_is_drawn_hangs_on_seed_place_and_prompt_alone() -> None:
    def drawn(prompts: str | list[str], seed: int = 3) -> list[list[tuple[int, ...]]]:
        found = r1zero.sample(random_model(), prompts, 2, max_new_tokens=12, seed=seed)
        return [[each.token_ids for each in of_prompt] for of_prompt in found]

    twice = drawn(["1+2=", "1+2="])
    assert len({ids for of_prompt in twice for ids in of_prompt}) == 4  # the same prompt again is another draw
    assert drawn("1+2=") == drawn(["1+2=", "9*9="])[:1] == twice[:1]
    assert drawn("1+2=", seed=4) != twice[:1]


def test_defaults_of_a_call_are_those_that_are_documented() -> None:
    def defaults(function: Callable[..., object]) -> dict[str, object]:
        return {name: each.default for name, each in inspect.signature(function).parameters.items()}

    assert defaults(r1zero.sample) == {
        "model": inspect.Parameter.empty, "prompts": inspect.Parameter.empty, "samples": 1, "template": None,
        "tokenizer": None, "max_new_tokens": 256, "temperature": 1.0, "seed": 0, "settings": inspect.Parameter.empty,
    }  # fmt: skip
    assert defaults(r1zero.evaluate) == {
        "model": inspect.Parameter.empty, "benchmarks": inspect.Parameter.empty, "template": "qwen_math",
        "tokenizer": None, "seed": 0, "data_dir": None, "out": None, "engine": "torch",
        "settings": inspect.Parameter.empty,
    }  # fmt: skip
    assert defaults(r1zero.measure_bias)["group_sizes"] == (2, 4, 8)


# ---- evaluating


def test_an_evaluation_is_of_the_settings_the_seed_and_the_rows_that_it_is_given(tmp_path: Path) -> None:
    rows = [ROW, {"question": "2+2=", "answer": 4}]
    settings = {"tokenizer": TOKENIZER, "max_new_tokens": 5, "samples": 3, "temperature": 0.5, "seed": 7}
    (result,) = r1zero.evaluate(chain("=2=", 64), ("sums", rows), "no", out=tmp_path / "out", **settings)
    assert (result.questions, result.samples, result.tokens) == (2, 3, 2 * 3 * 5)
    assert (tmp_path / "out" / "questions" / "sums.jsonl").read_text().count("\n") == 2
    assert not (tmp_path / "out" / "sums.jsonl").exists()
    (identity,) = [
        found for path in (tmp_path / "out").glob("*.json") if "seed" in (found := json.loads(path.read_text()))
    ]
    assert (identity["seed"], identity["template"], identity["settings"]["temperature"]) == (7, "no", 0.5)
    assert identity["model"].startswith("LlamaForCausalLM-")


def test_sets_are_names_of_a_folder_mappings_and_several_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text(f"{json.dumps(ROW)}\n" * 3)
    given: dict[str, Any] = {"tokenizer": TOKENIZER, "max_new_tokens": 2, "data_dir": "data"}
    two = r1zero.evaluate(chain("=2="), ("a.jsonl", {"name": "data/a.jsonl", "limit": 2}), "no", **given)
    assert [each.questions for each in two] == [3, 2]


@pytest.mark.parametrize(
    ("benchmarks", "several"),
    [
        (("a", "b"), True),
        (("a", {"name": "b"}), True),
        (("a", [ROW]), False),
        (("a", "b", "c"), True),
        ((("a", [ROW]),), True),
        ((("a", [ROW]), "b"), True),
        ("ab", False),
    ],
)
def test_a_pair_of_a_name_and_rows_is_one_set(benchmarks: Any, several: bool) -> None:
    assert _is_tuple_of_sets(benchmarks) == several


def test_a_model_is_in_evaluation_mode_meanwhile_and_each_part_in_its_own_again() -> None:
    model, modes = chain("=2="), []
    model.train()
    model.model.layers[0].mlp.eval()  # as one freezes a part
    before = {name: module.training for name, module in model.named_modules()}
    hook = model.register_forward_hook(lambda module, *_: modes.append([m.training for m in module.modules()]))
    r1zero.evaluate(model, ("sums", [ROW]), "no", tokenizer=TOKENIZER, max_new_tokens=2)
    hook.remove()
    assert not any(any(each) for each in modes)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert (before[""], before["model.layers.0.mlp"]) == (True, False)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model": None, "engine": "vllm"}, 'engine="vllm" reads a model from its folder; save the object'),
        ({"engine": "vlm"}, 'engine = \'vlm\' is not a valid engine: write "torch" or "vllm"'),
        ({"model": None, "engine": "cpu"}, "engine = 'cpu' is not a valid engine"),
        ({"tokenizer": TOKENIZER}, "tokenizer= belongs to a model object; leave it out"),
        ({"benchmarks": ("a/b", [ROW])}, "'a/b' is not a valid name of a set: write one without slashes"),
        ({"benchmarks": ("", [ROW])}, "'' is not a valid name of a set"),
        ({"benchmarks": ("sums", [])}, "holds no questions; give one or more"),
        ({"sampels": 3}, "sampels"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(given: dict[str, Any], sentence: str) -> None:
    call: dict[str, Any] = {"model": random_model(), "benchmarks": ("sums", [ROW]), "template": "no"} | given
    with pytest.raises(UserError, match=sentence):
        r1zero.evaluate(call.pop("model") or chain("=2="), call.pop("benchmarks"), **call)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"prompts": ["1+1=", ""]}, "The prompt '' has no tokens; write one that has"),
        ({"tokenizer": TOKENIZER}, "tokenizer= belongs to a model object"),
        ({"samples": 2.5}, r"samples = 2\.5 is not a valid number of responses: give 1 or more"),
        ({"samples": "3"}, "samples = '3' is not a valid number of responses"),
        ({"temperature": -1}, r"temperature = -1 is not a valid temperature: give 0 or more"),
        ({"stop": "x"}, "stop = 'x' is not a valid stop: give texts"),
        ({"template": "nonsense"}, "nonsense"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        r1zero.sample(random_model(), **({"prompts": "1+1=", "max_new_tokens": 2} | given))


# ---- questions


def test_a_question_is_read_again_as_it_was_given(tmp_path: Path) -> None:
    asked = Question("q/0", "1+1=", ("2", "two"), "3", {"kind": "sum"})
    (source,) = sources_of([asked])
    source.put(tmp_path)
    (found,) = load_set(QuestionsSettings(name=source.place(tmp_path)), None)
    assert (found.text, found.gold, found.level, found.extra["kind"]) == ("1+1=", ("2", "two"), "3", "sum")


def test_values_of_every_kind_are_written_as_json_has_them(tmp_path: Path) -> None:
    row = ROW | {"n": np.int64(3), "xs": np.array([1.5, 2.5]), "day": date(2026, 1, 31), "none": None, "yes": True}
    (source,) = sources_of([row | {"nested": {"a": [1, {"b": np.float64(0.5)}]}, 7: "seven"}])
    source.put(tmp_path)
    (line,) = Path(source.place(tmp_path)).read_text().splitlines()
    assert json.loads(line) == ROW | {
        "n": 3, "xs": [1.5, 2.5], "day": "2026-01-31", "none": None, "yes": True, "nested": {"a": [1, {"b": 0.5}]},
        "7": "seven",
    }  # fmt: skip


def test_rows_that_stand_there_are_the_same_or_refused(tmp_path: Path) -> None:
    """And the file stays what it is."""
    (source,), (other,) = sources_of([ROW]), sources_of([ROW | {"answer": 3}])
    source.put(tmp_path)
    text = (tmp_path / "questions.jsonl").read_text()
    source.put(tmp_path)
    with pytest.raises(UserError, match=r"are not those that stand in .*questions\.jsonl.*or name another out="):
        other.put(tmp_path)
    assert (tmp_path / "questions.jsonl").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["questions.jsonl"]


def test_sources_are_a_set_or_pairs_of_a_set_and_its_weight(tmp_path: Path) -> None:
    pairs = sources_of((("math-12k", 3), ([ROW, ROW], 0.5), ([ROW], 1)))
    assert settings_of(pairs, tmp_path) == {
        "questions.name": "",
        "questions.sources": [
            {"name": "math-12k", "weight": 3.0},
            {"name": f"{tmp_path}/questions-2.jsonl", "weight": 0.5},
            {"name": f"{tmp_path}/questions-3.jsonl", "weight": 1.0},
        ],
    }
    assert told_of(pairs) == {"questions": "2 rows, kept in questions-2.jsonl; 1 row, kept in questions-3.jsonl"}
    one_name = BARE | {"questions": {"name": "arithmetic"}}
    (first, *_) = make_recipe(one_name, settings_of(pairs, tmp_path)).questions.sources or ()
    assert (first.name, first.weight) == ("math-12k", 3.0)
    assert settings_of(sources_of([ROW]), tmp_path) == {"questions.name": f"{tmp_path}/questions.jsonl"}
    assert settings_of(sources_of(Path("a.jsonl")), tmp_path) == {"questions.name": "a.jsonl"}
    assert (sources_of(None), settings_of((), tmp_path), told_of(sources_of("math-12k"))) == ((), {}, {})
    with pytest.raises(UserError, match=r"questions\[1\] = .* is not a valid source"):
        sources_of([("math-12k", 3), ("math500", True)])


# ---- a model that is put into a run


class Full:
    """A tokenizer for which there is no room."""

    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{")
        raise OSError(28, "No space left on device")


def test_a_model_is_put_there_whole_once_and_for_all_to_read(tmp_path: Path) -> None:
    model, full, out = chain("ab"), Full(), tmp_path / "run"
    with pytest.raises(UserError, match=r"run/model cannot be written \(No space left"):
        put_model(model, full, out)  # type: ignore[arg-type]
    assert list(out.iterdir()) == []
    assert put_model(model, TOKENIZER, out) == f"{out}/model"
    assert stat.S_IMODE((out / "model").stat().st_mode) == 0o755
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in (out / "model").iterdir()}
    with pytest.raises(UserError, match="is there, and no run that it belongs to"):
        put_model(model, TOKENIZER, out)
    (out / "run.json").write_text("{}")
    weights = (out / "model" / "model.safetensors").read_bytes()
    assert put_model(chain("ba"), TOKENIZER, out) == f"{out}/model"  # the run has its own
    assert (out / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("there", "begins", "left"),
    [
        (None, False, None),
        ((), False, set()),
        (("questions.jsonl",), False, {"questions.jsonl"}),
        (("model/mine", "notes.txt"), False, {"model", "notes.txt"}),
        ((), True, {"model", "questions.jsonl", "questions-2.jsonl", "run.json"}),
    ],
)
def test_what_was_put_goes_again_and_nothing_that_was_there(
    tmp_path: Path, there: Sequence[str] | None, begins: bool, left: set[str] | None
) -> None:
    out = tmp_path / "run"
    if there is not None:
        out.mkdir()
    for name in there or ():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    with pytest.raises(KeyboardInterrupt), kept(out):  # noqa: PT012  what is put, and then a Ctrl-C
        (out / "model").mkdir(parents=True, exist_ok=True)
        for name in ("model/config.json", "questions.jsonl", "questions-2.jsonl", *["run.json"] * begins):
            (out / name).write_text("ours")
        raise KeyboardInterrupt
    assert ({path.name for path in out.iterdir()} if out.exists() else None) == left


# ---- rewards


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "rewards_of_mine.py").write_text(
        "def one(response):\n    return 1.0\n\n"
        "def of(value):\n    def inner(response):\n        return value\n    return inner\n\n"
        "class Kind:\n    def method(response):\n        return 1.0\n"
    )
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "inner.py").write_text("def two(response):\n    return 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("rewards_of_mine")


def test_only_what_a_worker_finds_again_is_imported(tmp_path: Path, module: Any) -> None:
    assert importable(module.one) == f"{tmp_path}/rewards_of_mine.py:one"
    for own in (module.of(2), module.Kind.method, importlib.import_module("package_of_mine.inner").two):
        assert importable(own) is None
    closed = module.of(2)
    closed.__qualname__ = "one"  # whatever it is called, what it holds no worker has
    assert importable(closed) is None
    module.one.__module__ = "__main__"
    assert importable(module.one) is None


def test_a_function_of_an_installed_package_is_named_by_its_module() -> None:
    assert importable(importlib.import_module("math_verify.parser").parse) == "math_verify.parser:parse"


def test_what_a_program_says_of_rewards_replaces_all_that_the_recipe_says(module: Any) -> None:
    listed = BARE | {"questions": {"name": "arithmetic"}, "reward": [{"use": "format", "weight": 0.5}]}
    single = BARE | {"questions": {"name": "arithmetic"}, "verifier": {"reward": "theirs.py:f"}}
    for reward in ("mine.py:f", "verify", ["verify", "repetition"], module.one, [module.one], lambda response: 1.0):
        changes, _ = rewards_of(reward)
        one, other = make_recipe(listed, changes), make_recipe(single, changes)
        assert (one.reward, one.verifier.reward) == (other.reward, other.verifier.reward)
        assert "format" not in [each.use for each in one.reward]
        assert one.verifier.reward != "theirs.py:f"
    changes, own = rewards_of(None)
    assert make_recipe(listed, changes).reward == make_recipe(listed).reward
    assert own == ()


def test_parts_of_a_sum_keep_what_their_rows_say() -> None:
    changes, own = rewards_of([{"use": "format", "weight": 0.25, "name": "boxed"}, "verify"])
    recipe = make_recipe(BARE | {"questions": {"name": "arithmetic"}}, changes)
    assert [(each.use, each.weight, each.called) for each in recipe.reward] == [
        ("format", 0.25, "boxed"),
        ("verify", 1.0, "verify"),
    ]
    assert own == ()
