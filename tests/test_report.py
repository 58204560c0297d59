"""The report: what it reads out of run directories, by numbers worked out by hand; and that no run breaks the page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.errors import UserError
from r1zero.report.charts import by_name
from r1zero.report.charts import run as charts
from r1zero.report.charts.model import Chart
from r1zero.report.data import summary
from r1zero.report.data.lengths import class_of, class_sums, decompose, mean_lengths, pooled, shares, windows
from r1zero.report.data.responses import LONGEST, answer_span, embed, spaced, sparkline, utf16
from r1zero.report.data.run_data import find_runs, load_run
from r1zero.report.data.seed_groups import Series, curve, evaluation_curve, grouped, smooth, window_of
from r1zero.report.draw.numbers import number, percent, signed
from r1zero.report.draw.svg import axes, ticks
from r1zero.report.pages.html import script_json
from r1zero.report.pages.run import destination, render, write_report
from r1zero.runs.exclusive import exclusive
from r1zero.types import COARSE_FATES, Outcome
from report_runs import EVERY_KIND, HOSTILE, group, make_run, response
from tiny_runs import start, trained

PNG = b"\x89PNG\r\n\x1a\n"


# ---- lengths


def sums(**classes: tuple[int, int]) -> dict[str, tuple[int, int]]:
    return {name: classes.get(name, (0, 0)) for name in COARSE_FATES}


def test_a_truncated_response_is_only_truncated() -> None:
    assert class_of("right", "length") == class_of("timeout", "length") == "truncated"
    assert class_of("right", "eos") == "correct"
    assert class_of("wrong", "eos") == class_of("no_answer", "stop_string") == "incorrect"
    assert class_of("ungraded", "eos") == class_of("timeout", "eos") == class_of("something new", "eos") == "ungraded"


def test_class_sums_by_hand(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", rollouts={2: EVERY_KIND}))
    assert run.lengths == {2: sums(correct=(3, 52), incorrect=(2, 21), truncated=(1, 64), ungraded=(2, 14))}
    assert shares(run.lengths[2]) == {"correct": 0.375, "incorrect": 0.25, "truncated": 0.125, "ungraded": 0.25}
    assert mean_lengths(run.lengths[2])["incorrect"] == 10.5
    assert mean_lengths(sums(correct=(1, 5)))["incorrect"] is None


def test_a_change_of_length_is_taken_apart() -> None:
    # Start: a quarter correct at 10, three quarters incorrect at 20: mean 17.5. End: the shares swapped, at 12 and 30:
    # mean 16.5. Within: ½(¼ + ¾)·2 = 1 and ½(¾ + ¼)·10 = 5. Mixture: ½(10 + 12)·½ − ½(20 + 30)·½ = 5.5 − 12.5 = −7.
    change = decompose(sums(correct=(1, 10), incorrect=(3, 60)), sums(correct=(3, 36), incorrect=(1, 30)))
    assert change is not None
    assert (change.start, change.end) == (17.5, 16.5)
    assert change.within == {"correct": 1.0, "incorrect": 5.0, "truncated": 0.0, "ungraded": 0.0}
    assert change.mixture == -7.0


def test_a_class_that_comes_or_goes_is_mixture() -> None:
    change = decompose(sums(correct=(1, 10)), sums(correct=(1, 10), truncated=(1, 64)))
    assert change is not None
    assert (change.start, change.end, change.mixture) == (10, 37, 27)
    assert not any(change.within.values())
    assert decompose(sums(), sums(correct=(1, 10))) is None


COUNTS = st.tuples(*[st.tuples(st.integers(0, 20), st.integers(1, 50)) for _ in COARSE_FATES])


@given(COUNTS, COUNTS)
def test_the_parts_of_a_change_add_up(before: Any, after: Any) -> None:
    first, last = (
        {name: (n, n * length) for name, (n, length) in zip(COARSE_FATES, each, strict=True)}
        for each in (before, after)
    )
    change = decompose(first, last)
    if change is not None:
        assert change.end - change.start == pytest.approx(sum(change.within.values()) + change.mixture, abs=1e-9)


def test_pooling_adds_counts_and_tokens() -> None:
    one, two = class_sums([("right", "eos", 3)]), class_sums([("right", "eos", 5), ("wrong", "eos", 1)])
    assert pooled([one, two]) == sums(correct=(2, 8), incorrect=(1, 1))


def test_start_and_end_are_a_twentieth_of_the_steps() -> None:
    assert windows([7]) == ((7,), (7,))
    assert windows([1, 2, 3]) == ((1,), (3,))
    assert windows(range(1, 101)) == ((1, 2, 3, 4, 5), (96, 97, 98, 99, 100))


# ---- curves


def test_smoothing_narrows_at_the_start_and_not_at_the_end() -> None:
    assert smooth([0, 3, 6, 9, 3], window=3) == [0, 3, 6, 6, 6]
    assert smooth([0, 0, 6, 0, 10], window=5) == [0, 2, 3.2, 4, 16 / 3]
    assert smooth([4.0], window=9) == [4.0]
    assert [window_of(n) for n in (1, 20, 24, 100, 150, 10_000)] == [1, 1, 3, 9, 13, 51]


def test_runs_that_differ_only_in_their_seed_are_one_group(tmp_path: Path) -> None:
    rows = [[{"rollout/reward": value} for value in values] for values in ([0.0, 0.5], [0.5, 1.0], [0.9, 0.9])]
    paths = [make_run(tmp_path / f"a{i}", seed=i, metrics=each) for i, each in enumerate(rows)]
    facts = {"objective": "grpo", "objective_hash": "def"}
    other = make_run(tmp_path / "b", facts=facts, recipe={"objective.name": "grpo"})
    groups = grouped([load_run(path) for path in (*paths[::-1], other)])
    assert [group.title for group in groups] == ["dr_grpo (3 seeds)", "grpo"]
    assert [run.seed for run in groups[0].runs] == [0, 1, 2]
    series = curve(groups[0], 0, "rollout/reward")
    assert series is not None
    # Means (0 + .5 + .9)/3 and (.5 + 1 + .9)/3 = .8; deviation at step 2: sqrt((.09 + .04 + .01)/2)
    assert series.y == pytest.approx((1.4 / 3, 0.8))
    assert series.low[1] == pytest.approx(0.8 - 0.07**0.5)
    assert series.high[1] == pytest.approx(0.8 + 0.07**0.5)
    alone = curve(groups[1], 1, "rollout/reward")
    assert alone is not None
    assert (alone.y, alone.low, alone.style) == ((0.25, 0.75), (), "s1")
    assert curve(groups[1], 1, "learn/entropy") is None


def test_the_same_run_twice_is_no_spread_between_seeds(tmp_path: Path) -> None:
    runs = [load_run(make_run(tmp_path / name)) for name in ("one", "two")]
    assert [group.label for group in grouped(runs)] == ["one", "two"]


def test_a_setting_that_older_recipes_lack_separates_nothing(tmp_path: Path) -> None:
    old = make_run(tmp_path / "old")
    new = make_run(tmp_path / "new", seed=1, recipe={"verifier.reward": None, "log.project": "x", "train.threads": 2})
    assert len(grouped([load_run(old), load_run(new)])) == 1


def test_runs_are_labelled_by_what_tells_them_apart(tmp_path: Path) -> None:
    def labels(*recipes: dict[str, Any]) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        runs = [load_run(make_run(folder / f"r{i}", recipe=recipe)) for i, recipe in enumerate(recipes)]
        return [group.label for group in grouped(runs)]

    assert labels({}) == ["dr_grpo"]
    assert labels({"model.path": "models/a"}, {"model.path": "models/b/"}) == ["path a", "path b"]
    assert labels({"learner.updates": 1, "rollout.samples": 4}, {"learner.updates": 2, "rollout.samples": 8}) == [
        "updates 1, samples 4", "updates 2, samples 8",
    ]  # fmt: skip
    three = {"a.x": 1, "a.y": 1, "a.z": 1}
    assert labels(three, dict.fromkeys(three, 2)) == ["r0", "r1"]


def test_accuracy_has_the_interval_of_one_run_or_the_spread_of_several(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / f"r{i}", seed=i, evaluations={0: 0.2, 2: 0.5 + i / 5}) for i in range(2)]
    [both] = grouped([load_run(path) for path in paths])
    [one] = grouped([load_run(paths[0])])
    series = evaluation_curve(one, 0, "sums-test")
    assert series is not None
    assert (series.x, series.y) == ((0.0, 2.0), (0.2, 0.5))
    assert (series.low, series.high) == (pytest.approx((0.1, 0.4)), pytest.approx((0.3, 0.6)))
    series = evaluation_curve(both, 0, "sums-test")
    assert series is not None
    assert series.y == pytest.approx((0.2, 0.6))
    assert series.high[1] - series.y[1] == pytest.approx(0.02**0.5)  # values .5 and .7: sqrt((.01 + .01) / 1)


def test_long_runs_are_drawn_thinner_and_keep_their_ends(tmp_path: Path) -> None:
    [long] = grouped([load_run(make_run(tmp_path / "run", metrics=[{"rollout/reward": 0.5}] * 1000))])
    series = curve(long, 0, "rollout/reward")
    assert series is not None
    assert len(series.x) <= 402
    assert (series.x[0], series.x[-1]) == (1, 1000)


def test_ticks_are_round_numbers() -> None:
    assert ticks(0, 1) == (0, 0.25, 0.5, 0.75, 1)
    assert ticks(0, 64) == (0, 20, 40, 60)
    assert ticks(1, 3, whole=True) == (1, 2, 3)
    assert ticks(-1, 0) == (-1, -0.75, -0.5, -0.25, 0)


@pytest.mark.parametrize("floor", [0.0, None])
@pytest.mark.parametrize("ends", [(0.2, 0.9), (-0.2, -0.1), (2.0, 3.0), (-0.5, 1.5), (0.0, 0.0)])
def test_an_axis_of_percents_shows_what_lies_beyond_them(ends: tuple[float, float], floor: float | None) -> None:
    first, last = ends
    series = Series("a", "c0", (0.0, 1.0), ends, low=(first - 0.3, last), high=(first, last + 0.3))
    y = axes(Chart("key", "title", "", (series,), percent=True, floor=floor))[1]
    assert y.low <= first <= last <= y.high
    if ends == (0.2, 0.9):  # a band ends where there are no percents any more
        assert (y.low, y.high) == (0.0, 1.0)


def test_numbers_as_readers_like_them() -> None:
    assert [number(v) for v in (0, 0.98765, 12.345, 128, 4857.4, 1.2e6, -1, None)] == [
        "0", "0.988", "12.3", "128", "4,857", "1.2 M", "−1", "–",
    ]  # fmt: skip
    assert [percent(v) for v in (0, 0.5, 0.125, None)] == ["0\u00a0%", "50\u00a0%", "12.5\u00a0%", "–"]
    assert [signed(v) for v in (1.25, -0.5, 0.01)] == ["+1.2", "−0.5", "0.0"]


# ---- headline numbers


def test_headline_numbers_by_hand(tmp_path: Path) -> None:
    metrics = [{"rollout/reward": 0.1 * i, "bias/length": -1.0, "time/step": 2.0} for i in range(4)]
    early = [group(1, response("a", Outcome.RIGHT, 10), response("b", length=20))]
    late = [group(1, response("a", Outcome.RIGHT, 12), response("b", Outcome.RIGHT, 14))]
    path = make_run(tmp_path / "run", metrics=metrics, rollouts={1: early, 4: late}, evaluations={0: 0.2, 4: 0.5})
    rows = {row.title: row.cells[0] for row in summary.headline(grouped([load_run(path)]))}
    assert (rows["Reward"].start, rows["Reward"].end) == ("0.000", "0.300")
    assert (rows["Mean length"].start, rows["Mean length"].end) == ("15", "13")
    assert (rows["Length, correct"].start, rows["Length, correct"].end) == ("10", "13")
    assert (rows["Length, incorrect"].start, rows["Length, incorrect"].end) == ("20", "–")
    assert rows["Length bias, mean"].end == "−1.000"
    accuracy = rows["Accuracy, sums-test"]
    assert (accuracy.start, accuracy.end, accuracy.spread) == (
        "20.0\u00a0%", "50.0\u00a0%", "40.0\u00a0% to 60.0\u00a0%",
    )  # fmt: skip
    assert rows["Time"].end == "8 s"
    assert "pass@1" not in rows


def test_facts_tell_how_a_run_was_made(tmp_path: Path) -> None:
    [one] = grouped([load_run(make_run(tmp_path / "run"))])
    facts = dict(summary.facts(one))
    assert facts["Model"] == "models/tiny, 1,000 parameters"
    assert facts["Questions"] == "sums, 12 questions, 1 row left out"
    assert facts["Code"] == "r1zero 0.1.0, commit 0123456789 with uncommitted changes"
    assert facts["Started"] == "2026-01-02 03:04 UTC"
    parts, code = summary.formula(one)
    assert (parts[1], code) == ("Â_i = r_i − mean(r)", "abc123")


def test_recipes_side_by_side_mark_what_differs(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / name, recipe={"rollout.samples": n}) for name, n in (("a", 4), ("b", 8))]
    sections = dict(summary.recipes(grouped([load_run(path) for path in paths])))
    [samples] = sections["rollout"]
    assert (samples.key, samples.values, samples.differs) == ("samples", ("4", "8"), True)
    assert not any(setting.differs for setting in sections["train"])


# ---- reading what is damaged


def test_a_killed_run_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", steps=10, rollouts={1: EVERY_KIND, 2: EVERY_KIND})
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "rollout/reward": 0.5, "learn/entropy": NaN}\n[1]\n{"step": 3, "rollou')
    (path / "rollouts" / "step-000002.parquet").write_bytes(b"PAR1 torn")
    (path / "rollouts" / ".step-000003.parquet.tmp").write_bytes(b"")
    run = load_run(path)
    assert run.metrics == {1: {"rollout/reward": 0.25}, 2: {"rollout/reward": 0.5}}
    assert run.status == "stopped at step 2 of 10"
    assert run.rollout_steps == (1,)
    assert run.problems == (
        "2 lines of metrics.jsonl cannot be read; left out.",
        "Of the saved responses, step-000002.parquet cannot be read; left out.",
    )
    page = write_report([path]).page.read_text(encoding="utf-8")
    assert "stopped at step 2 of 10" in page
    assert all(problem in page for problem in run.problems)
    assert f"r1zero train {path} --resume" in page


def test_a_run_under_way_is_called_running(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", steps=10)
    with exclusive(path):
        assert load_run(path).status == "running: step 2 of 10"
    assert load_run(path).status == "stopped at step 2 of 10"
    assert load_run(make_run(tmp_path / "done")).status == "finished: 2 steps"


def test_an_empty_and_a_half_written_run_have_a_page(tmp_path: Path) -> None:
    empty = make_run(tmp_path / "empty", metrics=(), steps=5)
    page = write_report([empty]).page.read_text(encoding="utf-8")
    assert "no step logged yet (5 planned)" in page
    assert "It has saved no responses." in page
    half = tmp_path / "half"
    half.mkdir()
    (half / "run.json").write_text("{}")
    written = write_report([half])
    assert written.figures == []
    text = written.page.read_text(encoding="utf-8")
    assert "recipe.json cannot be read (it does not exist), so the recipe is not shown." in text
    assert "beside this page" not in text


def test_a_pretraining_run_has_a_page_too(tmp_path: Path) -> None:
    metrics = [{"pretrain/loss": 3.0 - i, "pretrain/tokens": 500, "time/step": 1.0} for i in range(3)]
    path = make_run(tmp_path / "run", metrics=metrics, recipe={"corpus.name": "texts.jsonl"}, steps=0)
    data = json.loads((path / "run.json").read_text())
    kept = {key: value for key, value in data.items() if not key.startswith(("objective", "questions", "template"))}
    (path / "run.json").write_text(json.dumps(kept | {"steps": 4}))
    text = write_report([path]).page.read_text(encoding="utf-8")
    assert "3 steps, 3 s; loss 3.000 → 1.000" in text
    assert f"r1zero pretrain {path} --resume" in text
    assert "stopped at step 3 of 4" in text
    assert "texts.jsonl" in text
    assert "Nothing was logged for" not in text


@pytest.mark.parametrize(
    "strange",
    [
        {"objective_formula": 3, "versions": [], "command": "x", "git_commit": 5, "started": 7, "parameters": "many"},
        {"objective": "<img src=x>", "questions": None, "questions_dropped": 4, "questions_count": "12", "threads": []},
        {"objective_formula": "\ud800 Σ_i </div>"},
    ],
)
def test_strange_facts_break_nothing(tmp_path: Path, strange: dict[str, Any]) -> None:
    path = make_run(tmp_path / "run", facts=strange, recipe={"rollout.samples": [1, {"a": None}]})
    text = write_report([path]).page.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "</div></div>\n" not in text.split("<main>")[0]


def test_a_foreign_parquet_file_is_left_out(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", rollouts={1: EVERY_KIND})
    pq.write_table(pa.table({"x": [1]}), path / "rollouts" / "step-000002.parquet")
    strange = pa.table({"outcome": ["right"], "stop": ["eos"], "length": ["long"]})
    pq.write_table(strange, path / "rollouts" / "step-000003.parquet")
    bare = pa.table({"outcome": ["right", None], "stop": ["eos", "eos"], "length": [3, 4]})
    pq.write_table(bare, path / "rollouts" / "step-000004.parquet")
    pq.write_table(bare.slice(0, 1), path / "rollouts" / "step-000005.parquet")
    run = load_run(path)
    assert run.rollout_steps == (1, 5)
    assert run.problems == (
        "Of the saved responses, step-000002.parquet, step-000003.parquet, step-000004.parquet cannot be read; "
        "left out.",
    )
    assert [step["step"] for step in embed(run).steps] == [1, 5]
    write_report([path])


def test_columns_of_other_types_are_left_out(tmp_path: Path) -> None:
    strange = {
        "response": pa.int64(), "prompt": pa.binary(), "gold": pa.int64(), "sample": pa.string(),
        "logprobs": pa.string(), "extracted": pa.int64(), "rule": pa.list_(pa.int64()), "level": pa.list_(pa.int64()),
        "reward": pa.string(),
    }  # fmt: skip
    path = make_run(tmp_path / "run", rollouts=dict.fromkeys(range(1, len(strange) + 4), EVERY_KIND))
    for step, (name, kind) in enumerate([*strange.items(), ("sample", None), ("logprobs", None)], start=1):
        file = path / "rollouts" / f"step-{step:06d}.parquet"
        table = pq.read_table(file)
        if kind is None:  # of the right type, and empty
            kind, values = table.schema.field(name).type, [None] * table.num_rows
        else:
            kept = [b"1"] if kind == pa.binary() else ["1"] if kind == pa.string() else [[1]]
            values = (kept if kind != pa.int64() else [1]) * table.num_rows
        place = table.schema.get_field_index(name)
        pq.write_table(table.set_column(place, name, pa.array(values, type=kind)), file)
    last = path / "rollouts" / "step-000012.parquet"
    pq.write_table(pq.read_table(last).slice(0, 0), last)
    problems: list[str] = []
    run = load_run(path)
    assert run.problems == ("Of the saved responses, step-000012.parquet cannot be read; left out.",)
    assert [step["step"] for step in embed(run, problems=problems).steps] == [10, 11]
    assert [text.partition(" (")[0] for text in problems] == [
        f"The responses of step {step} cannot be read" for step in range(1, len(strange) + 1)
    ]
    write_report([path])


@pytest.mark.parametrize(
    "line",
    ['{"step": 2, "rollout/reward": 1' + "0" * 400 + "}", '{"step": 2, "rollout/reward": 1e308}',
     '{"step": 123456789012345, "rollout/reward": 1}', '{"step": 2, "x": ' + "[" * 5000 + "]" * 5000 + "}",
     '{"step": -1, "rollout/reward": 1}'],
    ids=["huge", "large", "late", "deep", "negative"],
)  # fmt: skip
def test_numbers_that_no_chart_could_show_are_left_out(tmp_path: Path, line: str) -> None:
    path = make_run(tmp_path / "run")
    with (path / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    run = load_run(path)
    assert run.metrics[1] == {"rollout/reward": 0.25}
    assert max(run.metrics) == 2
    write_report([path])


def test_the_papers_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "paper.json").write_text("{}")
    with pytest.raises(UserError, match="holds the paper's runs: add --paper"):
        find_runs([tmp_path])


def test_no_run_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    def refused(*paths: Path) -> str:
        with pytest.raises(UserError) as caught:
            write_report(list(paths), tmp_path / "page.html")
        assert not (tmp_path / "page.html").exists()
        return str(caught.value)

    assert refused() == ("r1zero report needs a run: give the path of a run directory, or of a folder that holds some.")
    assert refused(tmp_path / "no") == f"There is nothing at {tmp_path}/no; give the path of a run directory."
    (tmp_path / "foreign").mkdir()
    assert "is not a run directory (it has no run.json)" in refused(tmp_path / "foreign")
    (tmp_path / "foreign" / "metrics.jsonl").touch()
    assert "has lost its run.json" in refused(tmp_path / "foreign")
    torn = make_run(tmp_path / "torn")
    (torn / "run.json").write_text('{"a": ')
    assert refused(torn).startswith(f"{torn}/run.json cannot be read (")
    assert refused(torn).endswith("restore that file, or leave this run out of the report.")
    (torn / "run.json").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(torn)


def test_a_folder_of_runs_stands_for_them_and_each_counts_once(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    (tmp_path / "base").mkdir()
    assert find_runs([tmp_path]) == [a, b]
    assert find_runs([b, tmp_path, a / ".." / "a"]) == [b, a]


def test_where_the_page_goes(tmp_path: Path) -> None:
    a, b, c = (make_run(tmp_path / name) for name in ("x/a", "x/b", "y/c"))
    assert destination([a], None) == a / "report.html"
    assert destination([a, b], None) == tmp_path / "x" / "report.html"
    assert destination([a, c], None) == tmp_path / "report.html"
    assert destination([a], tmp_path / "new" / "page.HTML") == tmp_path / "new" / "page.HTML"
    assert destination([a], tmp_path / "new") == tmp_path / "new" / "report.html"
    with pytest.raises(UserError, match=r"is a file, and no \.html one"):
        destination([a], a / "run.json")


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(UserError, match=r"cannot be written \(.*choose another place with --out"):
        write_report([run], run / "run.json" / "page.html")


# ---- responses


def test_the_extracted_answer_is_found_in_the_response() -> None:
    def marked(text: str, extracted: str | None) -> str | None:
        span = answer_span(text, extracted)
        return None if span is None else f"{text[: span[0]]}[{text[slice(*span)]}]{text[span[1] :]}"

    assert marked("42 is \\boxed{42}, not 42", "42") == "42 is \\boxed{[42]}, not 42"
    assert marked("4 and 14 and 4", "4") == "4 and 14 and [4]"
    assert marked("14.5 or 4, then 414", "4") == "14.5 or [4], then 414"
    assert marked("<answer> x+1 </answer>", "x+1") == "<answer> [x+1] </answer>"
    assert marked("in all 1,234 eggs", "1234") == "in all [1,234] eggs"
    assert marked("so $\\frac{1}{2}$", "1/2") == "so $[\\frac{1}{2}]$"
    assert marked("it is \u22125", "-5") == "it is [\u22125]"
    assert marked("is 7<|im_end|>\nUser: 7", "7") == "is [7]<|im_end|>\nUser: 7"
    assert marked("nothing here", "7") is None
    assert marked("nothing here", None) is None


def test_offsets_are_counted_as_browsers_count() -> None:
    assert utf16("a\U0001f600b", 2) == 3
    assert utf16("äb", 1) == 1
    row = embed_one("\U0001f600\U0001f600 recheck \\boxed{42}")
    assert row[11] == [20, 22]  # in UTF-16 units; in characters it is 18
    assert row[12] == [[5, 12]]


def embed_one(text: str) -> list[Any]:
    from r1zero.report.data.responses import _row

    verdict = {"outcome": "right", "extracted": "42", "rule": "number", "reward": 1.0, "advantage": float("nan")}
    return _row({"sample": 0, "response": text, "stop": "eos", "length": 3, "logprobs": [-1.0, -2.0, -3.0], **verdict})


def test_a_response_as_the_page_gets_it() -> None:
    row = embed_one("\\boxed{42}")
    assert row[:5] == [0, "\\boxed{42}", 0, "right", "eos"]
    assert row[5:9] == [3, 1.0, None, 2.0]  # length, reward, no advantage, (1 + 2 + 3)/3 nats a token
    assert row[9:] == ["42", "number", [7, 9], [], "5af"]  # five digits to a nat, to the base of 36


def test_keywords_are_the_papers() -> None:
    text = "Let me RE-EVALUATE, then recheck. Wait, try again: think again; reevaluation"
    assert [text[a:b] for a, b in embed_one(text)[12]] == ["RE-EVALUATE", "recheck", "think again", "reevaluation"]
    assert embed_one("wait, let us see")[12] == []


def test_surprisal_is_drawn_in_at_most_96_bars() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.0, -7.0, -100.0, -0.2, float("-inf")]) == "0zz1z"
    assert len(sparkline([-1.0] * 1000)) == 96
    assert set(sparkline([-1.0] * 1000)) == {"5"}


def test_evenly_spaced() -> None:
    assert spaced(range(5), 9) == [0, 1, 2, 3, 4]
    assert spaced(range(100), 4) == [0, 33, 66, 99]
    assert spaced(range(100), 1) == [0]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    batch = [group(n, response("x", length=1), response("y", length=2)) for n in range(10)]
    run = load_run(make_run(tmp_path / "run", rollouts=dict.fromkeys(range(1, 25), batch)))
    whole = embed(run)
    assert [step["step"] for step in whole.steps] == [1, 3, 5, 7, 9, 11, 14, 16, 18, 20, 22, 24]
    assert whole.sentence == "240 of 480 saved responses: 12 of 24 saved steps, evenly spaced, all questions of each."
    some = embed(run, share=0.012)  # 4 responses a step: 2 of its 10 questions, the first and the last
    assert [g["q"] for g in some.steps[0]["groups"]] == ["sums/0", "sums/9"]
    assert some.sentence == (
        "48 of 480 saved responses: 12 of 24 saved steps, evenly spaced, 24 of their 120 questions with all responses."
    )
    assert embed(load_run(make_run(tmp_path / "none"))).sentence == "It has saved no responses."


def test_responses_of_evaluations_follow_those_of_training(tmp_path: Path) -> None:
    one = [group(n, response(f"greedy {n}")) for n in range(3)]
    path = make_run(tmp_path / "run", rollouts={1: EVERY_KIND}, evaluated=dict.fromkeys((0, 10, 20, 30, 40, 50), one))
    run = load_run(path)
    embedded = embed(run)
    assert [(step["step"], step["set"]) for step in embedded.steps] == [
        (1, ""), (0, "sums-test"), (20, "sums-test"), (30, "sums-test"), (50, "sums-test"),
    ]  # fmt: skip
    [row] = embedded.steps[1]["groups"][2]["rows"]
    assert row[1] == "greedy 2"
    assert row[7] is None  # an evaluation has no advantages
    assert (embedded.shown, embedded.saved) == (20, 26)
    assert embedded.sentence == (
        "All 8 saved responses of 1 step. Of evaluations: 12 of 18 saved responses: 4 of 6 saved files, evenly "
        "spaced, all questions of each."
    )


def test_an_evaluation_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", evaluated={0: [group(1, response("x"))]})
    saved = path / "evaluations" / "step-000000" / "sums-test.parquet"
    for name in ("torn", "foreign"):
        (path / "evaluations" / name).mkdir()
    for step, content in ((1, saved.read_bytes()[:-100]), (2, b"")):
        folder = path / "evaluations" / f"step-{step:06d}"
        folder.mkdir()
        (folder / "sums-test.parquet").write_bytes(content)
    (path / "evaluations" / "step-000003").mkdir()
    pq.write_table(pa.table({"x": [1]}), path / "evaluations" / "step-000003" / "other.parquet")
    problems: list[str] = []
    embedded = embed(load_run(path), problems=problems)
    assert [step["step"] for step in embedded.steps] == [0]
    assert problems == [
        "Of the saved evaluations, step-000001/sums-test.parquet, step-000002/sums-test.parquet, "
        "step-000003/other.parquet cannot be read; left out."
    ]
    assert embedded.sentence == "Of evaluations: all 1 saved response of 1 file."
    write_report([path])


def test_the_middle_of_an_endless_response_is_left_out(tmp_path: Path) -> None:
    long = "a" * 50_000 + "\\boxed{42}"
    run = load_run(make_run(tmp_path / "run", rollouts={1: [group(1, response(long, Outcome.RIGHT, extracted="42"))]}))
    embedded = embed(run)
    row = embedded.steps[0]["groups"][0]["rows"][0]
    assert len(row[1]) < LONGEST + 100
    assert "[… 34,010 characters left out …]" in row[1]
    assert row[1][slice(*row[11])] == "42"
    assert embedded.sentence.endswith("the middle of 1 response longer than 16,000 characters is left out.")


# ---- the page


class Outline(HTMLParser):
    """Every start tag with its attributes, and what scripts hold, as a browser would see them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("a", 0), ("b", 1)):
        make_run(folder / name, seed=seed, rollouts={1: EVERY_KIND, 2: EVERY_KIND}, evaluations={0: 0.3, 2: 0.5})
    return render(grouped([load_run(path) for path in find_runs([folder])]))


def test_hostile_responses_stay_text(page: str) -> None:
    outline = Outline(page)
    assert [tag for tag, _ in outline.tags].count("script") == 3
    assert not any(tag == "img" or any(name.startswith("on") for name in attrs) for tag, attrs in outline.tags)
    data = json.loads(outline.scripts[1])
    texts = [row[1] for run in data["runs"] for s in run["steps"] for g in s["groups"] for row in g["rows"]]
    assert texts.count(HOSTILE) == 4
    assert "שלום \\boxed{42}" in texts
    assert "\u2028" not in page
    assert data["rules"]["number"] == "number (two plain numbers, compared exactly)"


@given(st.text())
def test_any_text_comes_back_from_a_script_element(text: str) -> None:
    safe = script_json({"text": text})
    assert not re.search(r"[<>&\u2028\u2029]", safe)
    assert json.loads(safe) == {"text": text}


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    for tag, attributes in Outline(page).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form") or attributes.get("action") is None
        for name in ("src", "href", "srcset", "data", "poster", "xlink:href"):
            address = attributes.get(name)
            assert address is None or address == "data:," or address.startswith("#"), (tag, address)
    assert "@import" not in page
    assert set(re.findall(r"url\(([^)]*)\)", page)) == {"#hatch", "#dots"}
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in page
    assert set(re.findall(r"https?://[^\"' )]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_a_page_is_small(page: str) -> None:
    assert len(page.encode()) < 300_000


def test_every_chart_is_described_in_words(page: str) -> None:
    drawn = [attributes for _, attributes in Outline(page).tags if attributes.get("class") == "chart"]
    assert len(drawn) >= 5
    assert all(attributes["role"] == "img" and len(str(attributes["aria-label"])) > 20 for attributes in drawn)
    assert "Reward. dr_grpo (2 seeds): 25\u00a0% at step 1, 75\u00a0% at step 2" in page


def test_a_real_run_reports_everything(tmp_path: Path) -> None:
    run = trained()
    written = write_report([run.path], tmp_path / "out" / "tiny.html")
    text = written.page.read_text(encoding="utf-8")
    assert written.size == written.page.stat().st_size < 500_000
    assert text.startswith("\n<!doctype html>") or text.lstrip().startswith("<!doctype html>")
    assert run.facts["objective_hash"] in text
    assert "All 48 saved responses of 3 steps." in text
    data = load_run(run.path)
    assert not data.problems
    assert sorted(path.name for path in written.figures) == sorted(
        f"{name}{suffix}" for name in ("learning", "lengths", "health", "length-change", *bias_if_any(data))
        for suffix in (".png", ".svg")
    )  # fmt: skip
    assert all(path.read_bytes().startswith(PNG if path.suffix == ".png" else b"<?xml") for path in written.figures)
    assert written.figures[0].parent == tmp_path / "out" / "tiny-figures"
    # what the report counts is what training logged
    for step, row in data.metrics.items():
        lengths = mean_lengths(data.lengths[step])
        assert lengths["correct"] == pytest.approx(row.get("rollout/length_correct"))
        assert lengths["incorrect"] == pytest.approx(row.get("rollout/length_incorrect"))
        assert shares(data.lengths[step])["truncated"] == pytest.approx(row["rollout/truncated"])


def bias_if_any(data: Any) -> tuple[str, ...]:
    return ("bias",) if any(key.startswith("bias/") for row in data.metrics.values() for key in row) else ()


def test_the_command_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "[red] run", rollouts={1: EVERY_KIND})
    done = start("report", run)
    assert (done.wait(), done.err) == (0, "")
    size = round((run / "report.html").stat().st_size / 1000)
    assert done.out.splitlines() == [
        f"report: {run}/report.html ({size} kB)", f"figures: {run}/report-figures (PNG and SVG)",
    ]  # fmt: skip
    done = start("report", tmp_path / "nowhere")
    assert (done.wait(), done.out) == (2, "")
    assert done.err == f"r1zero: There is nothing at {tmp_path}/nowhere; give the path of a run directory.\n"


NAMED: tuple[dict[str, float], ...] = (
    {"rollout/reward": 0.25, "source/sums/share": 0.75, "source/sums/reward": 0.5, "source/sums/length": 8.0,
     "source/a/b <i>/share": 0.25, "source/a/b <i>/reward": -0.5, "source/sums/epoch": 0.5,
     "reward/verify": 0.5, "reward/overlong": -0.25, "reward/overlong/ungraded": 1.0, "reward/verify.digits": 2.0},
    {"rollout/reward": 0.75, "source/sums/share": 1.0, "source/sums/reward": 1.0, "source/sums/length": 6.0,
     "source/a/b <i>/share": 0.0, "source/sums/epoch": 1.0, "reward/verify": 1.0, "reward/overlong": -0.75},
)  # fmt: skip
"""Two steps of a mixture of two sources, one of a hostile name and asked nothing in the second, under two rewards."""


def curves_of(chart: Chart) -> dict[str, tuple[str, tuple[float, ...], tuple[float, ...]]]:
    return {series.label: (series.style, series.x, series.y) for series in chart.series}


def test_sources_and_parts_of_the_reward_stand_beside_each_other(tmp_path: Path) -> None:
    groups = grouped([load_run(make_run(tmp_path / "run", metrics=NAMED))])
    drawn = {chart.title: curves_of(chart) for chart in (*by_name.of_reward(groups), *by_name.by_source(groups))}
    assert drawn == {
        "Parts of the reward": {
            "verify": ("s0", (1.0, 2.0), (0.5, 1.0)), "overlong": ("s1", (1.0, 2.0), (-0.25, -0.75)),
        },
        "Share of the groups": {
            "sums": ("s0", (1.0, 2.0), (0.75, 1.0)), "a/b <i>": ("s1", (1.0, 2.0), (0.25, 0.0)),
        },
        "Reward": {"sums": ("s0", (1.0, 2.0), (0.5, 1.0)), "a/b <i>": ("s1", (1.0,), (-0.5,))},
        "Length of responses (sums)": {"sums": ("s0", (1.0, 2.0), (8.0, 6.0))},
    }  # fmt: skip
    assert [chart.percent for chart in by_name.by_source(groups)] == [True, False, False]  # the reward is a sum
    others = [chart.title for chart in charts.others(groups)]
    assert others == ["reward/overlong/ungraded", "reward/verify.digits", "source/sums/epoch"]
    text = render(groups)
    assert 'id="rewards"' in text
    assert 'id="sources"' in text
    assert "<i>" not in text
    assert "a/b &lt;i&gt;" in text


def test_names_look_alike_in_the_panels_of_several_runs(tmp_path: Path) -> None:
    turned = [dict(reversed(row.items())) for row in NAMED]
    runs = [
        make_run(tmp_path / "one", metrics=NAMED),
        make_run(tmp_path / "two", metrics=turned, recipe={"train.x": 1}),
    ]
    parts = by_name.of_reward(groups := grouped([load_run(run) for run in runs]))
    assert [chart.title.partition(": ")[0] for chart in parts] == ["Parts of the reward"] * 2
    assert len({chart.title for chart in parts}) == len({chart.key for chart in parts}) == 2
    assert curves_of(parts[0]) == curves_of(parts[1])
    written = write_report(runs, tmp_path / "out")
    assert {"rewards.png", "sources.svg"} <= {path.name for path in written.figures}
    assert len(by_name.by_source(groups)) == 6


def test_a_run_of_one_set_and_one_reward_has_no_such_panels(tmp_path: Path) -> None:
    groups = grouped([load_run(make_run(tmp_path / "run"))])
    assert by_name.by_source(groups) == by_name.of_reward(groups) == []
    text = render(groups)
    assert 'id="rewards"' not in text
    assert 'id="sources"' not in text


def test_every_panel_that_the_issue_asks_for() -> None:
    every = (*charts.LEARNING, *charts.LENGTHS, *charts.HEALTH, *charts.BIAS)
    titles = {title for _, title, _ in every}
    assert {"Reward", "pass@1", "pass@G", "Dead groups", "Entropy", "Gradient norm", "Speed", "Truncated share",
            "Length of correct responses", "Length of incorrect responses", "Length of truncated responses",
            "Length bias", "Difficulty bias"} <= titles  # fmt: skip
