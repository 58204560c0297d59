"""A language model as a reward: it says how good a response is, on a scale that earns 0 to 1.

It is asked at temperature 0 through `endpoint.Client`, and never twice for the same: answers are kept beside the run.
What it costs is told with each verdict, in tokens. An answer that cannot be read, a refusal and a server that is away
leave the response ungraded.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from r1zero.config.rewards import JudgeOptions
from r1zero.endpoint import JUDGE_KEY, Answer, Client, Endpoint, RefusedError, Store, content_key, read_answer
from r1zero.errors import UserError, plural, reason
from r1zero.rewards.grader import scored
from r1zero.rewards.waiting import Waiting
from r1zero.types import GradingTask, Outcome, Verdict

_PLACES = re.compile(r"\{(question|response|gold)\}")
_SCORE = re.compile(r"^\W*SCORE\W*?([-+]?\d+(?:\.\d+)?)\W*$", re.MULTILINE | re.IGNORECASE)


class JudgeGrader(Waiting):
    """Asks for a score of each response, `workers` at a time. Answers are kept in the file `kept`, once a run is there.

    When the server is away, what waits is ungraded at once, and the next batch asks again.
    """

    def __init__(self, name: str, options: JudgeOptions, kept: Path | None = None):
        super().__init__()
        self.name, self.options, self.kept = name, options, kept
        endpoint = Endpoint(
            options.server,
            f"the server of the reward {name!r}",
            JUDGE_KEY,
            os.environ.get(JUDGE_KEY),
            timeout_s=options.timeout_s,
            patience_s=options.patience_s,
        )
        self.client = Client(endpoint)
        self._pool = ThreadPool(options.workers)
        self._lock, self._away = threading.Lock(), ""

    def submit(self, key: object, task: GradingTask) -> None:
        """See `Grader`."""
        if not self._pending:
            self._begin()
        self._pending += 1

        def failed(error: BaseException) -> None:  # else nobody would hear of it, and all would wait
            rule = f"the judge failed: {type(error).__name__}: {error}"[:500]
            self._done.append((key, Verdict(Outcome.UNGRADED, rule=rule)))

        self._pool.apply_async(self._judge, (task,), {}, lambda found: self._done.append((key, found)), failed)

    def verify(self, items: Sequence[GradingTask]) -> list[Verdict]:
        """See `Grader`."""
        self._begin()
        return [self._judge(task) for task in items]

    def check(self) -> None:
        """See `Grader`: the trial asks it."""

    def close(self) -> None:
        """Let go of what is asked."""
        self._pool.terminate()

    def _begin(self) -> None:
        self._away = ""
        if self.kept is not None and (self.kept.parent / "run.json").exists() and self.client.store.path is None:
            self.client.store = Store(self.kept)

    def _judge(self, task: GradingTask) -> Verdict:
        begun = time.perf_counter()
        return replace(self._asked(task), seconds=time.perf_counter() - begun)

    def _asked(self, task: GradingTask) -> Verdict:
        if self._away:
            return Verdict(Outcome.UNGRADED, rule=self._away)
        body = self.body(task)
        try:
            answer = self.client.ask("/chat/completions", body, content_key("reward", body), read_answer)
        except RefusedError as error:
            return Verdict(Outcome.UNGRADED, rule=f"the judge refused: {error}"[:500])
        except UserError as error:
            self._away = f"the judge cannot be asked: {error}"[:500]
            return Verdict(Outcome.UNGRADED, rule=self._away)
        return self._read(answer)

    def body(self, task: GradingTask) -> dict[str, Any]:
        """Return what is asked of a response."""
        gold = task.gold if isinstance(task.gold, str) else " or ".join(task.gold)
        told = {"question": task.question, "response": task.response, "gold": gold}
        prompt = _PLACES.sub(lambda place: told[place[1]], self.options.prompt)  # once: a response may hold {gold}
        low, high = (f"{end:g}" for end in self.options.scale)
        prompt += f"\n\nEnd with a line\nSCORE: n\nwhere n is a number from {low} (worst) to {high} (best)."
        return {
            "model": self.options.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self.options.max_tokens,
        }

    def _read(self, answer: Answer) -> Verdict:
        low, high = self.options.scale
        tokens = {"prompt_tokens": float(answer.prompt_tokens), "answer_tokens": float(answer.answer_tokens)}
        found = _SCORE.findall(answer.text)
        value = float(found[-1]) if found else None
        if value is None or not low <= value <= high:
            why = "gave no score" if value is None else f"gave {value:g}, off its scale"
            return Verdict(Outcome.UNGRADED, rule=f"the judge {why}", columns=tokens)
        return replace(scored((value - low) / (high - low), f"judge {self.options.model}"), columns=tokens)


def bills(run: Path) -> list[str]:
    """Say of every judge of a run what all the answers took that it keeps there, each paid for once."""
    return [_bill(file) for file in sorted(run.glob("judge-*.sqlite"))]


def _bill(file: Path) -> str:
    name, prompt, words = file.stem.removeprefix("judge-"), 0, 0
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as base:
            answers = [read_answer(json.loads(text)) for (text,) in base.execute("SELECT answer FROM answers")]
    except (sqlite3.Error, ValueError) as error:
        return f"The judge {name}: what its answers took cannot be told, for {file} cannot be read ({reason(error)})."
    for each in answers:
        prompt, words = prompt + each.prompt_tokens, words + each.answer_tokens
    return f"The judge {name} gave {plural(len(answers), 'answer')}, which took {prompt:,} + {words:,} tokens ({file})."
