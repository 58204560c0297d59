"""Where a response's own part ends, and where an echo of its prompt does.

What stands in a turn that the model invented, or in a repeated prompt, is never an answer. All scans are linear: a
pattern that begins with a line feed takes only blanks of that line, possessively, or a page of empty lines would be
scanned once from each of them.
"""

from __future__ import annotations

import re

_BLANK = r"[^\S\n]*+"
_USER = rf"[#*]{{0,4}}{_BLANK}(?:Human|User){_BLANK}(?:\*\*)?:"
_HEADERS = r"<\|(?:im_start|start_header_id)\|>\s*+"
# Where a chat goes on without the model's being asked. The soft ones count only behind a box: a response may well begin
# by repeating its question.
_TURN = re.compile(rf"<\|im_end\|>|{_HEADERS}(?:user|system)|<\|eot_id\|>|<\|endoftext\|>|</s>|\n{_BLANK}{_USER}")
_QUESTION = rf"[#*]{{0,4}}{_BLANK}(?:Question|Problem|Q){_BLANK}(?:[0-9]++{_BLANK})?(?:\*\*)?:"
_SOFT_TURN = re.compile(rf"\n{_BLANK}{_QUESTION}")

_ECHOED_TURN = re.compile(rf"\s*+(?:<s>|<\|begin_of_text\|>|\s)*+(?:{_HEADERS}(?:user|system)|{_USER})")
_REPLY = re.compile(rf"{_HEADERS}assistant|\bAssistant{_BLANK}:")
_ECHOED_QUESTION = re.compile(rf"\s*+{_QUESTION}")
_ANSWER = re.compile(rf"\b(?:Answer|Solution|Response){_BLANK}(?:\*\*)?:|\nA:")
_BOX = "\\boxed"


def first_turn(response: str) -> str:
    """`response` without an echoed prompt, up to where the model plays the user or poses the next question."""
    begin, end = own_span(response)
    return response[begin:end]


def own_span(response: str) -> tuple[int, int]:
    """Tell where `first_turn` begins and ends."""
    begin = _behind_echo(response)
    end = len(response)
    for found in _TURN.finditer(response, begin):
        if response[begin : found.start()].strip():
            end = found.start()
            break
    box = response.find(_BOX, begin, end)
    if box >= 0:
        soft = _SOFT_TURN.search(response, box, end)
        end = soft.start() if soft is not None else end
    return begin, end


def _behind_echo(response: str) -> int:
    """Tell where an echoed prompt ends; a user's turn that nobody answers is all echo."""
    turn = _ECHOED_TURN.match(response)
    if turn is not None:
        reply = _REPLY.search(response, turn.end())
        return len(response) if reply is None else reply.end()
    question = _ECHOED_QUESTION.match(response)
    if question is None:
        return 0
    line = response.find("\n", question.end())
    line = len(response) if line < 0 else line
    reply = _ANSWER.search(response, question.end())
    if reply is None or 0 <= response.find(_BOX, line) < reply.start():
        return line
    return reply.end()
