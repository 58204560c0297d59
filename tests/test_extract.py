"""Extraction: literal cases for every rule, properties, and linear time on hostile megabytes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.types import AnswerFormat
from r1zero.verify import grade_exact
from r1zero.verify.answers.numbers import number
from r1zero.verify.extraction.boxes import balanced
from r1zero.verify.extraction.extract import extract

BOXED, TAGS, LAST_NUMBER = AnswerFormat.BOXED, AnswerFormat.ANSWER_TAGS, AnswerFormat.LAST_NUMBER
AUTO, BARE = AnswerFormat.AUTO, AnswerFormat.BARE
STRICT, LOOSE = AnswerFormat.ANSWER_TAGS_STRICT, AnswerFormat.ANSWER_TAGS_LOOSE


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{ 42 }", "42"),
        (r"\boxed {42}", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{x \in \{1 \mid y\}} and more }", r"x \in \{1 \mid y\}"),
        (r"\boxed{a \\} b}", "a \\\\"),  # `\\` is a line break, so the brace after it closes the box
        (
            "\\boxed{\n\\begin{pmatrix} 0 & 3 \\\\ 0 & -1 \\end{pmatrix}\n}.",
            r"\begin{pmatrix} 0 & 3 \\ 0 & -1 \end{pmatrix}",
        ),
        (r"<think> \boxed{41} </think> \boxed{43}", "43"),
        # Pitfall 34: an earlier box is never recovered.
        (r"\boxed{1} then \boxed{2", None),
        (r"\boxed{1} then \boxed 2", "2"),  # as TeX reads it
        (r"\boxed 7$", "7"),
        (r"\boxed x", "x"),
        # boxes side by side are one answer
        (r"\boxed{1}, \boxed{2} and \boxed{3}", "1, 2, 3"),
        (r"$\boxed{1}$ or $\boxed{2}$", "1, 2"),
        (r"\boxed{3}\boxed{4}", "3, 4"),
        (r"\boxed{7}, \boxed{7}", "7"),
        (r"$y_1 = \boxed{x}$ and $y_2 = \boxed{2x}$", "x, 2x"),
        (r"\boxed{1} papers and \boxed{2} bins", "1, 2"),
        (r"\boxed{5}. Wait, \boxed{3}", "3"),
        (r"\boxed{1} and \boxed{2}, but then \boxed{3}", "3"),
        (r"\boxed{1}+\boxed{2}", "2"),
        # …whatever lists them, and in whatever words the response leaves the choice open
        ("- \\boxed{41}\n- \\boxed{42}", "41, 42"),
        ("1. \\boxed{41}\n2. \\boxed{42}", "41, 42"),
        (r"(a) \boxed{41} (b) \boxed{42}", "41, 42"),
        (r"Step 1: \boxed{41}. Step 2: \boxed{42}", "41, 42"),
        (r"\boxed{41} / \boxed{42}", "41, 42"),
        (r"\boxed{41}|\boxed{42}", "41, 42"),
        (r"\boxed{41} perhaps \boxed{42}", "41, 42"),
        (r"Possible answers: \boxed{41}, maybe \boxed{42}", "41, 42"),
        (r"\boxed{41}. Alternatively, it could be \boxed{42}", "41, 42"),
        ("\\boxed{41}" + "\n" * 500 + "\\boxed{42}", "41, 42"),
        (r"\boxed{42}\phantom{0}\boxed{41}", "42, 41"),
        (r"\boxed{\frac{84}{2}} = \boxed{42}", r"\frac{84}{2} = 42"),
        (r"\boxed{41} -- \boxed{42}", "41, 42"),
        (r"\boxed{41} vs \boxed{42}", "41, 42"),
        (r"Either \boxed{41} (or \boxed{42})", "41, 42"),
        (r"\boxed{41} \vee \boxed{42}", "41, 42"),
        (r"We get \boxed{6}. Multiplying by 7 gives \boxed{42}.", "42"),
        (r"\boxed{41}. The answer is \boxed{42}", "42"),
        (r"First \boxed{6}, then \boxed{7}, so \boxed{42}", "42"),
        # a box in a box is part of it
        (r"\boxed{41 \boxed{42}}", r"41 \boxed{42}"),
        (r"\boxed{\boxed{42} 43}", r"\boxed{42} 43"),
        (r"\boxed{ $\boxed{42}$ }", "42"),
        # nor is a box an answer that is taken back, or runs on
        (r"\boxed{42} is wrong; the answer is 43", None),
        (r"$\boxed{42}$ is not the answer.", None),
        (r"It isn't \boxed{42}", None),
        (r"The answer is not $5$ but $\boxed{42}$", "42"),
        (r"\boxed{42}. I am sure that this is not wrong.", "42"),
        (r"so it is not \boxed{42}", None),
        (r"\boxed{42,}43", None),
        (r"\boxed{4}2", None),
        (r"\boxed{42}\%", "42"),
        # neither the reasoning nor an invented turn nor an echoed prompt holds an answer
        ("<|im_start|>user\nput \\boxed{42}", None),
        (
            "<|im_start|>system\nuse \\boxed{}<|im_end|>\n<|im_start|>user\n6*7<|im_end|>\n"
            "<|im_start|>assistant\n\\boxed{42}<|im_end|>",
            "42",
        ),
        (r"User: \boxed{42}", None),
        ("User: put it in \\boxed{}\nAssistant: \\boxed{42}", "42"),
        (r"Question: what is \boxed{42}? Answer: I do not know", None),
        ("Question: what is it?\n\\boxed{42}\nAnswer: see above", "42"),
        (r"<think> \boxed{3} </think> so it is 4", None),
        (r"<think> \boxed{3}", None),
        ("\\boxed{5}\n\nHuman: 1+2?\n\\boxed{3}", "5"),
        ("\\boxed{5}<|im_end|>\\boxed{3}", "5"),
        ("\\boxed{5}\nQuestion: 1+2?\n\\boxed{3}", "5"),
        ("Question: 1+2?\n\\boxed{3}", "3"),
        (r"\boxed{1} then \boxed", None),
        (r"\boxed{3} \boxed{}", None),
        (r"\boxed{1} then \boxed{2\}", None),
        (r"\boxed{ }", None),
        (r"\boxed{", None),
        (r"boxed{3}", None),
        (r"\fbox{7}", "7"),
        ("42", None),
        ("", None),
    ],
)
def test_boxed(response, answer):
    assert extract(response, BOXED) == answer


@pytest.mark.parametrize(
    "response, answer",
    [
        ("2+2 is 4. </think> <answer> 4 </answer>", "4"),
        ("</think><answer>4</answer>", "4"),
        ("</think>\n\n<answer>\n4\n</answer> trailing", "4"),
        (r"</think> <answer> it is \boxed{4} </answer>", "4"),
        (r"</think> <answer> \boxed{3} or \boxed{4} </answer>", "3, 4"),
        (r"</think> <answer> \boxed{3} or \boxed{4 </answer>", None),
        (r"</think> <answer> \boxed{} </answer>", None),
        ("</think> <answer>1</answer> <answer>2</answer>", "2"),
        ("</think> <answer>1</answer> <answer>2", None),
        ("</think> <answer>1</answer> 2</answer>", "1"),
        ("<answer>3</answer> </think> <answer>4</answer>", "4"),
        ("<answer>3</answer> </think> 4", None),  # an answer inside the reasoning is none
        ("</think> so <answer>4</answer>", None),
        ("<answer>4</answer>", None),
        ("</think> <answer>4", None),
        ("</think> <answer> </answer>", None),
        (r"</think> \boxed{4}", None),
        ("", None),
    ],
)
def test_answer_tags(response, answer):
    assert extract(response, TAGS) == answer


@pytest.mark.parametrize(
    "response, answer",
    [
        ("5 apples and 7 pears", "7"),
        ("it costs $1,234.50.", "1234.50"),
        ("12,345,678 in all", "12345678"),
        ("14{,}916", "14916"),
        (r"49,\!479", "49479"),
        ("1,2", "2"),  # a list, not thousands
        ("1,2345", "2345"),
        ("so 42.", "42"),
        ("about 50%", "50"),
        (".5", ".5"),
        ("x = -3", "-3"),
        ("x = \u22123", "-3"),
        ("$-3$", "-3"),
        ("(-3)", "-3"),
        ("10-3", "3"),
        ("10 - 3", "3"),
        ("x-3", "3"),
        ("f(2)-3", "3"),
        (r"\frac{a}{b}-3", "3"),
        ("3/4", "3/4"),
        ("-3/4 of it", "-3/4"),
        ("1,000/3", "1000/3"),
        ("3/4.5", "4.5"),
        (r"that is \frac{2}{5}.", "2/5"),
        (r"-\dfrac{12}{5}", "-12/5"),
        (r"\frac{2x}{5}", "5"),
        ("pages 3\u20135", "5"),  # an en dash is no minus
        ("#### 18", "18"),
        ("\u0663", None),  # ASCII digits only
        ("none", None),
        ("", None),
    ],
)
def test_last_number(response, answer):
    assert extract(response, LAST_NUMBER) == answer


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"so \boxed{4}. Final answer: 5", "4"),
        (r"so \boxed{4", None),
        ("<answer> 7 </answer>", "7"),
        ("<answer> 7", None),
        ("The final answer is $x+1$. I hope it is correct.", "x+1"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("Answer: 41 was wrong.\nAnswer: 42", "42"),
        ("Final answer: -3.5", "-3.5"),
        ("✅ Final Answer: **73**", "73"),
        ("the answer is (7, 6)", "(7, 6)"),
        ("Therefore $x \\geq 5$ is the solution.", "x \\geq 5"),
        ("It costs 1,000.99€", "1,000.99"),
        ("an increase of 25%.", "25\\%"),
        ("AZYUK2A", None),
        ("no number at all", None),
        ("", None),
        ("<think> the answer is 5", None),
    ],
)
def test_auto(response, answer):
    assert extract(response, AUTO) == answer


@pytest.mark.parametrize(
    "response, strict, loose",
    [
        ("</think> <answer>4</answer>", "4", "4"),
        ("2+2 is 4. </think> <answer> 4 </answer>", "4", "4"),
        ("</think><answer>4</answer>", None, "4"),  # exactly one blank
        ("</think>  <answer>4</answer>", None, "4"),
        ("</think>\n<answer>4</answer>", None, "4"),
        ("</think>\n\n<answer>\n4\n</answer>", None, "4"),
        ("<answer>4</answer>", None, "4"),
        ("</think> <answer>4", None, None),  # never closed
        ("</think> 4</answer>", None, None),
        ("</think> <answer>1</answer> <answer>2</answer>", "2", "2"),  # the last of two
        ("</think> <answer>1</answer> <answer>2", "2", "2"),  # closed anywhere
        ("</answer> </think> <answer>2", "2", "2"),
        ("</think> <answer>1</answer> 2</answer>", "1 2", "1 2"),
        ("</think> <answer>4</answer> and so on", "4 and so on", "4 and so on"),
        (r"</think> <answer> it is \boxed{4} </answer>", "4", "4"),
        (r"</think> <answer> 5 </answer> \boxed{4}", "4", "4"),
        (r"</think> <answer> \boxed{3} or \boxed{4} </answer>", "4", "4"),
        (r"</think> <answer> \boxed{\frac{1}{2}} </answer>", r"\frac{1}{2}", r"\frac{1}{2}"),
        (r"</think> <answer> \boxed{\{1\}} </answer>", r"\{1\}", r"\{1\}"),
        (r"</think> <answer> \fbox{4} </answer>", r"\fbox{4}", r"\fbox{4}"),  # only a \boxed is looked into
        # formatted, and wrong: no answer, but not a missing one
        (r"</think> <answer> \boxed{3} or \boxed{4 </answer>", "", ""),
        (r"</think> <answer> \boxed 4 </answer>", "", ""),
        (r"</think> <answer> \boxed {4} </answer>", "", ""),
        (r"</think> <answer> \boxed{} </answer>", "", ""),
        ("</think> <answer> </answer>", "", ""),
        # reasoning and turns that the model invents are looked at like the rest
        ("<answer>3</answer> </think> 4", None, "3 </think> 4"),
        ("\nUser: 1+1? </think> <answer>2</answer>", "2", "2"),
        (r"</think> \boxed{4}", None, None),
        ("", None, None),
    ],
)
def test_the_papers_own_rules(response, strict, loose):
    assert extract(response, STRICT) == strict
    assert extract(response, LOOSE) == loose


def authors_box(text: str) -> str | None:
    """The content of the last `\\boxed{` up to where as many braces are closed as opened, letter by letter."""
    start = text.rfind(r"\boxed")
    depth = 0
    for end in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if text[end] == "}" and depth == 0:
            found = text[start : end + 1]
            return found[7:-1] if found[:7] == r"\boxed{" else None
    return None


ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates and control characters too
TAG_PIECES = [
    "</think> <answer>",
    "<answer>",
    "</answer>",
    "</think>",
    " ",
    "\n",
    r"\boxed{",
    r"\boxed",
    "{",
    "}",
    "\\",
    "5",
]


@given(st.lists(st.sampled_from(TAG_PIECES), max_size=14).map("".join) | ANY_TEXT)
def test_the_papers_own_rules_on_any_text(response):
    """`answer_tag_reward_fn` and `answer_tag_reward_fn_for_orz` of understand-r1-zero at dfca49d, said another way."""
    answer = response.split("<answer>")[-1].replace("</answer>", "")
    answer = (authors_box(answer) or "") if r"\boxed" in answer else answer
    for answer_format, opened in ((STRICT, "</think> <answer>"), (LOOSE, "<answer>")):
        formatted = response.count(opened) > 0 and response.count("</answer>") > 0
        assert extract(response, answer_format) == (answer.strip() if formatted else None)


def test_bare():
    assert extract("  x + 1 ", BARE) == "x + 1"
    assert extract(" ", BARE) is None


PIECES = [
    r"\boxed",
    "{",
    "}",
    "\\",
    "</think>",
    "<answer>",
    "</answer>",
    " ",
    "\n",
    "1",
    ",234",
    "/",
    ".",
    "-",
    r"\frac",
]
SOUP = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(ANY_TEXT | SOUP, st.sampled_from([each for each in AnswerFormat if each not in (STRICT, LOOSE)]))
def test_extract_never_raises_and_never_returns_blank(response, answer_format):
    answer = extract(response, answer_format)
    assert answer is None or (answer and answer == answer.strip())
    if answer is not None and answer_format in (BOXED, TAGS) and ", " not in answer:
        assert answer in response


@given(SOUP)
def test_a_last_number_is_a_number(response):
    answer = extract(response, LAST_NUMBER)
    if answer is not None and not answer.endswith("/1"):
        assert number(answer) is not None
        assert set(answer) <= set("-0123456789./")


LEAF = st.text(st.characters(exclude_characters="\\{}", exclude_categories=("Cs",))) | st.sampled_from(
    [r"\{", r"\}", r"\\"]
)
BALANCED = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4).map("".join) | inner.map("{{{}}}".format))


@given(BALANCED, ANY_TEXT, ANY_TEXT)
def test_a_balanced_answer_comes_back_out_of_its_box(answer, before, after):
    assert balanced(answer)
    boxed = rf"{before} \boxed{{{answer}}} {after}"
    if not any(mark in before + answer + after for mark in ("boxed", "fbox", "<", "\n")):
        assert extract(boxed, BOXED) == (answer.strip() or None)


@pytest.mark.parametrize("answer_format", AnswerFormat)
@pytest.mark.parametrize(
    "hostile",
    [
        r"\boxed{" * 45_000,
        r"\boxed" * 51_000,
        r"\boxed{" + "{" * 300_000,
        r"\boxed{" + "\\" * 300_000,
        r"\boxed" + " " * 300_000,
        "</think>" * 37_500,
        "</think>" + " " * 300_000,
        ("</think>" + " " * 1000) * 300,
        "<answer>" * 37_500,
        "</think> <answer>" * 18_000,
        "1" * 300_000,
        "1,111" * 60_000,
        "1" + ",111" * 75_000 + "1",
        "1/" * 150_000,
        "1" * 150_000 + "/" + "1" * 150_000 + ".5",
        "-" * 300_000,
        r"\frac{1" * 42_000,
        r"\frac{" + "1" * 150_000 + "}{" + "1" * 150_000,
        "." * 300_000,
        "\ud800\x00" * 150_000,
        "\n" * 300_000,
        "\n" * 300_000 + "42",
        "42" + " \n" * 150_000 + "b",
        "\\boxed{42}" + "\n" * 300_000 + "x",
        "\nUser" * 60_000,
        "\n User " * 42_000,
        "\\boxed{1}" + "\nQ" * 150_000,
        "\n#" * 150_000,
        "User: " * 48_000,
        "Question: " * 30_000,
        "<|im_start|> " * 22_500,
        r"\boxed{4}, " * 30_000,
        r"\boxed{4 " * 33_000 + "}" * 33_000,
        "$" * 300_000,
        "$1" * 150_000,
        "answer is " * 30_000,
    ],
    ids=lambda text: ascii(text[:10]),
)
def test_hostile_text_takes_linear_time(hostile, answer_format):
    begun = time.process_time()
    extract(hostile, answer_format)
    assert time.process_time() - begun < 2  # about 0.03, and 0.2 for numbers; a quadratic scan takes minutes


@pytest.mark.parametrize("unit", ["{", "}", "\\", "\n", " ", "\\boxed{", "\nUser", "<answer>", "$", "1,", "½"])
def test_a_whole_decision_takes_linear_time(unit):
    """Extraction and the exact path together, as the caller runs them."""
    for response in (unit * (1_000_000 // len(unit)), r"thus \boxed{" + unit * (1_000_000 // len(unit)) + "}"):
        begun = time.process_time()
        answer = extract(response, AUTO)
        if answer is not None:
            grade_exact("42", answer)
        assert time.process_time() - begun < 2  # about 0.2
