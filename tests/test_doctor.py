"""The doctor finds what is there, names what is not, and gives the command that mends it."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from r1zero import doctor
from r1zero.doctor import Check, Status, diagnose, exit_code

ABSENT = Requirement('no-such-package>=2 ; extra == "no-such-extra"')
TOO_OLD = Requirement("pytest>=9999")


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    return {check.name: check for check in diagnose()}


def test_a_machine_that_runs_these_tests_lacks_nothing(checks: dict[str, Check]) -> None:
    assert not [check for check in checks.values() if check.status is Status.MISSING]
    assert exit_code(list(checks.values())) == 0


def test_it_looks_at_everything(checks: dict[str, Check]) -> None:
    expected = {"Python", "torch", "device", "bf16", "transformers", "datasets", "math-verify", "answer grading"}
    expected |= {"other packages", "tensorboard", "wandb", "trackio", "gguf", "question data", "run folder"}
    assert expected <= checks.keys()
    assert "dev" not in checks


def test_versions_are_those_installed(checks: dict[str, Check]) -> None:
    assert checks["transformers"].detail == importlib.metadata.version("transformers")
    assert checks["torch"].detail.startswith(importlib.metadata.version("torch"))


def test_a_warning_or_an_absent_extra_is_no_failure() -> None:
    assert exit_code([Check("a", Status.WARN, ""), Check("b", Status.OPTIONAL, ""), Check("c", Status.OK, "")]) == 0
    assert exit_code([Check("a", Status.OK, ""), Check("b", Status.MISSING, "")]) == 1


def test_a_missing_package_comes_with_its_command() -> None:
    check = doctor._installed(ABSENT)
    assert check == Check(
        "no-such-package", Status.MISSING, "not installed, needs >=2", 'pip install "no-such-package>=2"'
    )


def test_a_version_out_of_range_is_missing() -> None:
    check = doctor._installed(TOO_OLD)
    assert check.status is Status.MISSING
    assert check.detail == f"{importlib.metadata.version('pytest')}, needs >=9999"


def test_ranges_are_read_from_the_package_itself() -> None:
    names = {requirement.name for requirement in doctor._requirements()}
    assert {"torch", "transformers", "math-verify"} <= names
    assert not {"wandb", "pytest"} & names
    assert [requirement.name for requirement in doctor._requirements("wandb")] == ["wandb"]


def test_an_absent_extra_is_optional_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda extra="": [ABSENT])
    check = doctor._extra("wandb")
    assert check.status is Status.OPTIONAL
    assert check.remedy == 'pip install "r1zero[wandb]"'


def test_a_package_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(importlib.metadata, "requires", absent)
    (check,) = doctor._packages()
    assert (check.status, check.remedy) == (Status.MISSING, "pip install -e .")
    assert doctor._torch() == []
    assert doctor._extras() == []


def test_a_torch_that_cannot_be_loaded_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # makes `import torch` an ImportError
    (check,) = doctor._torch()
    assert check.status is Status.MISSING
    assert "cannot be loaded" in check.detail


@pytest.mark.parametrize(
    "probe, said",
    [
        ("import time; time.sleep(600)", "no answer within 0.5 s"),
        ("raise ImportError('antlr is not there')", "antlr is not there"),
        ("print(False)", "it said 'False'"),
    ],
)
def test_a_grader_that_does_not_grade_is_missing(probe: str, said: str) -> None:
    check = doctor._grader(probe, seconds=0.5 if "sleep" in probe else 600)
    assert check.status is Status.MISSING
    assert said in check.detail
    assert check.remedy.startswith('pip install "math-verify[antlr4_13_2]')


def test_question_data_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("R1ZERO_DATA", raising=False)
    assert doctor._question_data().status is Status.OPTIONAL
    monkeypatch.setenv("R1ZERO_DATA", str(tmp_path / "nowhere"))
    assert doctor._question_data().status is Status.WARN
    monkeypatch.setenv("R1ZERO_DATA", str(tmp_path))
    assert "none of the known sets" in doctor._question_data().detail
    (tmp_path / "gsm8k_train.jsonl").write_text("{}\n")
    check = doctor._question_data()
    assert check.status is Status.OK
    assert check.detail.startswith("gsm8k in ")


def test_the_real_data_folder_holds_known_sets(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R1ZERO_DATA", str(shared / "data"))
    assert {"aime24", "amc", "math500", "gsm8k"} <= set(doctor._question_data().detail.split(" in ")[0].split(", "))


def test_a_run_folder_need_not_exist_yet_but_must_be_writable(tmp_path: Path) -> None:
    (check,) = doctor._folders(tmp_path / "not" / "yet")
    assert check.status in (Status.OK, Status.WARN)
    assert str(tmp_path) in check.detail
    (tmp_path / "a-file").write_text("")
    (check,) = doctor._folders(tmp_path / "a-file" / "runs")
    assert check.status is Status.MISSING
    assert "Not a directory" in check.detail


def test_little_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM_WANTED", 2**60)
    (check,) = doctor._folders(tmp_path)
    assert check.status is Status.WARN


def test_a_busy_machine_is_a_warning_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(doctor, "_cores", lambda: 4)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (2.6, 0.0, 0.0))
    device, _ = doctor._cpu()
    assert (device.status, device.remedy) == (Status.WARN, "train.threads = 1")
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (0.1, 0.0, 0.0))
    device, _ = doctor._cpu()
    assert device.status is Status.OK
