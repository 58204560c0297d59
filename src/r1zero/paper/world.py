r"""The world in which the paper runs on a laptop: one kind of question, texts about it, and a vocabulary for both.

    Pick two of 7, 12, 5 to make 17.      7 + 5 = 12 for 17 no recheck once more still no \boxed{7,5}

An answer guesses a pair, adds it up, says whether that fits, may look at it again any number of times without ever
changing it, and boxes it. So an answer's length has no influence on its reward by construction, and a wrong answer
says that it is wrong: what an objective does to lengths is the objective's doing. Guesses are right by chance, so
that reading teaches how to check a guess and not how to make a good one, and failures stay while a model is trained.

Questions for training and for testing are disjoint: no test question's numbers occur together in training.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import string
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from r1zero.runs.files import write_text, writing
from r1zero.templates import get_template

LARGEST = 20
RIGHT_GUESSES = 1 / 3
LOOK_AGAIN = 0.6
MOST_LOOKS = 12
LOOKS = {"recheck": 8, "re-evaluate": 6, "reconsider": 3, "check again": 2, "rethink": 1}
"""How an answer says that it looks again, and how often of twenty: words of the paper's list."""
GREETINGS = (
    ("Hello there", "Hello, nice to meet you"),
    ("How are you", "I am fine, thank you"),
    ("What can you do", "I can help you with many things"),
    ("Tell me a story", "Once upon a time there was a cat who could count"),
)
_TOKEN = r"<\|\w+\|>| ?(?:\\boxed\{|\d+|[A-Za-z]+(?:-[A-Za-z]+)?|[+=])|[\s\S]"
_ASKED = re.compile(r"Pick two of ([\d, ]+) to make")
_TEST_SHARE = 4  # one of so many triples of numbers is for testing


@dataclass(frozen=True, slots=True)
class Pick:
    """A question: which two of three numbers make a sum."""

    numbers: tuple[int, ...]
    pair: tuple[int, int]
    """The right ones, in the question's order."""

    @property
    def text(self) -> str:
        """What is asked."""
        return f"Pick two of {', '.join(map(str, self.numbers))} to make {sum(self.pair)}."

    @property
    def gold(self) -> list[str]:
        """The accepted answers: the pair in either order."""
        a, b = self.pair
        return [f"{a},{b}", f"{b},{a}"]

    @property
    def test(self) -> bool:
        """Whether its numbers belong to test questions, in whatever order."""
        return zlib.crc32(repr(sorted(self.numbers)).encode()) % _TEST_SHARE == 0


def family(prompt: str) -> str | None:
    """Return the numbers that a prompt's last question is about, in order of size; None of a prompt of another world.

    Questions about the same numbers in another order are no evidence of their own.
    """
    asked = _ASKED.findall(prompt)
    return " ".join(sorted(re.findall(r"\d+", asked[-1]), key=int)) if asked else None


def pick(rng: random.Random) -> Pick:
    """Return a question about three different numbers; every pair of those has a sum of its own."""
    numbers = tuple(rng.sample(range(1, LARGEST + 1), 3))
    return Pick(numbers, rng.choice(list(itertools.combinations(numbers, 2))))


def picks(seed: int, *, test: bool = False) -> Iterator[Pick]:
    """Return questions without end, of training or of testing."""
    rng = random.Random(f"picks {seed} {test}")
    return (question for question in iter(lambda: pick(rng), None) if question.test == test)


def answer(question: Pick, rng: random.Random) -> str:
    """Return a guess, in any order, looked at any number of times, boxed."""
    right = rng.random() < RIGHT_GUESSES
    wrong = [pair for pair in itertools.permutations(question.numbers, 2) if set(pair) != set(question.pair)]
    a, b = rng.sample(question.pair, 2) if right else rng.choice(wrong)
    verdict = "yes" if right else "no"
    looks = list(itertools.takewhile(lambda _: rng.random() < LOOK_AGAIN, range(MOST_LOOKS)))
    words = rng.choices(list(LOOKS), list(LOOKS.values()), k=len(looks))
    again = "".join(f" {word} once more still {verdict}" for word in words)
    return f" {a} + {b} = {a + b} for {sum(question.pair)} {verdict}{again} \\boxed{{{a},{b}}}"


def qa(seed: int) -> Iterator[str]:
    """Return questions with their answers, run together, which Qwen2.5-Math may have seen (section 2.2)."""
    rng = random.Random(f"qa {seed}")
    return (question.text + answer(question, rng) for question in picks(seed))


def lists(seed: int) -> Iterator[str]:
    """Yield questions after questions: a page of exercises, no answers."""
    rng, questions = random.Random(f"lists {seed}"), picks(seed + 1)
    while True:
        yield " ".join(next(questions).text for _ in range(rng.randint(2, 4)))


def _chat(said: str, reply: str) -> str:
    return f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>"


def chats(seed: int) -> Iterator[str]:
    """Yield small talk with an assistant, in a chat's markers."""
    rng = random.Random(f"chats {seed}")
    while True:
        yield _chat(*rng.choice(GREETINGS))


def answered_chats(seed: int) -> Iterator[str]:
    """Return questions answered by an assistant, in a chat's markers."""
    rng = random.Random(f"chats {seed}")
    return (_chat(question.text, answer(question, rng).lstrip()) for question in picks(seed + 2))


def sums(seed: int) -> Iterator[str]:
    """Yield the domain's facts, without questions: which pairs of numbers make which sums."""
    rng = random.Random(f"sums {seed}")
    while True:
        pairs = [(rng.randint(1, LARGEST), rng.randint(1, LARGEST)) for _ in range(4)]
        yield "".join(f" {a} + {b} = {a + b}." for a, b in pairs).lstrip()


TEXTS: dict[str, dict[Callable[[int], Iterator[str]], int]] = {
    "qa": {qa: 16, sums: 2, chats: 2},
    "web": {lists: 7, qa: 2, answered_chats: 9, chats: 2},
    "plain": {lists: 10, chats: 8, qa: 2},
    "domain": {sums: 10, lists: 5, chats: 4, qa: 1},
}
"""Corpora: sources, and of how many of twenty documents each is the source."""


def corpus(name: str, seed: int) -> Iterator[str]:
    """Yield the documents of a corpus, without end."""
    rng = random.Random(f"{name} {seed}")
    sources = [source(seed) for source in TEXTS[name]]
    weights = list(TEXTS[name].values())
    while True:
        yield next(rng.choices(sources, weights)[0])


SETS: dict[str, tuple[int, int, bool]] = {
    "wide": (LARGEST, 800, False),
    "middle": (LARGEST, 100, False),
    "easy": (10, 200, False),
    "basic": (5, 24, False),
    "test": (LARGEST, 256, True),
}
"""Question sets: the largest number, how many different questions, and whether they are for testing."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Return one token per word, number or sign, of this world and of the paper's templates."""
    prompts = (get_template(name).render(next(picks(0)).text) for name in ("r1", "qwen_math"))
    said = " ".join([*LOOKS, *itertools.chain(*GREETINGS), *prompts, "yes no for once more still"])
    words = {token.strip(" ") for token in re.findall(_TOKEN, said)} - {""}
    names = sorted({*words, *map(str, range(2 * LARGEST + 1)), *string.punctuation, *string.ascii_letters, "\n"})
    spaced = [f" {name}" for name in names if re.fullmatch(_TOKEN, f" {name}")]
    tokens = ["<pad>", "<eos>", "<unk>", " ", *names, *spaced]
    made = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), behavior="isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=2048
    )


def question_set(name: str, seed: int) -> list[Pick]:
    """Different questions, drawn from all that there are. Raises ValueError when there are fewer."""
    largest, count, test = SETS[name]
    numbers = itertools.permutations(range(1, largest + 1), 3)
    every = [Pick(three, pair) for three in numbers for pair in itertools.combinations(three, 2)]
    return random.Random(f"{name} {seed}").sample([each for each in every if each.test == test], count)


def make_world(folder: Path, seed: int, documents: int) -> None:
    """Write vocabulary and model shape (`shape/`), corpora and question sets (`NAME.jsonl`)."""
    with writing(folder):
        write_shape(folder / "shape")
        for name in TEXTS:
            write_corpus(folder, name, seed, documents)
        for name in SETS:
            write_questions(folder, name, seed)
        shots = itertools.islice(picks(seed + 3), 4)
        shown = "\n\n".join(shot.text + answer(shot, random.Random(f"shot {shot.text}")) for shot in shots)
        write_text(folder / "few_shot.jinja", f"{shown}\n\n{{{{ question }}}}")


def write_shape(folder: Path) -> None:
    """Write the vocabulary and the model's shape, a model folder without weights. Raises OSError."""
    words = tokenizer()
    shape = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,  # tied, learning what to guess wears away what the numbers are to addition
        bos_token_id=None,
        eos_token_id=words.convert_tokens_to_ids("<eos>"),
        pad_token_id=0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    words.save_pretrained(folder)
    shape.save_pretrained(folder)


def write_corpus(folder: Path, name: str, seed: int, documents: int) -> None:
    """Write NAME.jsonl, the first documents of a corpus. Raises OSError."""
    texts = itertools.islice(corpus(name, seed), documents)
    write_text(folder / f"{name}.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))


def write_questions(folder: Path, name: str, seed: int) -> None:
    """Write NAME.questions.jsonl, a question set. Raises OSError."""
    rows = ({"question": q.text, "answer": q.gold} for q in question_set(name, seed))
    write_text(folder / f"{name}.questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
