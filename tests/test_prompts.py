"""What is asked next, and how groups are collected: every question once an epoch, nothing dropped in silence."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.errors import UserError
from r1zero.questions import QuestionSet
from r1zero.rollouts.collector import collect
from r1zero.rollouts.prompts import PreparedSet, Prompt, PromptStream, long_prompts, make_prompt
from r1zero.rollouts.question_sets import fit_notes
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.templates import Template, get_template
from r1zero.types import AnswerFormat, Completion, Outcome, Question, Stop
from r1zero.verify import Verifier
from tiny_runs import tiny_recipe

TEMPLATE: Template = get_template("no", answer_format=AnswerFormat.LAST_NUMBER)


def encode(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


def numbered(count: int, long: Sequence[int] = ()) -> QuestionSet:
    """Questions "0", "1", … of a character or two; those in `long` have a hundred."""
    questions = [Question(f"set/{i}", "x" * 100 if i in long else str(i), (str(i),)) for i in range(count)]
    return QuestionSet("numbers", questions, {}, "print")


def stream(questions: QuestionSet, seed: int = 0, max_tokens: int = 10) -> PromptStream:
    return PromptStream(questions, TEMPLATE, encode, max_tokens=max_tokens, seed=seed)


def ids(prompts: Sequence[Prompt]) -> list[str]:
    return [prompt.question.id for prompt in prompts]


# ---- what is asked next


def test_a_prompt_is_the_rendered_and_encoded_question() -> None:
    questions = QuestionSet("one", [Question("one/0", "7+5=", ("12",))], {}, "print")
    (prompt,) = PromptStream(questions, get_template("r1"), encode, max_tokens=10_000, seed=0).next(1)
    assert prompt.text == get_template("r1").render("7+5=")
    assert prompt.ids == encode(prompt.text)
    assert prompt.question.gold == ("12",)
    assert prompt.key == "0:one/0"


@given(size=st.integers(1, 12), seed=st.integers(0, 5), data=st.data())
def test_each_question_once_an_epoch_however_it_is_dealt(size: int, seed: int, data: st.DataObject) -> None:
    dealt, dealer = [], stream(numbered(size), seed)
    while len(dealt) < 3 * size:
        dealt += dealer.next(data.draw(st.integers(1, size)))
    for epoch in range(3):
        part = dealt[epoch * size : (epoch + 1) * size]
        assert sorted(ids(part)) == sorted(f"set/{i}" for i in range(size))
        assert {prompt.key.split(":")[0] for prompt in part} == {str(epoch)}
    assert dealer.epoch == len(dealt) / size


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, again, other = stream(numbered(20)), stream(numbered(20)), stream(numbered(20), seed=1)
    one, two = ids(first.next(20)), ids(first.next(20))
    assert one != two
    assert [ids(again.next(20)), ids(again.next(20))] == [one, two]
    assert ids(other.next(20)) not in (one, two)
    assert one != [f"set/{i}" for i in range(20)]


def test_the_same_question_has_another_name_in_the_noise_of_another_epoch() -> None:
    dealer = stream(numbered(1))
    assert [dealer.next(1)[0].key for _ in range(3)] == ["0:set/0", "1:set/0", "2:set/0"]


@given(before=st.lists(st.integers(1, 5), max_size=6), after=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_restored_stream_goes_on_as_if_nothing_had_happened(before: list[int], after: list[int]) -> None:
    questions = numbered(7, long=(2,))
    whole = stream(questions, seed=3)
    for count in before:
        whole.next(count)
    restored = stream(questions, seed=3)
    restored.restore(whole.state())
    for count in after:
        assert restored.next(count) == whole.next(count)
    assert restored.state() == whole.state()


def test_long_prompts_are_passed_over_and_counted() -> None:
    dealer = stream(numbered(5, long=(1, 3)))
    assert sorted(ids(dealer.next(3))) == ["set/0", "set/2", "set/4"]
    assert sorted(ids(dealer.next(3))) == ["set/0", "set/2", "set/4"]
    dealer.next(1)  # of the third epoch: by now both long ones were passed over twice, if not a third time
    assert dealer.dropped in (4, 5, 6)
    assert dealer.state() == {"position": 7 + dealer.dropped, "dropped": dealer.dropped}


def test_a_prompt_of_exactly_the_limit_is_kept() -> None:
    questions = QuestionSet("one", [Question("one/0", "x" * 10, ("1",))], {}, "print")
    assert ids(stream(questions, max_tokens=10).next(1)) == ["one/0"]
    with pytest.raises(UserError):
        stream(questions, max_tokens=9).next(1)


class Picky:
    """A renderer that cannot do one question and writes half a character for another."""

    content = ("picky",)

    def render(self, question_text: str) -> str:
        if question_text == "1":
            raise ValueError("not this one")
        return "\ud800" if question_text == "2" else question_text


def test_a_template_that_fails_names_the_question() -> None:
    template = Template("picky", AnswerFormat.BOXED, (), Picky())
    questions = numbered(3)
    assert make_prompt(questions[0], template, encode, "").text == "0"
    with pytest.raises(UserError, match=r"^Question set/1: template\.name = 'picky' fails .*\(not this one\)"):
        make_prompt(questions[1], template, encode, "")
    with pytest.raises(UserError, match=r"^Question set/2 under template picky holds half a character \(a lone surrog"):
        make_prompt(questions[2], template, encode, "")


def test_long_prompts_are_counted_and_the_others_not_encoded() -> None:
    questions, encoded = numbered(12, long=(3, 7)), []

    def counted(text: str) -> tuple[int, ...]:
        encoded.append(text)
        return encode(text)

    assert PreparedSet(questions, TEMPLATE, encode).longest == 100
    assert long_prompts(questions, TEMPLATE, counted, 99) == {"set/3": 100, "set/7": 100}
    assert len(encoded) == 2
    assert long_prompts(questions, TEMPLATE, counted, 100) == {}
    assert long_prompts(questions, TEMPLATE, encode, 0).keys() == {f"set/{i}" for i in range(12)}


def test_a_prompt_that_fills_the_context_is_left_out_and_named() -> None:
    """Prompts of 1 or 2 tokens, and two of 100; a budget of 10."""
    questions = numbered(12, long=(3, 7))
    free = PreparedSet(questions, TEMPLATE, encode)
    assert (len(free.prompts), free.notes(10)) == (12, ())
    roomy = PreparedSet(questions, TEMPLATE, encode, positions=110)
    assert (len(roomy.prompts), roomy.notes(10)) == (12, ())
    cramped = PreparedSet(questions, TEMPLATE, encode, positions=101)
    assert len(cramped.prompts) == 12
    assert cramped.cramped(10) == 2
    assert cramped.notes(10) == (
        "numbers: 2 prompts of which less than the budget of 10 tokens is left of the model's 101 positions: a "
        "response ends there, and counts as truncated",
    )
    full = PreparedSet(questions, TEMPLATE, encode, positions=100)
    assert [each.question.id for each in full.prompts] == [f"set/{i}" for i in range(12) if i not in (3, 7)]
    assert full.notes(10) == (
        "numbers: 2 questions left out, whose prompts fill the model's 100 positions: set/3, set/7",
    )
    with pytest.raises(
        UserError, match="No prompt of numbers fits into the model's 1 positions: take a shorter template"
    ):
        _ = PreparedSet(questions, TEMPLATE, encode, positions=1).prompts


def test_training_prompts_that_are_passed_over_are_named() -> None:
    """Eight prompts of one token, and one of 100: longer than is asked for, than the context, or than is left of it."""
    questions = numbered(9, long=(3,))

    def told(asked: int, positions: int | None, budget: int = 10) -> tuple[str, ...]:
        settings = {"questions.max_prompt_tokens": asked, "sampling.max_new_tokens": budget}
        return fit_notes(tiny_recipe(settings), positions, questions, TEMPLATE, encode)

    assert told(100, None) == told(100, 110) == ()
    passed = "numbers: 1 question passed over, whose prompts are longer than questions.max_prompt_tokens = 99: set/3"
    assert told(99, None) == told(99, 200) == told(99, 105) == (passed,)
    assert told(100, 100) == ("numbers: 1 question left out, whose prompts fill the model's 100 positions: set/3",)
    assert told(100, 105)[0].startswith("numbers: 1 prompt of which less than the budget of 10 tokens is left of")


def test_a_stream_passes_over_what_fills_the_context() -> None:
    questions = numbered(12, long=(3, 7))
    dealt = PromptStream(questions, TEMPLATE, encode, max_tokens=1000, seed=0, positions=100)
    assert {prompt.question.id for prompt in dealt.next(10)} == {f"set/{i}" for i in range(12) if i not in (3, 7)}
    assert dealt.dropped <= 2
    with pytest.raises(UserError, match="No prompt of numbers fits into the model's 2 positions; take a shorter"):
        PromptStream(numbered(2, long=(0, 1)), TEMPLATE, encode, max_tokens=1000, seed=0, positions=2).next(1)


@given(size=st.integers(1, 3), count=st.integers(1, 9), long=st.booleans())
def test_a_batch_larger_than_the_set_is_dealt_over_several_epochs(size: int, count: int, long: bool) -> None:
    """In the order of single deals, every epoch whole, no key twice, and gone on with in the middle of one."""
    questions = numbered(size + long, long=(size,) if long else ())
    single, batches = stream(questions, seed=2), stream(questions, seed=2)
    dealt = batches.next(count) + batches.next(count)
    assert dealt == [single.next(1)[0] for _ in range(2 * count)]
    assert len({prompt.key for prompt in dealt}) == 2 * count
    for begin in range(0, 2 * count - size + 1, size):
        assert sorted(ids(dealt[begin : begin + size])) == sorted(f"set/{i}" for i in range(size))
    resumed = stream(questions, seed=2)
    resumed.restore(batches.state())
    assert resumed.next(count) == batches.next(count)


def test_only_long_prompts_are_an_error_and_not_an_endless_search() -> None:
    with pytest.raises(UserError, match=r"No prompt of \w+ fits into questions\.max_prompt_tokens = 10; raise it\."):
        stream(numbered(4, long=(0, 1, 2, 3))).next(1)


# ---- collecting


class OutOfOrder:
    """A sampler that finishes the last sample of the last request first, and remembers what it was asked."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift
        self.asked: tuple[Sequence[Request], int, SamplingParams, int, int] | None = None

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        self.asked = (requests, samples, params, seed, step)
        for request in reversed(range(len(requests))):
            for sample in reversed(range(samples)):
                # question q wants the answer q: sample 0 gives it, sample 1 gives q + 1, sample 2 writes it otherwise
                answer = request + self.shift
                text = (f" it is {answer}", f" it is {answer + 1}", f" it is {answer}.0")[sample]
                token_ids = tuple(map(ord, text))
                logprobs = (-float(request) - sample / 10,) * len(token_ids)
                yield Sampled(request, sample, Completion(token_ids, logprobs, text, Stop.EOS))


def test_groups_come_back_whole_and_in_order_whatever_finishes_first() -> None:
    prompts = stream(numbered(4)).next(4)
    prompts.sort(key=lambda prompt: prompt.question.id)
    sampler, params, finished = OutOfOrder(), SamplingParams(32), []
    with Verifier(workers=1, timeout_s=60) as verifier:
        rollouts, sample_seconds, grade_seconds = collect(
            prompts, sampler, verifier, TEMPLATE, params, samples=3, seed=5, step=9, progress=finished.append
        )
    assert [rollout.question.id for rollout in rollouts] == ["set/0", "set/1", "set/2", "set/3"]
    for q, rollout in enumerate(rollouts):
        assert rollout.prompt_ids == encode(str(q))
        assert [c.text for c in rollout.completions] == [f" it is {q}", f" it is {q + 1}", f" it is {q}.0"]
        assert [c.logprobs[0] for c in rollout.completions] == [-q, -q - 0.1, -q - 0.2]
        assert [v.outcome for v in rollout.verdicts] == [Outcome.RIGHT, Outcome.WRONG, Outcome.RIGHT]
        assert rollout.pass_rate == pytest.approx(2 / 3)
    assert sampler.asked is not None
    requests, *rest = sampler.asked
    assert [(request.key, request.prompt_ids) for request in requests] == [(p.key, p.ids) for p in prompts]
    assert rest == [3, params, 5, 9]
    assert len(finished) == 12
    assert finished[0].text == " it is 3.0"
    assert sample_seconds > 0
    assert grade_seconds > 0


def test_verdicts_of_one_collection_do_not_leak_into_the_next() -> None:
    prompts = sorted(stream(numbered(2)).next(2), key=lambda prompt: prompt.question.id)
    outcomes = []
    with Verifier(workers=1, timeout_s=60) as verifier:
        for sampler in (OutOfOrder(), OutOfOrder(shift=5), OutOfOrder(shift=-1)):
            rollouts = collect(prompts, sampler, verifier, TEMPLATE, SamplingParams(9), samples=2, seed=0, step=1)[0]
            outcomes.append([[verdict.right for verdict in rollout.verdicts] for rollout in rollouts])
            assert verifier.pending == 0
    assert outcomes == [[[True, False]] * 2, [[False, False]] * 2, [[False, True]] * 2]


def test_a_missing_sample_is_an_error_and_never_a_short_group() -> None:
    class Forgetful(OutOfOrder):
        def sample(
            self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
        ) -> Iterator[Sampled]:
            yield from list(super().sample(requests, samples, params, seed=seed, step=step))[1:]

    prompts = stream(numbered(2)).next(2)
    with Verifier(workers=1, timeout_s=60) as verifier, pytest.raises(KeyError):
        collect(prompts, Forgetful(), verifier, TEMPLATE, SamplingParams(32), samples=2, seed=0, step=1)
