"""The way to the Hub, through `datasets` itself: unreachable, and (by its own rule for local folders) answered.

In processes of their own: the Hub's client reads its environment at import.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from r1zero.questions import DATA_VARIABLE

OFFLINE = """
import sys
from r1zero.errors import UserError
from r1zero.questions import load_questions
for name in sys.argv[1:]:
    try:
        load_questions(name)
    except UserError as error:
        print(error)
"""


def test_an_unreachable_hub_is_a_users_error(tmp_path: Path):
    """The real path through `datasets`, in a process of its own: the Hub's client reads HF_HUB_OFFLINE at import."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    environment.pop(DATA_VARIABLE, None)
    names = ["math-12k", "owner/name"]
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE, *names], capture_output=True, text=True, env=environment, check=True
    )
    known, unknown = run.stdout.splitlines()
    assert known.startswith("the Hub data set 'lkevinzc/math-12k' could not be loaded (")
    assert known.endswith(
        "pass --data-dir or set R1ZERO_DATA to a folder with math_12k.jsonl, .parquet or a saved folder of that name "
        "(searched: no folder, as neither --data-dir nor R1ZERO_DATA is set)"
    )
    assert unknown.startswith("the Hub data set 'owner/name' could not be loaded (")
    assert unknown.endswith("a folder that holds it, or set questions.name to a file")


UNREACHABLE = """
from r1zero.errors import UserError
from r1zero.policy.load import load_policy
from r1zero.questions import load_questions
for load in (lambda: load_policy("owner/name", device="cpu"), lambda: load_questions("owner/name")):
    try:
        load()
    except UserError as error:
        print(error)
import huggingface_hub.constants
print(huggingface_hub.constants.is_offline_mode())
"""


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path: Path):
    """Its client would try every file six times; nothing listens at this port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        environment = os.environ | {"HF_ENDPOINT": nowhere, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        environment |= {"NO_PROXY": "*", "no_proxy": "*"}
        environment.pop(DATA_VARIABLE, None)
        run = subprocess.run(
            [sys.executable, "-c", UNREACHABLE], capture_output=True, text=True, env=environment, check=True
        )
    model, questions, offline = run.stdout.splitlines()
    assert model.startswith("model.path = 'owner/name' cannot be loaded (no such local folder either); ")
    assert f"The loader said: {nowhere} does not answer: " in model
    assert questions.startswith(f"the Hub data set 'owner/name' could not be loaded ({nowhere} does not answer: ")
    assert offline == "False", "what was set for one load must not stay"
    assert "Retrying" not in run.stderr


THROUGH_DATASETS = """
from r1zero.errors import UserError
from r1zero.questions.files import Split, read_hub
for split in (Split("test"), Split(None, "train"), Split("dev"), Split()):
    try:
        table = read_hub("owner/tiny", split, {}, "REMEDY")
        print(table.source, table.columns, table.rows)
    except UserError as error:
        print(error)
from r1zero.questions import load_questions
for options in ({}, {"config": "socratic"}):
    print([each.text for each in load_questions("gsm8k", options=options)])
"""


def test_what_the_hub_answers_is_read(tmp_path: Path):
    """`datasets.load_dataset` takes a folder of that name for the Hub's own: the same code, without a network."""
    folder = tmp_path / "owner" / "tiny"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"problem": "a?", "answer": "1", "extra": 0}\n')
    (folder / "test.jsonl").write_text('{"problem": "b?", "answer": "2", "extra": 0}\n')
    known = tmp_path / "openai" / "gsm8k"
    known.mkdir(parents=True)
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("main", "socratic"))
    (known / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for name in ("main", "socratic"):
        (known / f"{name}.jsonl").write_text(json.dumps({"question": f"{name}?", "answer": "#### 1"}) + "\n")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop(DATA_VARIABLE, None)
    command = [sys.executable, "-c", THROUGH_DATASETS]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=True)
    columns = "('problem', 'answer', 'extra')"
    assert run.stdout.splitlines() == [
        f"owner/tiny (split test) on the Hub {columns} [{{'problem': 'b?', 'answer': '2', 'extra': 0}}]",
        f"owner/tiny (split train) on the Hub {columns} [{{'problem': 'a?', 'answer': '1', 'extra': 0}}]",
        "the Hub data set 'owner/tiny' could not be loaded (Unknown split \"dev\". Should be one of ['train', 'test'])"
        ": check questions.split, or REMEDY",
        "owner/tiny on the Hub holds the splits train, test: name one with questions.split",
        "['main?']",
        "['socratic?']",
    ]
