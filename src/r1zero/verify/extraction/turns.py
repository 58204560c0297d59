"""Where a response's own part ends, and where an echo of its prompt does.

What stands in a turn that the model invented, or in a repeated prompt, is never an answer. Chat formats differ in how
they write their marks, not in what marks there are: a turn ends, or somebody's turn begins. All scans are linear: a
pattern that begins with a line feed takes only blanks of that line, possessively, or a page of empty lines would be
scanned once from each of them.
"""

from __future__ import annotations

import re

_BLANK = r"[^\S\n]*+"
_OTHERS = "user|human|system|developer|tool|ipython|observation|prompter"
_MODELS = "assistant|model|ai|bot|chatbot|gpt"


def _mark(name: str) -> str:
    """Return a pattern of a special token of that name, in any format's brackets: <|…|>, <｜…｜>, <…|>, [|…|]."""
    return rf"(?:<[|｜](?:{name})(?:[|｜]>|>)|<(?:{name})[|｜]>|\[\|(?:{name})\|\])"


# What stands between a turn's mark and the name of whose turn it is: <|im_start|>user, <|turn>user, ]~b]user, …
_BEGINS = (
    rf"(?:{_mark('im_start|start_header_id|header_start|start_of_role|role_start|start|turn')}|<start_of_turn>"
    r"|\]~b\]|<seed:bos>|<extra_id_1>|<SPECIAL_1[0-9]>|<role>)\s*+"
)
# Names stand in their mark, too: <|user|>, <|im_user|>, <|USER_TOKEN|>, <｜User｜>, [|user|], <|hy_User|>.
_ROLE = r"(?:im_|hy_)?(?:{names})(?:_token|_id|_start)?"
_OTHERS_TURN = (
    rf"(?i:{_BEGINS}(?:{_OTHERS})\b|{_mark(_ROLE.format(names=_OTHERS))}|<[a-z]{{0,10}}_?(?:user|human)>)|\[INST\]"
)
_MODELS_TURN = rf"(?i:{_BEGINS}(?:{_MODELS})\b|{_mark(_ROLE.format(names=_MODELS))})|\[/INST\]"
_END = (
    r"(?i:"
    + _mark(
        r"(?:im_end|end_?of_?(?:turn|text|sentence|sequence|message)|end▁of▁(?:turn|sentence)|turn_end|eo[mst]|return|endofprompt)"
        r"(?:_id|_token)?"
    )
    + r"|</s>|<eos>|<end_of_turn>|<turn\|>|<_end>|<seed:eos>|<reserved_106>|\[e~\[)"
)
_ENDED = _mark("end")  # of a message: a turn goes on behind it where the model's own next message begins
_USER = rf"[#*]{{0,4}}{_BLANK}(?:Human|User|USER|HUMAN|Instruction){_BLANK}(?:\*\*)?:"
# Where a chat goes on without the model's being asked. The soft ones count only behind a box: a response may well begin
# by repeating its question.
_TURN = re.compile(rf"{_END}|{_ENDED}(?!\s*+{_BEGINS})|{_OTHERS_TURN}|\n{_BLANK}{_USER}")
_QUESTION = rf"[#*]{{0,4}}{_BLANK}(?:Question|Problem|Q){_BLANK}(?:[0-9]++{_BLANK})?(?:\*\*)?:"
_SOFT_TURN = re.compile(rf"\n{_BLANK}{_QUESTION}")

_FIRST = rf"<s>|<bos>|\[gMASK\]|<sop>|{_mark('(?i:begin_of_text|begin▁of▁sentence|startoftext)')}"
_ECHOED_TURN = re.compile(rf"\s*+(?:{_FIRST}|\s)*+(?:{_OTHERS_TURN}|{_USER})")
_REPLY = re.compile(rf"{_MODELS_TURN}|\b(?:Assistant|ASSISTANT){_BLANK}:|### Response:")
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
