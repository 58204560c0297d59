"""Graded responses as they come, one line of JSON each, so that an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from r1zero.rollouts.collector import Graded
from r1zero.runs.files import writing
from r1zero.runs.rollout_rows import Row, graded_response, response_row
from r1zero.types import Completion, Verdict

_NAMES = {"ids": "response_ids", "text": "response"}  # as lines of before have them


class Journal:
    """An append-only file; a line that an interruption tore is left out when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def add(self, question: int, sample: int, completion: Completion, verdict: Verdict) -> None:
        """Keep a response. Raises UserError when it cannot be written."""
        line = {"question": question, **response_row(sample, completion, verdict)}
        with writing(self.path), self.path.open("a", encoding="utf-8", errors="surrogatepass") as file:
            file.write(json.dumps(line) + "\n")

    def read(self, samples: int) -> dict[int, dict[int, Graded]]:
        """By question and sample: the questions of which all `samples` are there."""
        found: dict[int, dict[int, Graded]] = defaultdict(dict)
        content = self.path.read_bytes() if self.path.exists() else b""
        if content and not content.endswith(b"\n"):  # torn: the next line begins on a line of its own
            with writing(self.path), self.path.open("ab") as file:
                file.write(b"\n")
        for text in content.decode("utf-8", "replace").splitlines():
            try:
                line: Row = dict(json.loads(text))
                line |= {name: line[old] for old, name in _NAMES.items() if old in line}
                found[line["question"]][line["sample"]] = graded_response(line)
            except (ValueError, KeyError, TypeError):  # torn or damaged: asked again
                continue
        return {question: group for question, group in found.items() if len(group) == samples}
