"""The analyses: estimators by hand and by enumeration, saved evaluations and runs read back, and the command itself."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from r1zero.analyze import answering, exploration, markdown, over_training, reflection_effect, self_reflection
from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION, Item, Judgement
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.keywords import Detector, Piece, questions_with, responses_with
from r1zero.analyze.readiness_card import command, make_card, suggested_group_size, training_temperature
from r1zero.analyze.responses import (
    GradedResponse,
    ModelResponses,
    QuestionResponses,
    bare_question,
    merged,
    read_groups,
    run_steps,
    saved_cells,
)
from r1zero.errors import UserError
from r1zero.published import BASE_MODELS, TEMPERATURES, published_base_model
from r1zero.questions import QuestionSet, load_questions, stratified
from r1zero.runs.exclusive import LOCK
from r1zero.runs.run import Run
from r1zero.templates import get_template, texts_of
from r1zero.types import Outcome, Question
from tiny_runs import start, taught_model, trained


def reply(
    text: str = "The answer is 2.", outcome: Outcome = Outcome.RIGHT, *, truncated: bool = False
) -> GradedResponse:
    return GradedResponse(text, outcome, truncated, len(text.split()))


def cell(
    *groups: list[GradedResponse],
    template: str = "no",
    temperature: float = 1.0,
    model: str = "m",
    different: int = 10**6,
) -> ModelResponses:
    """Groups of so many different questions."""
    made = tuple(
        QuestionResponses(f"q/{i}", str(i % 2 + 1), f"What is {i % different} + 1?", tuple(g))
        for i, g in enumerate(groups)
    )
    return ModelResponses(model, template, temperature, made)


RIGHT, WRONG = reply(), reply("It is 3.", Outcome.WRONG)


# ---- answering


def test_answering_by_hand_and_the_best_template() -> None:
    rules = RuleJudge(ANSWERING)
    talks = reply("What is 2 + 2? What is 3 + 3?", Outcome.NO_ANSWER)
    poor = answering.analyse(cell([talks], [RIGHT], template="no"), rules, rules)
    assert (poor.responses, poor.rate and poor.rate.value, poor.accuracy.value) == (2, 0.5, 0.5)
    assert [example.label for example in poor.continuing] == [0]
    assert poor.agreement is None
    good = answering.analyse(cell([RIGHT], [WRONG], template="r1"), rules, rules)
    better = answering.analyse(cell([RIGHT], [RIGHT], template="qwen_math"), rules, rules)
    assert answering.best([poor, good]).template == "r1"
    assert answering.best([poor, good, better]).template == "qwen_math"  # as many answers, more of them right


class Strange:
    """A judge of its own mind: unparsable, refused, then a class each."""

    rubric = ANSWERING
    name = "a strange judge"

    def judge(self, items: Any) -> list[Judgement]:
        told = [Judgement(None, "?"), Judgement(None, "too long", refused=True), Judgement(1, ""), Judgement(0, "")]
        return told[: len(items)]


def test_what_was_not_judged_is_counted_apart_and_agreement_is_measured() -> None:
    found = answering.analyse(cell([RIGHT], [RIGHT], [RIGHT], [RIGHT]), Strange(), RuleJudge(ANSWERING))
    assert (found.unparsable, found.refused, found.rate and found.rate.value) == (1, 1, 0.5)
    assert found.agreement is not None
    assert (found.agreement.judged, found.agreement.share) == (2, 0.5)


# ---- exploration


@pytest.mark.parametrize("n", [2, 5, 8])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_the_live_share_is_unbiased(n: int, p: float) -> None:
    """Over every outcome of n draws its mean is 1 − p^G − (1−p)^G; the plug-in's is less."""
    for g in range(1, n + 1):
        chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
        mean = sum(chance * exploration.mixed(n, c, g) for c, chance in enumerate(chances))
        truth = 1 - p**g - (1 - p) ** g
        assert mean == pytest.approx(truth, abs=1e-12)
        plug_in = sum(q * exploration.live_groups([(n, c)], g).plug_in for c, q in enumerate(chances))
        assert plug_in <= truth + 1e-12


def test_more_samples_than_were_drawn_take_the_plug_in() -> None:
    live = exploration.live_groups([(4, 2), (4, 0)], 8)
    assert live.method.startswith("plug-in")
    assert live.share.value == pytest.approx((1 - 2 * 0.5**8) / 2)


def test_exploration_by_hand() -> None:
    found = exploration.analyse(cell([RIGHT, WRONG, WRONG, WRONG], [WRONG] * 4), 2)
    # pass@2 of 1 in 4: 1 − C(3,2)/C(4,2) = 1/2; live groups of 2: 1 − C(3,2)/C(4,2) = 1/2
    assert found.pass_at[1].value == pytest.approx(1 / 8)
    assert found.pass_at[2].value == pytest.approx(1 / 4)
    assert found.pass_at[4].value == pytest.approx(1 / 2)
    assert found.never_solved.value == 0.5
    assert found.live.share.value == pytest.approx(1 / 4)
    assert found.pass_at[4].low < 0.5 < found.pass_at[4].high


@pytest.mark.parametrize(
    ("counts", "unsolved", "word"),
    [([(8, 4)], 0, "strong"), ([(8, 4)] + [(8, 0)] * 3, 0.75, "good"), ([(8, 4)] + [(8, 0)] * 15, 0.9, "weak"),
     ([(8, 0)] * 4, 1.0, "none"), ([(8, 8)] * 4, 0.0, "none"), ([(8, 8)] * 3 + [(8, 0)] * 2, 0.4, "none")],
)  # fmt: skip
def test_the_signal(counts: list[tuple[int, int]], unsolved: float, word: str) -> None:
    signal = exploration.signal(exploration.live_groups(counts, 8), unsolved)
    assert signal.word == word
    if word == "none":
        assert ("easier" in signal.sentence) == (unsolved > 0.5)
        assert ("in between" in signal.sentence) == (unsolved == 0.4)


# ---- self-reflection


class HalfBlind:
    """A judge that reads every other response, and finds that it reflects."""

    rubric, name = REFLECTION, "half-blind"

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        return [Judgement(2 if i % 2 == 0 else None, "") for i in range(len(items))]


def test_what_cannot_be_judged_is_neither_reflecting_nor_not() -> None:
    word, plain = reply("Let me recheck."), reply("Nothing.")
    half = cell([word, word], [plain, plain])
    found, flags = self_reflection.analyse(half, Detector(), HalfBlind(), RuleJudge(REFLECTION))
    assert flags.by_detection["judge"] == [[True, None], [True, None]]
    assert flags.by_detection["cross"] == [[True, None], [False, None]]
    assert (found.counts["judge"].responses, found.counts["judge"].told) == (2, 2)
    compared = reflection_effect.analyse(half, flags.by_detection["judge"], "judge")
    assert (compared.reflecting, compared.others, compared.difference) == (2, 0, None)
    step = over_training.analyse_step(1, half, Detector(), RuleJudge(ANSWERING), HalfBlind())
    assert step.judge is not None
    assert (step.judge.value, step.unjudged) == (1.0, 2)
    assert step.agreement is not None
    card = make_card("no", None, [half], [], [found], None)
    assert card.reflecting_responses["judge"] == 1.0


class Blind(HalfBlind):
    name = "blind"

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        return [Judgement(None, "")] * len(items)


def test_where_nothing_can_be_judged_nothing_is_claimed() -> None:
    some = cell([reply("Let me recheck."), reply("Nothing.")])
    found, _ = self_reflection.analyse(some, Detector(), Blind(), RuleJudge(REFLECTION))
    assert found.share_of_questions["judge"] is None
    step = over_training.analyse_step(1, some, Detector(), RuleJudge(ANSWERING), Blind())
    assert (step.judge, step.cross, step.questions_reflecting, step.unjudged) == (None, None, None, 2)
    sources = [asdict(over_training.Source("rollouts", 1.0, [step]))]
    page = markdown.page("training", {"run": "run", "judge": "blind", "bill": None, "sources": sources})
    assert "| – | – | – | 2 |" in page


def test_reflection_by_hand() -> None:
    keyword_only = reply("She rechecked the mailbox. The answer is 2.")
    both = reply("It is 3. Let me recheck: it is 2.")
    judge_only = reply("It is 3. Wait, that is not right. It is 2.")
    rules = RuleJudge(REFLECTION)
    found, flags = self_reflection.analyse(
        cell([keyword_only, RIGHT], [both, judge_only], [RIGHT, WRONG]), Detector(), rules, rules
    )
    counts = {name: (c.responses, c.questions) for name, c in found.counts.items()}
    assert counts == {"keywords": (2, 2), "whole words": (1, 1), "judge": (2, 1), "cross": (1, 1)}
    assert found.classes == {"0": 0, "1": 4, "2": 2, "3": 0, "unparsable": 0, "refused": 0}
    assert found.share_of_questions["cross"].value == pytest.approx(1 / 3)
    assert flags.by_detection["cross"] == [[False, False], [True, False], [False, False]]
    assert found.keywords[0].keyword == "recheck"
    assert Piece("recheck", keyword=True) in found.passages[0].excerpt
    assert found.passages[0].reason == "re-does a step"
    assert [passage.found_by for passage in found.passages] == ["cross", "keywords"]


class Mute:
    """A judge whose answers cannot be read."""

    rubric = REFLECTION
    name = "a mute judge"

    def judge(self, items: Any) -> list[Judgement]:
        return [Judgement(None, "…") for _ in items]


def test_a_judge_that_cannot_be_read_finds_nothing_and_the_card_says_nothing_of_it() -> None:
    group = cell([reply("Let me recheck."), RIGHT])
    found, _ = self_reflection.analyse(group, Detector(), Mute(), RuleJudge(REFLECTION))
    assert (found.judged, found.classes["unparsable"]) == (0, 2)
    assert found.agreement is not None
    assert (found.agreement.judged, found.agreement.share) == (0, None)
    line = found.agreement.sentence("temperature 1")
    assert line == "a mute judge judged no response readably, so that its agreement with " + (
        f"{RuleJudge(REFLECTION).name} is unknown (temperature 1)."
    )
    assert list(make_card("no", None, [group], [], [found], None).reflecting_questions) == ["keywords", "whole words"]


def test_reflection_is_compared_within_questions() -> None:
    # two questions have both kinds: 1/1 against 0/1, and 1/2 against 1/1; the third has one kind only
    groups = cell([RIGHT, WRONG], [RIGHT, WRONG, RIGHT], [WRONG, WRONG])
    found = reflection_effect.analyse(groups, [[True, False], [True, True, False], [True, True]], "cross")
    assert (found.reflecting, found.others) == (5, 2)
    assert found.difference is not None
    assert found.difference.questions == 2
    assert found.difference.difference == pytest.approx((1 - 0.5) / 2)
    assert found.spread is not None
    assert (found.spread.median, found.spread.low_whisker, found.spread.high_whisker) == (0.25, -0.5, 1.0)
    assert (found.reflecting_accuracy, found.other_accuracy) == (2 / 5, 1 / 2)
    nothing = reflection_effect.analyse(groups, [[False] * 2, [False] * 3, [False] * 2], "cross")
    assert (nothing.difference, nothing.spread, nothing.reflecting_accuracy) == (None, None, None)


def test_rows_that_ask_the_same_are_one_piece_of_evidence_in_every_analysis() -> None:
    """Sixteen rows of two questions prove what two rows prove, and shares stay what they are."""
    seen = []
    for times in (1, 8):
        asked = cell(*[[RIGHT, WRONG], [WRONG, WRONG]] * times, different=2)
        flags, half = [[True, False]] * 2 * times, [[True, None], [None, None]] * times
        found = reflection_effect.analyse(asked, flags, "keywords")
        assert found.difference is not None
        assert (found.difference.questions, found.difference.p_value) == (2, 1.0)
        rules = RuleJudge(ANSWERING), RuleJudge(REFLECTION)
        seen.append([
            questions_with(flags, asked.questions),
            responses_with(half, asked.questions),
            answering.analyse(asked, rules[0], rules[0]).rate,
            exploration.analyse(asked, 2).live.share,
            self_reflection.analyse(asked, Detector(), rules[1], rules[1])[0].share_of_questions["judge"],
            over_training.analyse_step(1, asked, Detector(), *rules).answering,
        ])  # fmt: skip
    assert None not in seen[0]
    assert seen[0] == seen[1]


def test_categories_are_exclusive_and_truncated_comes_first() -> None:
    replies = [
        RIGHT,
        WRONG,
        reply("?", Outcome.NO_ANSWER),
        reply("2", truncated=True),
        reply("2", Outcome.UNGRADED),
        reply("2", Outcome.TIMEOUT),
    ]
    table = reflection_effect.by_level(replies, ["2", "10", "2", None, "2", "2"])
    assert list(table) == ["2", "10", "no level", "all"]
    assert table["all"] == {"correct": 1, "incorrect": 1, "unformatted": 1, "truncated": 1, "ungraded": 2}
    assert table["no level"]["truncated"] == 1
    lengths = reflection_effect.lengths(replies)
    assert (lengths["incorrect"].characters, lengths["incorrect"].tokens) == (8.0, 3.0)
    assert lengths["ungraded"].responses == 2


def test_a_box_plots_numbers_by_hand() -> None:
    spread = reflection_effect.spread([0, 1, 2, 3, 100])
    assert (spread.first_quartile, spread.median, spread.third_quartile) == (1, 2, 3)
    assert (spread.low_whisker, spread.high_whisker) == (0, 3)
    assert reflection_effect.spread([0.5]).median == 0.5


# ---- the paper's numbers


def test_the_papers_numbers_are_the_published_ones(shared: Path) -> None:
    data = json.loads((shared / "paper" / "published.json").read_text())
    names = ["Q2.5-Math-1.5B", "Q2.5-Math-7B", "Q2.5-7B", "Llama3.1-8B", "DS-Math-7B", "DSV3-Base"]
    reflection = data["self_reflecting_questions_of_500_by_temperature"]
    for row, name in zip(BASE_MODELS, names, strict=True):
        assert row.without_template == data["answering_rate"]["no-template"][name]
        assert row.with_template == data["answering_rate"]["template"][name]
        assert list(row.pass_at_8) == data["pass_at_8_by_temperature_0.1_to_1.0"][name]
        for ours, theirs in ((row.keywords, "keyword"), (row.judge, "llm"), (row.cross, "cross")):
            assert list(ours) == reflection[theirs][name]
            assert len(ours) == len(TEMPERATURES)
    assert published_base_model("models/Qwen2.5-Math-7B/") is BASE_MODELS[1]
    assert published_base_model("SmolLM2-135M") is None


# ---- questions, and reading back


def test_questions_are_stratified_and_nested() -> None:
    questions = tuple(Question(f"s/{i}", f"q{i}", ("1",), level=str(i % 3)) for i in range(30))
    whole = QuestionSet("s", questions[:25], {}, "f")
    nine, ten = stratified(whole, 9), stratified(whole, 10)
    levels = [question.level for question in nine]
    assert [levels.count(level) for level in "012"] == [3, 3, 3]
    assert {q.id for q in nine} < {q.id for q in ten}
    assert nine.fingerprint != ten.fingerprint
    assert [q.id for q in nine] == [q.id for q in whole if q.id in {each.id for each in nine}]
    assert stratified(whole, 9, seed=1).questions != nine.questions
    assert len(stratified(whole, 100)) == 25


def test_500_questions_of_math_are_100_a_level(shared: Path) -> None:
    chosen = stratified(load_questions("math-12k", data_dir=shared / "data"), 500)
    levels = [question.level for question in chosen]
    assert {level: levels.count(level) for level in set(levels)} == dict.fromkeys("12345", 100)


@pytest.mark.parametrize("name", ["no", "r1", "qwen_math", "few_shot"])
def test_the_question_is_found_in_its_prompt(name: str) -> None:
    assert bare_question(get_template(name).render("What is {x}?"), name) == "What is {x}?"
    assert bare_question("something else", "r1") == "something else"
    assert bare_question("anything", "mine.jinja") == "anything"


@pytest.mark.parametrize("name", ["prime_zero", "open_reasoner_zero"])
def test_the_question_is_found_in_prompts_of_what_a_template_was_before(name: str) -> None:
    now, before = texts_of(name)
    assert now.render("Q") != before.render("Q")
    for template in (now, before):
        assert bare_question(template.render("What is {x}?"), name) == "What is {x}?"


def test_cells_of_other_questions_are_put_together() -> None:
    one = cell([RIGHT])
    other = ModelResponses("m", "no", 1.0, (QuestionResponses("z/0", None, "?", (WRONG,)),))
    (both,) = merged([one, other])
    assert [group.id for group in both.groups] == ["q/0", "z/0"]
    with pytest.raises(UserError, match="cannot be put together"):
        merged([one, one])


def test_a_file_that_holds_no_responses(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("no")
    with pytest.raises(UserError, match="holds no saved responses"):
        read_groups(path)


# ---- the card


def test_the_cards_suggestions() -> None:
    assert training_temperature([cell([RIGHT], temperature=t) for t in (0.2, 0.6)]).temperature == 0.6
    even = cell([RIGHT, WRONG] * 4)
    assert suggested_group_size(even) == 4
    rare = cell([RIGHT] + [WRONG] * 31)
    assert suggested_group_size(cell([WRONG] * 8)) == 32  # nothing is ever solved: the more samples, the better
    seldom = cell(
        [RIGHT] + [WRONG] * 3, *[[WRONG] * 4] * 13
    )  # one in fourteen live with 4, a little less by the plug-in
    assert suggested_group_size(seldom) == 32
    assert suggested_group_size(rare) == 16  # 1 − C(31, 16) / C(32, 16) = 1/2
    qwen = cell([RIGHT, WRONG], template="r1", model="a/Qwen2.5-Math-1.5B")
    assert command(qwen, 8, None) == (
        "r1zero train recipes/qwen2.5-math-1.5b.toml --model.path a/Qwen2.5-Math-1.5B --template.name r1 "
        "--rollout.samples 8"
    )
    assert "recipes/smollm2-135m-gsm8k.toml" in command(cell([RIGHT], model="mine"), 8, 10**8)
    assert "recipes/qwen2.5-math-7b.toml" in command(cell([RIGHT], model="mine"), 8, 10**10)
    assert "RECIPE.toml" in command(cell([RIGHT], model="mine"), 8, None)
    assert "--model.path 'a b; echo' --template" in command(cell([RIGHT], model="a b; echo"), 8, None)


# ---- over training


def test_a_runs_saved_rollouts_are_analysed() -> None:
    run = trained()
    steps = run_steps(run)["rollouts"]
    assert [step for step, _ in steps] == [1, 2, 3]
    judges = RuleJudge(ANSWERING), RuleJudge(REFLECTION)
    found = over_training.analyse_steps(steps, "no", Detector(), judges)
    for step, numbers in zip(found, run.read("metrics"), strict=True):
        assert step.pass_at_1.value == pytest.approx(numbers["rollout/reward"])
        assert step.categories["truncated"] == pytest.approx(numbers["rollout/truncated"])
        assert step.live_groups is not None
        assert 1 - step.live_groups.value == pytest.approx(numbers["rollout/dead_groups"])
        assert step.pass_at_1.low <= step.pass_at_1.value <= step.pass_at_1.high
    assert [s for s, _ in over_training.evenly(steps, 2)] == [1, 3]
    assert [s for s, _ in over_training.evenly(steps, 1)] == [3]
    assert over_training.evenly(steps, None) == steps


def test_a_runs_saved_evaluations_are_analysed_beside_its_rollouts() -> None:
    """The same held-out questions at every step: one greedy answer each, whose accuracy the run has logged."""
    run = trained()
    sources = run_steps(run)
    assert list(sources) == ["rollouts", "arithmetic"]
    assert [step for step, _ in sources["arithmetic"]] == [0, 2, 3]
    found = over_training.analyse_steps(
        sources["arithmetic"], "no", Detector(), (RuleJudge(ANSWERING), RuleJudge(REFLECTION))
    )
    for step, numbers in zip(found, run.read("evaluations"), strict=True):
        assert (step.step, step.questions, step.samples) == (numbers["step"], 16, 1)
        assert step.pass_at_1.value == pytest.approx(numbers["eval/arithmetic/accuracy"])
        assert step.pass_at_1.low == pytest.approx(numbers["eval/arithmetic/accuracy_low"])
        assert step.pass_at_n == step.pass_at_1
        assert step.live_groups is None  # a group of one is never mixed


def test_runs_that_lack_rollouts_or_everything(tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained().path, copy)
    shutil.rmtree(copy / "rollouts")
    (copy / "evaluations" / "notes.txt").write_text("")
    assert list(run_steps(Run.open(copy))) == ["arithmetic"]
    shutil.rmtree(copy / "evaluations")
    with pytest.raises(UserError, match="has saved no responses; name a run that has rollouts or evaluations"):
        run_steps(Run.open(copy))


def test_a_run_is_analysed_from_the_command_line(tmp_path: Path) -> None:
    start("analyze", "--run", trained().path, "--out", tmp_path / "a", "--steps", "2").done()
    content = json.loads((tmp_path / "a" / "training.json").read_text())
    steps = {source["name"]: [step["step"] for step in source["steps"]] for source in content["sources"]}
    assert steps == {"rollouts": [1, 3], "arithmetic": [0, 3]}
    assert [source["temperature"] for source in content["sources"]] == [1.0, 0.0]
    assert content["judge"].startswith("rule-based judge")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        LOCK, "analysis.html", *(f"training.{end}" for end in ("json", "md", "png", "svg"))
    }  # fmt: skip


# ---- the command


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All analyses of a model that has read one-digit sums."""
    out = tmp_path_factory.mktemp("analysis") / "taught"
    command = start("analyze", taught_model(), *ASKED, "--out", out)
    assert "Readiness of" in command.done()
    assert command.err == ""
    return out


ASKED = (
    "--questions", "arithmetic", "--limit", "6", "--templates", "no", "question_answer", "--answer-format",
    "last_number", "--temperatures", "0.5", "1.0", "--samples", "4", "--group-size", "4", "--max-new-tokens", "16",
    "--device", "cpu",
)  # fmt: skip


def test_all_analyses_from_the_command_line(analysed: Path) -> None:
    made = {path.name for path in analysed.iterdir() if path.is_file()}
    expected = {f"{name}.{end}" for name in ("answering", "exploration", "reflection") for end in ("json", "md", "png",
                "svg")} | {"card.json", "card.md", "analysis.html", LOCK}  # fmt: skip
    assert made == expected
    explored = json.loads((analysed / "exploration.json").read_text())
    assert [row["temperature"] for row in explored["temperatures"]] == [0.5, 1.0]
    assert explored["temperatures"][1]["samples"] == 4
    card = json.loads((analysed / "card.json").read_text())
    assert card["template"] == explored["template"]
    assert card["temperature"] == 1.0
    assert set(card["pass_at"]) == {"1", "4"}
    for name in ("answering", "reflection"):
        assert "rule-based judge" in (analysed / f"{name}.md").read_text()
    names = sorted(path.name for path in (analysed / "responses").iterdir())
    assert [name for name in names if name.endswith("-t0-n1")] == ["no-t0-n1", "question_answer-t0-n1"]


def test_what_is_there_is_not_asked_again(analysed: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in analysed.rglob("*.parquet")}
    assert len(files) == 4
    start("analyze", taught_model(), *ASKED, "--out", analysed).done()
    assert {path: path.stat().st_mtime_ns for path in analysed.rglob("*.parquet")} == files


def test_saved_responses_are_analysed_alike(analysed: Path, tmp_path: Path) -> None:
    start("analyze", "--saved", analysed / "responses", "--group-size", "4", "--out", tmp_path / "again").done()
    for name in ("answering", "exploration", "reflection"):
        assert (tmp_path / "again" / f"{name}.json").read_bytes() == (analysed / f"{name}.json").read_bytes()
        assert (tmp_path / "again" / f"{name}.svg").read_bytes() == (analysed / f"{name}.svg").read_bytes()
    assert len(saved_cells([analysed / "responses"])) == 4


def test_one_analysis_only(analysed: Path, tmp_path: Path) -> None:
    said = start("analyze", "answering", "--saved", analysed / "responses", "--out", tmp_path / "a").done()
    assert not (tmp_path / "a" / "exploration.json").exists()
    assert "Does it answer?" in said


def test_an_analysis_asks_the_rows_of_a_filter_and_another_one_is_refused(tmp_path: Path) -> None:
    rows = [{"question": f"{a}+1=", "answer": str(a + 1), "level": a} for a in range(1, 6)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "analyze",
        taught_model(),
        "answering",
        "-q",
        tmp_path / "sums.jsonl",
        "--templates",
        "no",
        "--device",
        "cpu",
    ]
    words += ["--max-new-tokens", "4", "--out", tmp_path / "a", "--where"]
    assert "sums: 2 rows left out (not where level >= 3)" in " ".join(start(*words, "level >= 3").done().split())
    [cell] = saved_cells([tmp_path / "a" / "responses"])
    assert [group.question for group in cell.groups] == ["3+1=", "4+1=", "5+1="]
    start(*words, "level >= 2").refused("holds another evaluation (of other settings, fingerprints)")


def test_detectors_are_measured_from_the_command_line() -> None:
    assert "precision" in start("analyze", "--detectors").done()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "analyze needs one of MODEL, --saved FOLDER … and --run RUN; none was given."),
        (["m", "--run", "r"], "not MODEL and --run together"),
        (["m", "--samples", "1"], "--samples 1 is too few; give 2 or more."),
        (["m", "--limit", "0"], "--limit 0 is too few; give 1 or more."),
        (
            ["m", "--temperatures", "0"],
            "--temperatures 0 is not a valid temperature to sample at: give numbers above 0 and below 100.",
        ),
        (["m", "--temperatures", "inf"], "--temperatures inf is not a valid temperature to sample at"),
        (["m", "--temperatures"], "--temperatures names none"),
        (["m", "--templates"], "--templates names none"),
        (["m", "--steps", "3"], "--steps 3 belongs to a training run"),
        (["m", "--patience", "nan"], "--patience nan is not a valid time to wait"),
        (["m", "--judge-price", "1", "2"], "--judge-price belongs to a judge that is asked"),
        (["answering", "--run", "r"], "--run makes all analyses of what the run saved; leave answering out"),
        (["--saved", "s", "--server", "http://localhost:1/v1"], "--server asks a model"),
        (["--saved", "s", "--where", "level > 2"], "--where asks a model, and --saved and --run ask nothing"),
        (["--run", "r", "--limit", "4"], "--limit asks a model"),
        (["--run", "r", "--group-size", "4"], "--group-size asks a model"),
        (["m", "-q", "arithmetic", "--where", "level > 2"], "--where does not apply to arithmetic"),
        (["m", "--judge", "http://h/v1"], "needs the model's name there; add --judge-model NAME."),
        (["m", "--judge-model", "x"], "--judge-model x needs its address; add --judge"),
        (["m", "-q", "math13k"], "--questions is 'math13k', which is neither a known set nor a path"),
        (["--saved", "nowhere"], "holds no evaluation (evaluation.json)"),
        (["--run", "nowhere"], "is not a run directory"),
        (["nowhere/model/x", "-q", "arithmetic"], "does not exist; give a model folder"),
        (["m", "-q", "arithmetic", "--server", "h:80"], "--server h:80 is not a valid address"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], says: str, tmp_path: Path) -> None:
    start("analyze", *words, cwd=tmp_path).refused(says)


def test_items_carry_the_bare_question() -> None:
    assert answering.items_of(cell([RIGHT])) == [Item("What is 0 + 1?", RIGHT.text)]
