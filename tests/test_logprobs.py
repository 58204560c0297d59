"""Chunked log-probs: equal to plain ones in value and gradient, and never a large tensor of logits."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from helpers import (
    MODELS,
    VOCABULARY,
    encode,
    flat_gradient,
    full_logprobs,
    policy_of,
    qwen,
    random_trajectories,
    relative_error,
)
from r1zero.policy.batch import MicroBatch, Trajectory, micro_batches
from r1zero.policy.head import head_logits
from r1zero.policy.logprobs import response_logprobs
from regime import seeded

Rows = list[Trajectory]


def one_batch(trajectories: Rows, packed: bool = False) -> MicroBatch:
    (batch,) = micro_batches(trajectories, range(len(trajectories)), 10**6, packed=packed, device=torch.device("cpu"))
    return batch


def plain(model: PreTrainedModel, trajectories: Rows, batch: MicroBatch, temperature: float) -> torch.Tensor:
    order = batch.response_N.unique_consecutive().tolist()
    rows = [trajectories[i] for i in order]
    return torch.cat([full_logprobs(model, row.prompt_ids, row.response_ids, temperature) for row in rows])


CHUNKS = [1, VOCABULARY, 3 * VOCABULARY + 5, 8 * VOCABULARY, 10**9]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("packed", [False, True])
def test_equal_to_plain_log_probs(name: str, packed: bool) -> None:
    model = MODELS[name]()
    if packed and name == "gemma2":  # settings refuse packed rows with eager attention
        if not model._supports_sdpa:
            pytest.skip("transformers from 5.22 on lets this model have eager attention alone")
        model.set_attn_implementation("sdpa")
    trajectories = random_trajectories(model, seed=1)
    batch = one_batch(trajectories, packed)
    with torch.no_grad():
        for temperature in (1.0, 0.6):
            expected = plain(model, trajectories, batch, temperature)
            for chunk in (VOCABULARY * 4, 10**9):
                logprobs, _ = response_logprobs(policy_of(model), batch, temperature, chunk_logits=chunk)
                torch.testing.assert_close(logprobs, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["qwen", "gemma2"])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_chunks_change_neither_values_nor_gradients(name: str, chunk: int) -> None:
    model = MODELS[name]()
    trajectories = random_trajectories(model, seed=2)
    batch = one_batch(trajectories)
    factors = torch.randn(batch.targets_N.shape, generator=torch.Generator().manual_seed(seeded()))

    expected = plain(model, trajectories, batch, 0.7)
    (expected * factors).sum().backward()
    wanted = flat_gradient(model)

    model.zero_grad(set_to_none=True)
    logprobs, entropies = response_logprobs(policy_of(model), batch, 0.7, chunk_logits=chunk)
    assert not entropies.requires_grad
    (logprobs * factors).sum().backward()
    torch.testing.assert_close(logprobs, expected, rtol=0, atol=2e-5)
    assert relative_error(flat_gradient(model), wanted) < 1e-5


def test_entropy_by_hand() -> None:
    model = qwen()
    with torch.no_grad():  # an output head of zeros: every token equally likely
        model.get_output_embeddings().weight.zero_()
    batch = one_batch(random_trajectories(model, seed=4))
    logprobs, entropies = response_logprobs(policy_of(model), batch, 1.0)
    torch.testing.assert_close(entropies, torch.full_like(entropies, math.log(VOCABULARY)))
    torch.testing.assert_close(logprobs.detach(), torch.full_like(entropies, -math.log(VOCABULARY)))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("chunk", [2 * VOCABULARY, 10**9])
def test_entropy_is_minus_the_sum_of_p_log_p(temperature: float, chunk: int) -> None:
    model = qwen()
    row = random_trajectories(model, seed=5, count=1)[0]
    _, entropies = response_logprobs(policy_of(model), one_batch([row]), temperature, chunk_logits=chunk)
    ids = torch.tensor([row.prompt_ids + row.response_ids])
    with torch.no_grad():
        table = torch.log_softmax(model(input_ids=ids).logits[0].double() / temperature, dim=-1)
    expected = -(table.exp() * table).sum(dim=-1)[len(row.prompt_ids) - 1 : -1]
    torch.testing.assert_close(entropies.double(), expected, rtol=0, atol=1e-4)


class LargestLogits(TorchDispatchMode):
    """Remembers the most elements of any tensor, made by any operation, whose last dimension is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Callable, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            # [32, V] is the head's own weight, transposed
            if isinstance(leaf, torch.Tensor) and leaf.shape[-1:] == (VOCABULARY,) and leaf.shape != (32, VOCABULARY):
                self.elements = max(self.elements, leaf.numel())
        return out


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_never_more_logits_than_the_limit_in_forward_and_backward(rows: int) -> None:
    model = qwen()
    batch = one_batch(random_trajectories(model, seed=6, count=12))
    assert batch.targets_N.numel() > 30
    with LargestLogits() as seen:
        logprobs, _ = response_logprobs(policy_of(model), batch, 1.0, chunk_logits=rows * VOCABULARY)
        logprobs.sum().backward()
    assert seen.elements == rows * VOCABULARY
    with LargestLogits() as whole:  # the measurement itself: without a limit it sees them all
        response_logprobs(policy_of(model), batch, 1.0)
    assert whole.elements == batch.targets_N.numel() * VOCABULARY


def test_chunks_keep_no_logits_for_backward() -> None:
    """What autograd holds between forward and backward: hidden states, never a tensor over the vocabulary."""
    model = qwen()
    batch = one_batch(random_trajectories(model, seed=6, count=12))

    def kept(chunk: int) -> int:
        shapes: list[torch.Size] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            shapes.append(tensor.shape)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            response_logprobs(policy_of(model), batch, 1.0, chunk_logits=chunk)
        return sum(shape[-1:] == (VOCABULARY,) for shape in shapes)

    assert kept(4 * VOCABULARY) == 0
    assert kept(10**9) > 0


def test_softcapped_heads_are_capped() -> None:
    model = MODELS["gemma2"]()
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(seeded())) * 10
    raw = model.get_output_embeddings()(hidden)
    assert raw.abs().max() > 2.0  # the cap bites
    torch.testing.assert_close(head_logits(model, hidden), 2.0 * torch.tanh(raw / 2.0))


def test_padding_cannot_be_seen() -> None:
    """A row's log-probs are the same alone, beside longer rows, and whatever ids stand in the padding."""
    model = qwen()
    short = Trajectory(encode("1+1="), encode("2"), (0.0,), 1.0)
    long = Trajectory(encode("12345+67890="), encode("80235 is it"), (0.0,) * 11, 1.0)
    policy = policy_of(model)
    with torch.no_grad():
        alone, _ = response_logprobs(policy, one_batch([short]), 1.0)
        batch = one_batch([short, long])
        beside, _ = response_logprobs(policy, batch, 1.0)
        mine = batch.response_N == 0
        torch.testing.assert_close(beside[mine], alone, rtol=0, atol=1e-5)
        row = int(batch.predictor_N[mine][0]) // batch.input_ids_BT.shape[1]
        batch.input_ids_BT[row, 5:] = 17  # what follows the response
        scribbled, _ = response_logprobs(policy, batch, 1.0)
    assert torch.equal(scribbled[mine], beside[mine])
