"""The words that sentences to users are made of, and the settings that they name."""

import pickle
from pathlib import Path

import pytest

from r1zero.config import make_recipe
from r1zero.endpoint import NotThereError
from r1zero.errors import SettingName, UserError, did_you_mean, first_line, reason
from r1zero.policy.place import check_place
from r1zero.policy.reference import blamed_on_the_reference
from r1zero.runs.rollout_rows import RolloutFileError, read_rollouts
from r1zero.sampling.synced_engine import EngineLostError


def test_a_setting_is_renamed_and_the_rest_of_the_sentence_is_not() -> None:
    error = UserError("set ", SettingName("a.b"), " of the file a.b to {x}")
    assert str(error) == "set a.b of the file a.b to {x}"
    assert str(error.renamed(str.upper)) == "set A.B of the file a.b to {x}"
    assert str(pickle.loads(pickle.dumps(error)).renamed(str.upper)) == "set A.B of the file a.b to {x}"
    assert str(UserError("a.b").renamed(str.upper)) == "a.b"


@pytest.mark.parametrize(("reference", "named"), [("/no/model.path", "objective.reference"), (None, "model.path")])
def test_the_reference_is_blamed_by_its_own_setting(reference: str | None, named: str) -> None:
    sections = {"model": {"path": "base"}, "questions": {"name": "arithmetic"}, "train": {"steps": 1}}
    kl = {"kl": "k3", "kl_coefficient": 0.1, "reference": reference}
    recipe = make_recipe({**sections, "objective": kl})
    with pytest.raises(UserError) as caught, blamed_on_the_reference(recipe):
        check_place("/no/model.path")
    assert str(caught.value).startswith(f"{named} = '/no/model.path' does not exist; give a model folder")


def test_what_another_programs_error_says() -> None:
    assert reason(ValueError("  two\n lines  ")) == "two lines"
    assert reason(ValueError("abc"), 2) == "ab"
    assert reason(ValueError("x" * 300)) == "x" * 200
    assert reason(ValueError("x" * 300), None) == "x" * 300
    assert (reason(ValueError()), first_line(ValueError("\n"))) == ("ValueError", "ValueError")
    assert first_line(ValueError("\none\ntwo")) == "one"


def test_the_nearest_names() -> None:
    assert did_you_mean("grop", ["grpo", "ppo"], show=repr) == "did you mean 'grpo'? "
    assert did_you_mean("gsm8", ["gsm8k", "gsm9k", "amc"], most=2, cutoff=0.5) == "did you mean gsm8k or gsm9k? "
    assert did_you_mean("x", ["grpo"]) == ""


@pytest.mark.parametrize("kind", [UserError, RolloutFileError, NotThereError, EngineLostError])
def test_an_error_keeps_its_sentence_between_processes_and_under_another_name(kind: type[UserError]) -> None:
    """Workers' errors come pickled, and may then be told of a setting under another name."""
    error = kind(SettingName("questions.split"), " is not a valid split: write train")
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is kind
    assert str(sent) == str(error) == "questions.split is not a valid split: write train"
    assert str(sent.renamed(lambda name: "--split")) == "--split is not a valid split: write train"


def test_why_a_file_of_responses_cannot_be_read_is_told_between_processes(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"not parquet")
    with pytest.raises(RolloutFileError) as raised:
        read_rollouts(tmp_path / "a.parquet")
    sent = pickle.loads(pickle.dumps(raised.value))
    assert (str(sent), sent.reason) == (str(raised.value), raised.value.reason)
    assert sent.reason in str(sent)
