from __future__ import annotations

import hashlib
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from r1zero.config import TemplateSettings
from r1zero.errors import UserError
from r1zero.templates import DEMONSTRATIONS, chat, few_shot, from_jinja, get_template, template_names, texts_of
from r1zero.templates.table import make_template
from r1zero.types import AnswerFormat

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = "{% set ns = namespace(x='ab') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
COSTLY = [
    (ENDLESS, "it takes more than 300,000 steps, as in a loop without end"),
    (DOUBLING, "it builds more than 512 MiB"),
    ("{{ 'x' * 10**9 }}", "it computes with **, and no prompt needs that"),
    ("{{ 'x' * 1000000000 }}", "it computes with 1000000000, and no prompt needs that"),
    ("{{ '%1000000000d' % 3 }}", "it computes with %1000000000d, and no prompt needs that"),
    ("{{ '%0999999999d'|format(3) }}", "it computes with %0999999999d, and no prompt needs that"),
    ("{{ question * 900000 }}", "the prompt has 8,100,009 characters, and no model reads so many"),
]


@pytest.mark.parametrize("form", ["file", "chat"])
@pytest.mark.parametrize(("source", "why"), COSTLY, ids=range(len(COSTLY)))
def test_what_rendering_costs_has_a_bound(tmp_path: Path, form: str, source: str, why: str):
    def render() -> str:
        if form == "file":
            path = tmp_path / "costly.jinja"
            path.write_text("{{ question }}" + source)
            return from_jinja(path).render("1 + 1 = ?")
        name = "{% set question = messages[0].content %}{{ question }}"
        return chat(tiny_tokenizer(name + source)).render("1 + 1 = ?")

    with pytest.raises(UserError, match=re.escape(why)):
        render()


BRACES = "Let {x} be {{1, 2}}. What is \\frac{a}{b} + {0} {question} {% raw %} {{ question }}?"


# The paper's strings, written out a second time (PAPER.md 2.1).
QWEN_MATH = (
    "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
    "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
)
R1 = (
    "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The Assistant"
    " first thinks about the reasoning process in the mind and then provides the User with the answer. The reasoning"
    " process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, respectively,"
    " i.e., <think> reasoning process here </think> <answer> answer here </answer>.\nUser: Q\nAssistant: <think>"
)

# The two of other projects, as its evaluate_model.py renders them (dfca49d), written out a second time.
PRIME_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant"
    " first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning"
    " process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think>"
    " reasoning process here </think> <answer> answer here </answer>. User: Q\n\nPresent the answer in LaTex format:"
    " \\boxed{Your answer}. Assistant:"
)
OPEN_REASONER_ZERO = (
    "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The Assistant"
    " first thinks about the reasoning process in the mind and then provides the User with the answer. The reasoning"
    " process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, respectively,"
    " i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: You must put your answer"
    " inside <answer> </answer> tags, i.e., <answer> answer here </answer>. And your final answer will be extracted"
    " automatically by the \\boxed{} tag.\nThis is the problem:\nQ\nAssistant: <think>"
)


@pytest.mark.parametrize(
    ("name", "prompt", "stop", "answer_format"),
    [
        ("qwen_math", QWEN_MATH, (), AnswerFormat.BOXED),
        ("r1", R1, ("</answer>",), AnswerFormat.ANSWER_TAGS),
        ("no", "Q", (), AnswerFormat.BOXED),
        ("none", "Q", (), AnswerFormat.BOXED),
        ("question_answer", "Question: Q\nAnswer:", ("\nQuestion:",), AnswerFormat.LAST_NUMBER),
        ("prime_zero", PRIME_ZERO, (), AnswerFormat.BOXED),
        ("open_reasoner_zero", OPEN_REASONER_ZERO, (), AnswerFormat.ANSWER_TAGS_LOOSE),
    ],
)
def test_fixed_templates_byte_for_byte(name: str, prompt: str, stop: tuple[str, ...], answer_format: AnswerFormat):
    template = get_template(name)
    assert template.render("Q") == prompt
    assert template.stop == stop
    assert template.answer_format is answer_format


def test_the_paragraph_of_open_reasoner_zero_is_what_its_two_jinja_templates_render():
    # as the authors have it: the question in an instruction that ends in a line break, which Jinja drops, in a prompt
    instruction = Environment().from_string(
        "You must put your answer inside <answer> </answer> tags, i.e., <answer> answer here </answer>. And your final "
        "answer will be extracted automatically by the \\boxed{} tag.\nThis is the problem:\n{{prompt}}\n"
    )
    outer = Environment().from_string("{{bos_token}}" + R1.partition("\n")[0] + " User: {{prompt}}\nAssistant: <think>")
    for question in ("Q", BRACES, "two\nlines\n"):
        prompt = outer.render(bos_token="", prompt=instruction.render(prompt=question))
        assert get_template("open_reasoner_zero").render(question) == prompt


def test_few_shot_layout_byte_for_byte():
    template = few_shot([("What is 1 + 1?", "It is two. The answer is $\\boxed{2}$."), ("B?", "C.")])
    assert template.render("D?") == (
        "Question: What is 1 + 1?\nAnswer: It is two. The answer is $\\boxed{2}$.\n\n\n"
        "Question: B?\nAnswer: C.\n\n\n"
        "Question: D?\nAnswer:"
    )
    assert template.stop == ("\n\nQuestion:",)
    assert template.answer_format is AnswerFormat.BOXED


def test_own_demonstrations_are_right_and_end_in_the_asked_form():
    assert len(DEMONSTRATIONS) == 4
    assert get_template("few_shot").render("Q").count("Question: ") == 5
    golds = ["17", "22", "60", "\\frac{8}{15}"]
    for (_, answer), gold in zip(DEMONSTRATIONS, golds, strict=True):
        assert answer.endswith(f"The answer is $\\boxed{{{gold}}}$.")
    # 17 + 9 = 26, 17² − 9² = 208
    assert (17 + 9, 17**2 - 9**2) == (26, 208)
    assert sum(n % 6 == 0 and n % 9 != 0 for n in range(1, 200)) == 22
    assert (2 * (5 + 12), 5**2 + 12**2, 5 * 12) == (34, 13**2, 60)
    pairs = [(a, b) for a in range(10) for b in range(a)]  # marbles 0..3 are red
    assert sum((a < 4) != (b < 4) for a, b in pairs) * 15 == len(pairs) * 8


def test_few_shot_needs_a_demonstration():
    with pytest.raises(UserError, match="at least one demonstration"):
        few_shot([])


@pytest.mark.parametrize("name", [name for name in template_names() if name != "chat"])
@given(question=st.text())
def test_a_question_stands_verbatim_and_nothing_else_changes(name: str, question: str):
    template = get_template(name)
    before, after = template.render("\0").split("\0")
    assert template.render(question) == before + question + after


def test_braces_are_safe_everywhere(tmp_path: Path):
    path = tmp_path / "own.jinja"
    path.write_text("Q: {{ question }}!")
    templates = [*(get_template(name) for name in template_names() if name != "chat"), from_jinja(path)]
    for template in templates:
        assert BRACES in template.render(BRACES)


# --- hash ---------------------------------------------------------------------------------------------------------


def test_hash_covers_all_content_but_the_name(tmp_path: Path):
    base = get_template("r1")
    assert base.hash == get_template("r1").hash
    assert replace(base, name="other").hash == base.hash
    assert len(base.hash) == 16
    assert set(base.hash) <= set("0123456789abcdef")
    others = [
        replace(base, stop=()),
        replace(base, stop=("</answer", ">")),
        replace(base, answer_format=AnswerFormat.BOXED),
        replace(base, renderer=get_template("no").renderer),
        few_shot([("a", "b")]),
        few_shot([("a", "c")]),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 1 + len(others)


def test_hashes_of_the_table_never_change():
    """A change here means that saved runs no longer name the template they were made with."""
    assert {name: get_template(name).hash for name in template_names() if name != "chat"} == {
        "qwen_math": "9f9ba33cb49f0c42",
        "r1": "e840e23e07b3976b",
        "no": "e3715cfb0cedc91e",
        "few_shot": "c308c7759f15ac25",
        "question_answer": "80e3dd02999c42b8",
        "qwen3": "f39c10d0646065c7",
        "r1_distill_qwen": "f0de1461f26bfbc8",
        "prime_zero": "0f316f62328d17d0",
        "open_reasoner_zero": "36b541e632961ed9",
    }


def test_what_a_name_meant_before_is_kept_with_its_hash():
    before = {name: [old.hash for old in texts_of(name)[1:]] for name in template_names()}
    assert {name: hashes for name, hashes in before.items() if hashes} == {
        "prime_zero": ["093b024d4fc093c6"],
        "open_reasoner_zero": ["25c52c8f760587fb"],
    }
    for name in template_names():
        if name != "chat":
            assert texts_of(name)[0] == get_template(name)
    assert texts_of("none") == texts_of("no")
    assert texts_of("chat") == texts_of("own.jinja") == ()


# --- Jinja files --------------------------------------------------------------------------------------------------


def jinja(tmp_path: Path, text: str, name: str = "own.jinja") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", ["own.jinja", "own.j2", "own.jinja2"])
def test_a_jinja_file_with_stop_and_answer_format(tmp_path: Path, name: str):
    text = (
        '{% set stop = ["</answer>", "\\n\\n"] %}\n{% set answer_format = "answer_tags" %}\n'
        "User: {{ question }}\nAssistant: <think>{# #}\n"
    )
    template = get_template(str(jinja(tmp_path, text, name)))
    assert template.render("1 < 2 & {{ 3 }}?") == "User: 1 < 2 & {{ 3 }}?\nAssistant: <think>"
    assert template.stop == ("</answer>", "\n\n")
    assert template.answer_format is AnswerFormat.ANSWER_TAGS
    assert template.name == "own"


def test_jinja_text_is_kept_byte_for_byte(tmp_path: Path):
    assert from_jinja(jinja(tmp_path, "\n  {{ question }} \n\n")).render("Q") == "\n  Q \n\n"
    assert from_jinja(jinja(tmp_path, "a\r\n{{ question }}")).render("Q") == "a\nQ"
    assert from_jinja(jinja(tmp_path, "\ufeff{{ question }}")).render("Q") == "Q"


def test_jinja_without_settings_is_boxed_and_has_no_stop(tmp_path: Path):
    template = from_jinja(jinja(tmp_path, "{{ question }}"))
    assert template.stop == ()
    assert template.answer_format is AnswerFormat.BOXED


def test_a_jinja_template_survives_pickling(tmp_path: Path):
    template = from_jinja(jinja(tmp_path, "Q: {{ question }}"))
    copy = pickle.loads(pickle.dumps(template))
    assert copy == template
    assert copy.render("x") == "Q: x"
    assert copy.hash == template.hash


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ question }", r"own\.jinja has a syntax error in line 1"),
        ("{{ question }}\n{% if %}", r"own\.jinja has a syntax error in line 2"),
        ("{{ question }} {{ answer }}", r"own\.jinja uses answer, but the only variable is \{\{ question \}\}"),
        ("{% if false %}{{ nope }}{% endif %}{{ question }}", r"uses nope, but the only variable"),
        ("no variable", r"own\.jinja never uses \{\{ question \}\}"),
        ("{{ question.nope }}", r"own\.jinja fails when it is rendered: .*nope"),
        ("{{ question }}{{ 1 / 0 }}", r"own\.jinja fails when it is rendered: division by zero"),
        ("{{ question.__class__.__mro__ }}", r"own\.jinja fails when it is rendered: .*unsafe"),
        ("{{ question }}{% include 'x' %}", r"own\.jinja includes or extends another file"),
        (
            '{% set answer_format = "box" %}{{ question }}',
            r"answer_format to 'box': set it to one of boxed, answer_tags",
        ),
        ('{% set stop = "</answer>" %}{{ question }}', r"sets stop to '</answer>': write a list of strings"),
        ('{% set stop = [""] %}{{ question }}', r"sets stop to \[''\]: write a list of strings"),
    ],
)
def test_faulty_jinja_files_are_users_errors(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(UserError, match=sentence) as caught:
        get_template(str(jinja(tmp_path, text)))
    assert "\n" not in str(caught.value)


def test_unreadable_jinja_files(tmp_path: Path):
    with pytest.raises(UserError, match=r"missing\.jinja', which cannot be read \(No such file"):
        get_template(str(tmp_path / "missing.jinja"))
    path = tmp_path / "latin.jinja"
    path.write_bytes(b"\xe9 {{ question }}")
    with pytest.raises(UserError, match=r"latin\.jinja is not UTF-8"):
        get_template(str(path))


# --- chat ---------------------------------------------------------------------------------------------------------

CHAT_SOURCE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tiny_tokenizer(chat_template: str | None):
    """A real fast tokenizer of three words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "Q": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>")
    tokenizer.chat_template = chat_template
    return tokenizer


def test_chat_renders_through_the_tokenizers_own_template():
    tokenizer = tiny_tokenizer(CHAT_SOURCE)
    template = get_template("chat", tokenizer)
    assert template.render(BRACES) == f"<s>[user]{BRACES}\n[assistant]"
    assert template.stop == ()
    assert template.answer_format is AnswerFormat.BOXED
    instructed = get_template("chat", tokenizer, instruction="Use \\boxed{}.")
    assert instructed.render("Q") == "<s>[user]Q\nUse \\boxed{}.\n[assistant]"
    with_system = chat(tokenizer, system="Be brief.")
    assert with_system.render("Q") == "<s>[system]Be brief.\n[user]Q\n[assistant]"
    other = get_template("chat", tiny_tokenizer(CHAT_SOURCE + " "))
    assert len({each.hash for each in (template, instructed, with_system, other)}) == 4
    assert get_template("chat", tiny_tokenizer(CHAT_SOURCE)).hash == template.hash


THINKING = CHAT_SOURCE + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"


def test_a_chat_template_is_given_its_own_options_and_they_are_part_of_its_hash():
    tokenizer = tiny_tokenizer(THINKING)
    plain = make_template(TemplateSettings(name="chat"), tokenizer)
    silent = make_template(TemplateSettings(name="chat", options={"enable_thinking": False}), tokenizer)
    loud = make_template(TemplateSettings(name="chat", options={"enable_thinking": True}), tokenizer)
    assert plain.render("Q") == loud.render("Q") == "<s>[user]Q\n[assistant]"
    assert silent.render("Q") == "<s>[user]Q\n[assistant]<think></think>"
    assert len({plain.hash, silent.hash, loud.hash}) == 3
    content = [("chat", THINKING, "", ""), (), "boxed"]  # without options, the hash that older runs have
    assert plain.hash == hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "chat",
            {"enable_thinkin": False},
            r"'enable_thinkin', which .* does not take; did you mean enable_thinking\? it",
        ),
        ("chat", {"tokenize": True}, r"holds 'tokenize', which the model's chat template does not take"),
        ("chat", {"messages": []}, r"holds 'messages'"),
        ("r1", {"enable_thinking": False}, r"template\.options is for chat only, and template\.name is 'r1'"),
    ],
)
def test_an_option_that_does_nothing_is_refused(name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        get_template(name, tiny_tokenizer(THINKING), options=options)


def test_chat_errors():
    with pytest.raises(UserError, match="tokenizer has no chat template: use one of qwen_math, r1, no"):
        get_template("chat", tiny_tokenizer(None))
    with pytest.raises(UserError, match="needs a model with a tokenizer"):
        get_template("chat")


def test_a_chat_template_that_fails_is_one_sentence():
    picky = "{% if 'x' in messages[0].content %}{{ raise_exception('No x.') }}{% endif %}{{ messages[0].content }}"
    template = get_template("chat", tiny_tokenizer(picky))
    assert template.render("Q") == "Q"
    with pytest.raises(UserError, match=r"template\.name = 'chat' fails when it is rendered \(No x\.\): mend the tem"):
        template.render("x")


def test_a_jinja_template_that_fails_for_one_question_is_one_sentence(tmp_path: Path):
    template = get_template(str(jinja(tmp_path, "{{ question }}{{ 1 / (question | length - 3) }}")))
    assert template.render("four").startswith("four")
    with pytest.raises(UserError, match=r"template\.name = 'own' fails when it is rendered \(division by zero\)"):
        template.render("abc")


# --- names --------------------------------------------------------------------------------------------------------


def test_names_and_overrides():
    others = ("qwen3", "r1_distill_qwen", "prime_zero", "open_reasoner_zero")
    assert template_names() == ("qwen_math", "r1", "no", "few_shot", "question_answer", *others, "chat")
    template = get_template("r1", answer_format=AnswerFormat.LAST_NUMBER)
    assert template.answer_format is AnswerFormat.LAST_NUMBER
    assert template.stop == ("</answer>",)
    assert template.hash != get_template("r1").hash


def test_an_unknown_name_gets_the_closest_and_the_list():
    with pytest.raises(UserError, match=r"'qwen-math' is not a valid template: did you mean qwen_math\? .*few_shot, q"):
        get_template("qwen-math")
    with pytest.raises(UserError, match=r"'zzzzzz' is not a valid template: set it to one of qwen_math, r1"):
        get_template("zzzzzz")


def test_an_instruction_for_a_fixed_template_is_not_ignored():
    with pytest.raises(UserError, match=r"template\.instruction is for chat only, and template\.name is 'r1'"):
        get_template("r1", instruction="Think.")
