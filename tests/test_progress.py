"""What is shown: one line a step, a line that counts responses, and names that look like markup shown as they are."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from r1zero.cli.console import plain_table, response_counter
from r1zero.evaluation import SetResult
from r1zero.evaluation.tables import details
from r1zero.training.progress import RichView, step_line
from r1zero.training.setup import set_up
from r1zero.types import Completion, Stop
from tiny_runs import random_model, tiny_recipe

NUMBERS = {
    "rollout/reward": 0.25,
    "rollout/length_correct": 12.4,
    "rollout/truncated": 0.5,
    "rollout/dead_groups": 0.125,
    "rollout/ungraded": 0,
    "rollout/timeouts": 0,
    "speed/tokens_per_second": 1234.5,
    "time/step": 2.04,
}
RESULT = SetResult(
    "[red]set",
    4,
    4,
    1,
    0.5,
    0.25,
    0.75,
    0.25,
    8.0,
    6.0,
    None,
    0.25,
    0.0,
    1.0,
    0,
    {"right": 0.5},
    {},
    None,
    {},
    2.0,
    100,
)


def paper(terminal: bool = False) -> Console:
    """A console that writes into memory."""
    return Console(file=io.StringIO(), width=400, force_terminal=terminal, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_line_of_a_step() -> None:
    assert step_line(7, NUMBERS) == (
        "step    7  reward 0.250  length right/wrong 12/-  truncated 50%  dead groups 12%  1,234 tok/s  2.0 s"
    )


def test_what_nobody_could_grade_stands_at_the_end_of_the_line() -> None:
    plain = step_line(7, NUMBERS)
    assert step_line(7, NUMBERS | {"rollout/ungraded": 2}) == f"{plain}  ungraded 2, timed out 0"
    assert step_line(7, NUMBERS | {"rollout/timeouts": 3}) == f"{plain}  ungraded 0, timed out 3"


def test_a_step_in_which_nothing_was_graded_has_no_reward() -> None:
    numbers = {key: value for key, value in NUMBERS.items() if key != "rollout/reward"}
    assert "  reward nan  " in step_line(7, numbers | {"rollout/ungraded": 16})


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    console, out = paper(), tmp_path / "[bold]run[/]"
    with set_up(tiny_recipe({"train.steps": 0}, random_model()), out, resume=False) as parts:
        parts = replace(parts, notes=("[red]note[/red] of [nothing]",))
        with RichView(console) as view:
            view.begin(parts, tiny_recipe(model=random_model()))
            view.evaluated(2, [RESULT])
    lines = written(console).splitlines()
    assert lines[0].startswith(f"{out}: ")
    assert lines[1].endswith(parts.objective.formula)
    assert lines[2] == "note [red]note[/red] of [nothing]"
    assert lines[3] == "evaluation after step 2: [red]set 0.500 [0.250, 0.750]"


def test_tables_show_names_as_they_are() -> None:
    console = paper()
    console.print(plain_table("[b]results", *details([RESULT])))
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in written(console).splitlines()]
    assert ["accuracy", "0.500"] in cells
    assert ["95 % interval", "0.250 – 0.750"] in cells
    assert "[red]set" in written(console)
    assert "[b]results" in written(console)


def test_an_evaluation_counts_responses_and_tokens_as_they_finish() -> None:
    console = paper(terminal=True)
    with response_counter(console) as count:
        for length in (600, 634):
            count(Completion((1,) * length, (0.0,) * length, "", Stop.EOS))
    assert "evaluating: 2 responses, 1,234 tokens" in written(console)


def test_where_nobody_watches_nothing_is_counted_aloud() -> None:
    console = paper()
    with response_counter(console) as count:
        count(Completion((1,), (0.0,), "", Stop.EOS))
    assert written(console) == ""
