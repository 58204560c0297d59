"""Rewards that are a formula: of a response's text and tokens alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from r1zero.types import AnswerFormat
from r1zero.verify.extraction.extract import extract

_OPEN, _CLOSE = "<think>", "</think>"


def answer_format_met(response: str, answer_format: AnswerFormat, *, think: bool = False, prompt: str = "") -> float:
    """Compute 1 if the response holds an answer in the template's own format, else 0.

    With `think` it must also be `<think> reasoning </think> answer`: one reasoning, ended once, with the answer behind
    it. The first tag may be the end of the prompt, as the R1 template has it. Source: the format reward of DeepSeek-R1
    (2025, §2.2.2), which gives no formula; 0 and 1 are Open-R1's and TRL's.
    """
    return float(extract(response, answer_format) is not None and (not think or _thinks(response, prompt)))


def _thinks(response: str, prompt: str) -> bool:
    opened = prompt.rstrip().endswith(_OPEN) and _OPEN not in response
    reasoning, ended, answer = response.partition(_CLOSE)
    own = reasoning.lstrip().startswith(_OPEN) and response.count(_OPEN) == 1
    return (opened or own) and bool(ended) and _CLOSE not in answer and bool(answer.strip())


def soft_overlong(length: int, most: int, buffer: int) -> float:
    """Compute DAPO's soft overlong punishment (Yu et al. 2025, "DAPO", eq. 13), from |y| tokens, L_max and L_cache:

    0                                 |y| ≤ L_max − L_cache
    ((L_max − L_cache) − |y|) / L_cache   L_max − L_cache < |y| ≤ L_max
    −1                                L_max < |y|
    """
    free = most - buffer
    if length <= free:
        return 0.0
    return (free - length) / buffer if length <= most else -1.0


def repetition(token_ids: Sequence[int], n: int, max_penalty: float) -> float:
    """Compute −p · (1 − unique n-grams / all n-grams) over the tokens; 0 for fewer than n of them.

    Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs", App. C.2, as Open-R1 and TRL
    (`get_repetition_penalty_reward`) have it: one penalty a response. The paper puts it on the repeated tokens.
    """
    total = len(token_ids) - n + 1
    if total < 1:
        return 0.0
    unique = len({tuple(token_ids[i : i + n]) for i in range(total)})
    return -max_penalty * (total - unique) / total if unique < total else 0.0
