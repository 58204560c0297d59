"""Pretraining: packing without contamination, the loss by hand, a run resumed to the bit, and what it refuses."""

import json
import random
import signal
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from helpers import VOCABULARY, flat_gradient, llama, policy_of, qwen, relative_error
from r1zero.config import validated
from r1zero.config.pretrain import CorpusSettings, PretrainRecipe
from r1zero.errors import UserError
from r1zero.policy.logprobs import response_logprobs
from r1zero.pretrain.corpus import Documents, Packed, Packer, held_out, open_corpus
from r1zero.pretrain.run import make_pretrainer, pretrain_run
from r1zero.runs import checkpoints
from r1zero.runs.run import Run
from regime import SEED, THREADS, seeded
from tiny_runs import Hold, random_model, start, sums_of, untimed

EOS = 1


def lines(path: Path, count: int = 60) -> Path:
    """Sums as questions and answers; with enough sameness to be learnt."""
    rng = random.Random(seeded())
    rows = [
        {"q": f"{a}+{b}=", "a": str(a + b)} for a, b in ((rng.randint(0, 9), rng.randint(0, 9)) for _ in range(count))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_of(corpus: Path, **overrides: object) -> PretrainRecipe:
    data = {
        "model": {"path": str(random_model()), "device": "cpu"},
        "corpus": {"name": str(corpus), "question_column": "q", "answer_column": "a", "joint": " "},
        "learner": {"learning_rate": 3e-3, "sequence_length": 32, "rows": 4, "micro_rows": 2, "schedule": "constant"},
        "checkpoint": {"every": 3},
        "train": {"steps": 8, "seed": SEED, "threads": THREADS},
    }
    return validated(data, PretrainRecipe, overrides, "the recipe")


def encode(text: str) -> list[int]:
    return [3 + ord(c) % 60 for c in text]


def documents_of(path: Path, **settings: object) -> Documents:
    corpus = CorpusSettings(name=str(path), question_column="q", answer_column="a", **settings)  # type: ignore[arg-type]
    held = 0
    return Documents(open_corpus(corpus), corpus, encode, EOS, seed=seeded(), held_out=held)


# ---- documents and packing


def test_documents_are_joined_ended_and_dealt_in_a_new_order_each_epoch(tmp_path: Path) -> None:
    documents = documents_of(lines(tmp_path / "sums.jsonl", 12), joint="|")
    first, second = ([documents.next() for _ in range(12)] for _ in range(2))
    assert all(document[-1] == EOS and document.count(EOS) == 1 for document in first)
    assert sorted(first) == sorted(second)
    assert first != second
    assert documents.epoch == 2.0
    again = documents_of(tmp_path / "sums.jsonl", joint="|")
    assert [again.next() for _ in range(12)] == first
    assert 3 + ord("|") % 60 in first[0]


def test_packing_loses_no_token_and_repeats_none(tmp_path: Path) -> None:
    packer = Packer(documents_of(lines(tmp_path / "sums.jsonl", 12)), length=16)
    packed = packer.next(5)
    plain = documents_of(tmp_path / "sums.jsonl")
    stream: list[int] = []
    while len(stream) < 80:
        stream += plain.next()
    assert packed.ids_BL.flatten().tolist() == stream[:80]
    # a document's first token is nobody's target, nor is the first of a row
    starts = packed.starts_BL
    assert starts[:, 0].all()
    flat = packed.ids_BL.flatten().tolist()
    for i in range(1, 80):
        if i % 16:
            assert starts.flatten()[i].item() == (flat[i - 1] == EOS)
    assert packed.targets == 80 - int(starts.sum())


@pytest.mark.parametrize("make", [qwen, llama])
def test_packed_documents_do_not_see_one_another(make) -> None:
    """The loss of a packed row is that of its documents alone."""
    model = make()
    policy = policy_of(model)
    generator = torch.Generator().manual_seed(seeded())
    texts = [[*torch.randint(3, VOCABULARY, (n,), generator=generator).tolist(), EOS] for n in (4, 7, 2, 9, 5, 3)]
    ids = torch.tensor([[*texts[0], *texts[1], *texts[2]], [*texts[3], *texts[4]][:16]])
    starts = torch.zeros_like(ids, dtype=torch.bool)
    starts[0, [0, 5, 13]] = True
    starts[1, [0, 10]] = True
    packed = Packed(ids, starts)
    together, _ = response_logprobs(policy, packed.micro_batch(policy.device), 1.0)
    alone = []
    for document in (*texts[:3], texts[3], texts[4]):
        logits = model(input_ids=torch.tensor([document]), use_cache=False).logits[0]
        alone.append(-functional.cross_entropy(logits[:-1], torch.tensor(document[1:]), reduction="none"))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_the_gradient_does_not_depend_on_micro_rows() -> None:
    model = qwen()
    policy = policy_of(model)
    generator = torch.Generator().manual_seed(seeded(1))
    ids = torch.randint(3, VOCABULARY, (5, 12), generator=generator)
    starts = torch.rand(5, 12, generator=generator) < 0.2
    starts[:, 0] = True
    packed, gradients = Packed(ids, starts), []
    for size in (1, 2, 5):
        model.zero_grad(set_to_none=True)
        for at in range(0, 5, size):
            part = packed.part(slice(at, at + size)).micro_batch(policy.device)
            (-response_logprobs(policy, part, 1.0)[0].sum() / packed.targets).backward()
        gradients.append(flat_gradient(model))
    assert relative_error(gradients[1], gradients[0]) < 1e-5
    assert relative_error(gradients[2], gradients[0]) < 1e-5


# ---- runs


def test_a_run_learns_and_its_checkpoint_is_an_ordinary_model(tmp_path: Path) -> None:
    corpus = lines(tmp_path / "sums.jsonl", 200)
    changes = {"train.steps": 40, "evaluation.documents": 20, "evaluation.every": 20}
    run = pretrain_run(recipe_of(corpus, **changes), tmp_path / "run")
    rows = run.read("metrics")
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert rows[-1]["pretrain/loss"] < 0.6 * rows[0]["pretrain/loss"]
    held = [row["pretrain/held_out_loss"] for row in rows if "pretrain/held_out_loss" in row]
    assert len(held) == 2
    assert held[1] < held[0]
    further = {"model.path": str(run.path / "checkpoints" / "step-000040"), "train.steps": 1}
    again = pretrain_run(recipe_of(corpus, **further), tmp_path / "on")
    assert again.read("metrics")[0]["pretrain/loss"] < 0.8 * rows[0]["pretrain/loss"]


def test_held_out_documents_are_never_dealt(tmp_path: Path) -> None:
    corpus = CorpusSettings(name=str(lines(tmp_path / "sums.jsonl", 12)), question_column="q", answer_column="a")
    rows = open_corpus(corpus)
    documents = Documents(rows, corpus, encode, EOS, seed=seeded(), held_out=4)
    dealt = {tuple(documents.next()) for _ in range(16)}
    kept = [tuple(each.ids_BL[0].tolist()) for each in held_out(documents, 4, 32)]
    whole = [(*encode(f"{row['q']}\n{row['a']}"), EOS) for row in rows]
    assert kept == whole[8:]
    assert dealt == set(whole[:8])


def test_from_scratch_draws_other_weights_by_seed(tmp_path: Path) -> None:
    corpus = lines(tmp_path / "sums.jsonl")
    losses = []
    for seed in (seeded(), seeded(), seeded(1)):
        out = tmp_path / f"run-{len(losses)}"
        run = pretrain_run(recipe_of(corpus, **{"model.from_scratch": True, "train.seed": seed, "train.steps": 2}), out)
        losses.append([row["pretrain/loss"] for row in run.read("metrics")])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_epochs_are_counted_in_tokens(tmp_path: Path) -> None:
    corpus = lines(tmp_path / "sums.jsonl", 60)
    run = pretrain_run(recipe_of(corpus, **{"train.steps": None, "train.epochs": 2.0}), tmp_path / "run")
    tokens = sum(len(f"{row['q']} {row['a']}") + 1 for row in map(json.loads, corpus.read_text().splitlines()))
    assert len(run.read("metrics")) == 2 * tokens // (32 * 4)
    assert 1.5 < run.read("metrics")[-1]["pretrain/epoch"] <= 2.0


def test_streaming_deals_everything_once(tmp_path: Path) -> None:
    documents = documents_of(lines(tmp_path / "sums.jsonl", 12), streaming=True, buffer=4)
    whole = documents_of(tmp_path / "sums.jsonl")
    assert sorted(documents.next() for _ in range(12)) == sorted(whole.next() for _ in range(12))
    with pytest.raises(UserError, match="ended after 12 documents"):
        documents.next()


@pytest.mark.parametrize("name", ["[red]", "**", "x[!a]", "{a,b}", "100%25 #é"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_path_is_no_pattern(tmp_path: Path, name: str, streaming: bool) -> None:
    for each, count in ((name, 3), ("another", 4)):
        (tmp_path / each).mkdir()
        lines(tmp_path / each / "sums.jsonl", count)
    documents = documents_of(tmp_path / name / "sums.jsonl", streaming=streaming, buffer=4)
    assert len({tuple(documents.next()) for _ in range(3)}) == 3
    if streaming:
        with pytest.raises(UserError, match="ended after 3 documents"):
            documents.next()


@pytest.mark.parametrize(
    ("streaming", "moment"),
    [
        (False, Hold("r1zero.learner.optimiser:Optimiser.step", 5, after=True)),  # weights are moved, nothing logged
        (True, Hold("torch.serialization:_save", 2, after=True)),  # step 4 is logged, its state is half written
    ],
    ids=["learning", "streaming-saving"],
)
def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path: Path, streaming: bool, moment: Hold) -> None:
    corpus = lines(tmp_path / "sums.jsonl", 400)
    file = tmp_path / "recipe.toml"
    file.write_text(
        f"""
        [model]
        path = "{random_model()}"
        device = "cpu"
        [corpus]
        name = "{corpus}"
        question_column = "q"
        answer_column = "a"
        streaming = {str(streaming).lower()}
        buffer = 16
        [learner]
        learning_rate = 3e-3
        sequence_length = 32
        rows = 4
        warmup_steps = 3
        [checkpoint]
        every = 2
        [train]
        steps = 12
        seed = {SEED}
        threads = {THREADS}
        """
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start("pretrain", file, "--out", whole).done()
    killed = start("pretrain", file, "--out", cut, hold=moment)
    killed.held()
    assert killed.kill() == -signal.SIGKILL
    start("pretrain", cut, "--resume").done()
    assert sums_of(cut / "checkpoints" / "step-000012") == sums_of(whole / "checkpoints" / "step-000012")
    assert untimed(Run.open(cut).read("metrics")) == untimed(Run.open(whole).read("metrics"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"corpus.text_column": "q"}, "either corpus.text_column"),
        ({"corpus.question_column": "nothing"}, "has no column 'nothing'"),
        ({"corpus.name": "nowhere.jsonl"}, "cannot be read"),
        ({"train.epochs": 1.0}, "set one of them"),
        ({"corpus.streaming": True, "evaluation.documents": 4}, "evaluation.documents to 0"),
        ({"learner.rowz": 3}, "did you mean 'learner.rows'"),
        ({"model.path": "nowhere", "model.from_scratch": True}, "holds no config and tokenizer"),
        ({"evaluation.documents": 60}, "lower evaluation.documents"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        pretrain_run(recipe_of(lines(tmp_path / "sums.jsonl"), **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_another_recipe_does_not_continue_a_run(tmp_path: Path) -> None:
    corpus = lines(tmp_path / "sums.jsonl")
    pretrain_run(recipe_of(corpus), tmp_path / "run")
    with pytest.raises(UserError, match=r"other settings of learner\.rows"):
        pretrain_run(recipe_of(corpus, **{"learner.rows": 3}), tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="already holds a run"):
        pretrain_run(recipe_of(corpus), tmp_path / "run")


def test_a_run_goes_on_with_another_rate_and_length_and_says_so(tmp_path: Path) -> None:
    corpus, out = lines(tmp_path / "sums.jsonl"), tmp_path / "run"
    first = pretrain_run(recipe_of(corpus, **{"checkpoint.every": 1, "checkpoint.keep_last": 9}), out)
    done = [row["step"] for row in first.read("metrics")][-1]
    longer = recipe_of(corpus, **{"learner.learning_rate": 1e-4, "train.steps": done + 1})
    run = pretrain_run(longer, out, resume=True)
    assert [row["step"] for row in run.read("metrics")][-1] == run.facts["steps"] == done + 1
    (note,) = (row["note"] for row in run.read("notes"))
    assert note.startswith("from here on with learner.learning_rate = 0.0001 (before ")
    with pytest.raises(UserError, match=rf"The recipe asks for 1 step, and {out} has done {done + 1}; raise its train"):
        pretrain_run(recipe_of(corpus, **{"train.steps": 1}), out, resume=True)
    again = pretrain_run(longer, out, resume=True, from_step=done)
    assert [row["step"] for row in again.read("metrics")][-1] == done + 1
    assert (out / "aside-001" / "checkpoints" / f"step-{done + 1:06d}").is_dir()


def test_a_resumed_run_keeps_autocast_and_threads_and_tells_of_damage(tmp_path: Path) -> None:
    corpus, out = lines(tmp_path / "sums.jsonl"), tmp_path / "run"
    recipe = recipe_of(corpus, **{"learner.autocast": "bfloat16", "train.threads": None})
    before = torch.get_num_threads()
    pretrain_run(recipe, out)
    facts = json.loads((out / "run.json").read_text())
    other = facts["threads"] + 1  # it took what the machine's load left free
    (out / "run.json").write_text(json.dumps(facts | {"threads": other}))
    (out / "checkpoints" / "step-000008" / "model.safetensors").write_bytes(b"")
    pretrain_run(recipe, out, resume=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(before)
    assert threads == other
    [note] = Run.open(out).read("notes")
    assert (note["step"], note["note"]) == (6, "step-000008 is damaged and was passed over")
    trainer, precision = make_pretrainer(recipe, checkpoints.newest(out / "checkpoints")[0], recipe.learner.autocast)
    assert not trainer.policy.exact
    assert precision["autocast"] == facts["autocast"] == "bfloat16"


def test_a_training_run_is_no_pretraining_run(tmp_path: Path) -> None:
    recipe = recipe_of(lines(tmp_path / "sums.jsonl"))
    run = pretrain_run(recipe, tmp_path / "run")
    with pytest.raises(UserError, match=r"recipe\.json lacks the section questions: it is of another kind of run"):
        _ = run.recipe
