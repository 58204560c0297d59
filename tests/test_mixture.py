"""Mixtures: shares by weight, epochs of their own, the same order after a kill, and no number without its source."""

import json
from math import comb
from pathlib import Path
from typing import Any

import datasets
import pytest

from r1zero.config import Recipe, make_recipe, parse_overrides
from r1zero.errors import UserError
from r1zero.metrics import Tally, metric_of, source_key
from r1zero.questions import questions_from
from r1zero.rollouts.mixture import MixedStream, make_stream, mixed
from r1zero.rollouts.question_sets import check_training, fit_notes, load_training
from r1zero.runs.run import Run
from r1zero.templates import get_template
from r1zero.training.train import train
from tiny_runs import Hold, start, tiny_recipe, untimed

SOURCES: list[dict[str, Any]] = [{"name": "a", "weight": 3, "where": "level >= 3"}, {"name": "b"}]


def recipe(questions: object, *overrides: str) -> Recipe:
    data = {"model": {"path": "m"}, "train": {"steps": 1}, "questions": questions}
    return make_recipe(data, parse_overrides(list(overrides)))


def stream(seed: int = 0) -> MixedStream:
    rows = [{"question": f"{i}", "answer": i, "level": i % 5} for i in range(20)]
    sets = questions_from(rows, name="a", where="level >= 3"), questions_from(rows[:7], name="b")
    asked = recipe(SOURCES, "--train.seed", str(seed))
    made = make_stream(asked, mixed(sets), get_template("no"), lambda text: tuple(map(ord, text)), None)
    assert isinstance(made, MixedStream)
    return made


def within(count: int, n: int, share: float, odds: float = 1e-6) -> bool:
    """Whether so many of n are within what draws by chance give but for these odds, on either side."""
    chances = [comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    return min(sum(chances[: count + 1]), sum(chances[count:])) >= odds


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [4, 16, 100, 1000])
def test_shares_follow_the_weights(n: int, seed: int) -> None:
    sources = [prompt.question.source for prompt in stream(seed).next(n)]
    assert within(sources.count("a"), n, 0.75)
    assert abs(sources.count("a") - 0.75 * n) <= 3  # much nearer than √n
    assert all(prompt.question.level in ("3", "4") for prompt in stream(seed).next(n) if prompt.question.source == "a")


def test_the_schedule_is_a_function_of_seed_and_position() -> None:
    dealer, other = stream(), stream(seed=1)
    order = [dealer.source_at(i) for i in range(60)]
    assert order == [stream().source_at(i) for i in range(60)]
    assert order != [other.source_at(i) for i in range(60)]
    assert ["ab"[i] for i in order] == [prompt.question.source for prompt in dealer.next(60)]


def test_every_source_has_epochs_of_its_own() -> None:
    prompts = stream().next(64)
    for source, size in (("a", 8), ("b", 7)):
        own = [prompt.key for prompt in prompts if prompt.question.source == source]
        assert len({key.partition(":")[2] for key in own[:size]}) == size  # a whole pass
        assert {key.split(":")[0] for key in own[:size]} == {"0"}
    assert len({prompt.key for prompt in prompts}) == 64


def test_a_restored_mixture_goes_on() -> None:
    whole = [prompt.key for prompt in stream().next(50)]
    first, second = stream(), stream()
    assert [p.key for p in first.peek(9)] == whole[:9]
    assert [p.key for p in (*first.next(4), *first.next(9))] == whole[:13]
    second.restore(json.loads(json.dumps(first.state())))
    assert [p.key for p in second.next(37)] == whole[13:]


# ---- recipes


def test_forms_of_a_mixture() -> None:
    short = recipe(SOURCES)
    assert short == recipe({"sources": SOURCES})
    assert [each.name for each in short.questions.each] == ["a", "b"]
    assert recipe({"name": "a"}).questions.each == (recipe({"name": "a"}).questions,)
    longer = [{**SOURCES[0], "max_prompt_tokens": 4000}, SOURCES[1]]
    assert recipe({"max_prompt_tokens": 100, "sources": longer}).questions.longest_prompt == 4000
    assert recipe(SOURCES, "--questions.max_prompt_tokens", "7").questions.longest_prompt == 7
    changed = recipe(SOURCES, "--questions.sources.1.limit", "5", "--questions.data_dir", "d").questions
    assert changed.sources
    assert ([each.limit for each in changed.sources], changed.data_dir) == ([None, 5], "d")
    assert make_recipe(json.loads(short.model_dump_json())) == short


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (
            "questions.sources.7.limit",
            r"names none of the 2 tables of questions\.sources, which are counted from 0: write "
            r"questions\.sources\.0\.KEY to questions\.sources\.1\.KEY, or the whole list",
        ),
        ("questions.sources.limit", r"questions\.sources\.limit names none of the 2 tables"),
        ("questions.sources.1", r"questions\.sources\.1 names none of the 2 tables"),
        ("reward.0.weight", r"reward\.0\.weight names a table of reward, and the recipe has none: write \[\[reward\]"),
    ],
)
def test_a_table_that_is_not_in_a_list_is_told(key: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe(SOURCES, f"--{key}", "5")


@pytest.mark.parametrize(
    ("questions", "override", "says"),
    [
        (
            SOURCES,
            ["--questions.limit", "5"],
            r"questions\.limit = 5 is of one set, .* mixes 2: .*questions\.sources\.0\.",
        ),
        (SOURCES, ["--questions.where", "level > 1"], r"questions\.where = 'level > 1' is of one set"),
        (SOURCES, ["--questions.options", "{ level = 1 }"], r"questions\.options = {'level': 1} is of one set"),
        (SOURCES, ["--questions.name", "z"], r"questions\.name = 'z' is of one set"),
        ([{"name": "a", "weight": 0}], [], r"questions\.sources\.0\.weight = 0"),
        ([{"limit": 1}], [], r"lacks the setting 'questions\.sources\.0\.name'"),
        ([{"name": "a", "wheight": 2}], [], r"unknown setting .*did you mean 'questions\.sources\.0\.weight'"),
    ],
)
def test_contradictions_are_refused(questions: object, override: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        recipe(questions, *override)


def write_rows(path: Path, count: int) -> str:
    rows = [{"question": f"{i}+{i % 3}=", "answer": i + i % 3, "level": i % 5} for i in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_sources_of_one_name_are_told_apart_and_faults_name_the_source(tmp_path: Path) -> None:
    one, two = write_rows(tmp_path / "x" / "sums.jsonl", 9), write_rows(tmp_path / "y" / "sums.jsonl", 6)
    twice = {"name": "arithmetic", "options": {"count": 3}}
    found = load_training(recipe([{"name": one}, {"name": two}, {"name": one, "where": "level == 1"}, twice, twice]))
    assert [part.name for part in found.parts] == ["x/sums", "y/sums", "x/sums#2", "arithmetic", "arithmetic#2"]
    assert len({question.id for question in found}) == len(found) == 9 + 6 + 2 + 6
    assert found.dropped == {"not where level == 1": 7}
    with pytest.raises(UserError, match=r"questions\.sources\.1\.where = 'lvl' reads the column 'lvl'"):
        load_training(recipe([{"name": one}, {"name": two, "where": "lvl"}]))


def test_three_sources_of_one_name_have_three_names_split_or_not(tmp_path: Path) -> None:
    """Names are parts of ids: `#2`, `#3`; a file that is called so already keeps its own."""
    table = datasets.Dataset.from_list([{"question": "a?", "answer": 1}, {"question": "b?", "answer": 2}])
    datasets.DatasetDict(train=table, test=table).save_to_disk(tmp_path / "both")
    saved = {"name": str(tmp_path / "both"), "split": "train"}
    found = load_training(recipe([saved] * 3))
    assert [part.name for part in found.parts] == ["both:train", "both#2:train", "both#3:train"]
    assert len({question.id for question in found}) == 6
    files = [{"name": write_rows(tmp_path / name, 2)} for name in ("a#2.jsonl", "a.jsonl")]
    again = load_training(recipe([*files, files[1], files[1]]))
    assert [part.name for part in again.parts] == ["a#2", "a", "a#3", "a#4"]
    gone_on = load_training(recipe([*files, files[1], files[1]]), called=["x", "x", None, None])
    assert [part.name for part in gone_on.parts] == ["x", "x", "a", "a#2"]  # as a run calls them already


def test_a_source_is_looked_for_in_its_own_folder_first(tmp_path: Path) -> None:
    for folder in ("own", "run"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "q.jsonl").write_text(json.dumps({"question": folder, "answer": 1}) + "\n")
    sources = [{"name": "q.jsonl", "data_dir": str(tmp_path / "own")}, {"name": "q.jsonl"}]
    found = load_training(recipe(sources, "--questions.data_dir", str(tmp_path / "run")))
    assert len(load_training(recipe([{"name": write_rows(tmp_path / "nine.jsonl", 9), "limit": 2}]))) == 2
    assert [question.text for question in found] == ["own", "run"]


def rows(*texts: str) -> list[dict[str, Any]]:
    return [{"question": text, "answer": 1} for text in texts]


def test_a_mixture_is_one_set_that_knows_its_parts() -> None:
    one = questions_from([*rows("a", "b"), {"question": "c"}], name="one")
    two = questions_from([*rows("d"), {"question": "e"}, {"messages": [{"role": "user", "content": "f"},
                          {"role": "assistant", "content": "1"}], "answer": 1}], name="two")  # fmt: skip
    both, dropped = mixed([one, two]), {"no answer": 2, "no question": 1}
    assert (both.name, both.source, both.dropped) == ("one + two", "the rows given; the rows given", dropped)
    assert [q.text for q in both] == [both[i].text for i in range(3)] == [q.text for q in both[:]] == ["a", "b", "d"]
    assert ([q.text for q in both[1:]], both[-1].text, both[-3].text) == (["b", "d"], "d", "a")
    for outside in (3, -4):
        with pytest.raises(IndexError):
            both[outside]
    assert both.fingerprint != mixed([two, one]).fingerprint
    bytes_ = questions_from([{**rows("x")[0], "image": b"1"}], name="bytes")
    assert mixed([one, bytes_]).notes == bytes_.notes != ()


def test_sources_have_their_own_order_bound_and_count_of_what_is_passed_over() -> None:
    """Equal sets are dealt in different orders; questions of 1 and 2 characters, of which the first source takes 1."""
    texts = [str(i) for i in range(20)]
    sets = [questions_from(rows(*texts), name=name) for name in "ab"]
    sources = [{"name": "a", "max_prompt_tokens": 1}, {"name": "b"}]
    made = [
        make_stream(recipe(asked), mixed(sets), get_template("no"), lambda text: tuple(map(ord, text)), None)
        for asked in (sources, [{"name": "a"}, {"name": "b"}])
    ]
    short, plain = made
    (told,) = fit_notes(recipe(sources), None, mixed(sets), get_template("no"), lambda text: tuple(map(ord, text)))
    assert told.startswith("a: 10 questions passed over, whose prompts are longer than questions.sources.0.max_prompt_")
    assert isinstance(short, MixedStream)
    assert isinstance(plain, MixedStream)
    assert (short.max_tokens, short.names) == (1024, ["a", "b"])
    prompts = short.next(10)
    assert max(len(p.ids) for p in prompts if p.question.source == "a") == 1
    passed = short.streams[0]
    assert short.dropped == passed.dropped > 0 == short.streams[1].dropped
    tight = make_stream(
        recipe([{**each, "max_prompt_tokens": 1} for each in sources]), mixed(sets), get_template("no"),
        lambda text: tuple(map(ord, text)), None,
    )  # fmt: skip
    assert isinstance(tight, MixedStream)
    tight.next(10)
    assert tight.dropped == sum(each.dropped for each in tight.streams)
    assert min(each.dropped for each in tight.streams) > 0
    assert short.epoch == pytest.approx((passed.position + short.streams[1].position) / 40)
    tally = Tally()
    short.observe(tally)
    assert tally.result()["source/a/prompts_dropped"] == passed.dropped
    long = mixed([questions_from(rows("aaa"), name="a"), sets[1]])
    for asked, setting in ((sources, r"sources\.0\.max_prompt_tokens = 1"), (sources[1:] * 2, "max_prompt_tokens = 2")):
        again = recipe(asked, "--questions.max_prompt_tokens", "2")
        with pytest.raises(UserError, match=rf"No prompt of a fits into questions\.{setting}; raise it"):
            make_stream(again, long, get_template("no"), lambda text: tuple(map(ord, text)), None).next(9)
    whole = plain.next(40)
    orders = [[p.question.text for p in whole if p.question.source == name][:15] for name in "ab"]
    assert orders[0] != orders[1]
    assert plain.epoch == 1.0


def test_every_source_is_looked_for_in_its_own_folder_before_a_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jsonl").write_text('{"question": "1+1=", "answer": "2"}\n')
    own = {"name": "x.jsonl", "data_dir": str(tmp_path / "a")}
    check_training(recipe([own]).questions)
    check_training(
        recipe({"data_dir": str(tmp_path / "a"), "sources": [{"name": "x.jsonl"}, {"name": "arithmetic"}]}).questions
    )
    check_training(recipe({"data_dir": str(tmp_path), "sources": [own]}).questions)
    for second, says in (
        ({"name": "x.jsonl"}, r"questions\.sources\.1\.name is 'x\.jsonl', which is neither"),
        ({"name": "arithmetic", "options": {"lvl": 1}}, r"questions\.sources\.1\.options\.lvl is unknown"),
        (own | {"where": "level >"}, r"questions\.sources\.1\.where = 'level >' is not a valid filter"),
    ):
        with pytest.raises(UserError, match=says):
            check_training(recipe([own, second]).questions)
    with pytest.raises(UserError, match=r"^questions\.name is 'x\.jsonl', which is neither"):
        check_training(recipe({"name": "x.jsonl"}).questions)


def test_metrics_of_sources_do_not_collide() -> None:
    tally = Tally()
    for name in ("owner/reward", "reward", "a/source/b"):
        tally.add(source_key(name, "reward"), 3.0, 4)
    assert tally.result() == {f"source/{name}/reward": 0.75 for name in ("owner/reward", "reward", "a/source/b")}
    with pytest.raises(KeyError):
        metric_of("source/a/nothing")
    with pytest.raises(KeyError):
        metric_of("source/reward")


# ---- a real run, killed and gone on with


@pytest.mark.slow
def test_a_killed_mixture_goes_on_in_the_same_order(tmp_path: Path) -> None:
    one, two = write_rows(tmp_path / "one.jsonl", 30), write_rows(tmp_path / "two.jsonl", 9)
    sources = [{"name": one, "weight": 3, "where": "level >= 3"}, {"name": two}]
    changes = {"questions": {"sources": sources}, "evaluation.benchmarks": (), "train.steps": 6, "rollout.prompts": 4}
    whole = train(tiny_recipe(changes), tmp_path / "whole")
    text = json.loads(tiny_recipe(changes).model_dump_json())
    (tmp_path / "mix.json").write_text(json.dumps(text))
    hold = Hold("r1zero.runs.run:Run.log", call=5)
    killed = start("train", tmp_path / "mix.json", "--out", tmp_path / "killed", hold=hold)
    killed.held()
    killed.kill()
    start("train", tmp_path / "killed", "--resume").done()
    run = Run.open(tmp_path / "killed")
    assert untimed(run.read("metrics")) == untimed(whole.read("metrics"))
    asked = [[row["question_id"] for s in range(1, 7) for row in each.responses(s)] for each in (run, whole)]
    assert asked[0] == asked[1]
    groups = asked[0][::4]  # of four samples each
    assert within(sum(question.startswith("one/") for question in groups), len(groups), 0.75)
    (first, second) = run.facts["sources"]
    assert (first["name"], first["count"], first["dropped"]) == ("one", 12, {"not where level >= 3": 18})
    assert (second["name"], second["count"], second["dropped"]) == ("two", 9, {})
    row = run.read("metrics")[-1]
    assert row["source/one/share"] + row["source/two/share"] == pytest.approx(1)
    assert {"source/one/reward", "source/two/epoch", "source/one/length"} <= row.keys()
