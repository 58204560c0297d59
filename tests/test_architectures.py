"""Every kind of decoder: what is sampled and learnt from is what the model's own plain forward pass says, or it is
refused by name before anything is left behind.

The models are tiny random ones of transformers' own classes, from benchmarks/tiny_models.py; all of them are trained
and resumed by benchmarks/architectures.py.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, PreTrainedModel

from helpers import EOS, TOKENIZER, VOCABULARY, full_logprobs, learner_of, needs_peft, policy_of, random_trajectories
from r1zero.config import LoraSettings
from r1zero.errors import UserError
from r1zero.metrics import Tally
from r1zero.plan.model_size import shape_of
from r1zero.policy.layouts import check_layout
from r1zero.policy.load import load_policy
from r1zero.policy.lora import add_lora
from r1zero.policy.quiet import silence_dropout
from r1zero.sampling.embedded.plain import PlainSampler
from r1zero.sampling.embedded.sampler import TorchSampler, make_sampler
from r1zero.sampling.protocol import Request, SamplingParams
from r1zero.training.train import train
from r1zero.types import Completion
from tiny_runs import tiny_recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from tiny_models import QUICK, make

CONTINUOUS = ("deepseek_v2", "deepseek_v3", "gemma3n_text", "gemma4_text", "llama4_text", "phimoe", "qwen3_moe", "opt")
PLAIN = (
    "qwen3_next", "qwen3_5_text", "falcon_h1", "nemotron_h", "granitemoehybrid", "lfm2", "mamba", "mamba2", "jamba",
    "minimax", "deepseek_v32",
)  # fmt: skip
EAGER = ("mamba", "mamba2", "gpt_oss")
SOME_EOS = (EOS, *range(20, 27))
REQUESTS = [Request(f"q{n}", tuple(3 + (7 * n + i) % 90 for i in range(n))) for n in (1, 4, 4, 17, 9)]


def model_of(kind: str, **changes: Any) -> PreTrainedModel:
    model = make(kind, VOCABULARY, attention="eager" if kind in EAGER else "sdpa", **changes)
    silence_dropout(model)
    return model


def drawn(sampler: Any, requests: list[Request], **how: Any) -> dict[tuple[str, int], Completion]:
    params = SamplingParams(**{"max_new_tokens": 12, **how})
    found = sampler.sample(requests, 3, params, seed=0, step=0)
    return {(requests[each.request].key, each.sample): each.completion for each in found}


def saved(folder: Path, model: PreTrainedModel) -> Path:
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


# -- sampling


@pytest.mark.parametrize("kind", [*CONTINUOUS, *PLAIN])
def test_log_probs_are_those_of_the_models_plain_forward(kind: str) -> None:
    """Rows enter late, leave early and stand beside others; windows and chunks are shorter than what they hold."""
    policy = policy_of(model_of(kind))
    sampler = make_sampler(policy, 7)
    assert isinstance(sampler, PlainSampler if kind in PLAIN else TorchSampler)
    sampler = type(sampler)(
        policy.model, TOKENIZER, SOME_EOS, rows=7, **({"drops": False} if kind == "minimax" else {})
    )
    found = drawn(sampler, REQUESTS)
    assert len({each.length for each in found.values()}) > 2  # some go on when others have ended
    for request in REQUESTS:
        for sample in range(3):
            done = found[request.key, sample]
            with torch.no_grad():
                plain = full_logprobs(policy.model, request.prompt_ids, done.token_ids)
            torch.testing.assert_close(torch.tensor(done.logprobs), plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["deepseek_v3", "gemma3n_text", "qwen3_next", "mamba", "minimax"])
def test_responses_do_not_depend_on_company(kind: str) -> None:
    policy = policy_of(model_of(kind))
    together = drawn(make_sampler(policy, 64), REQUESTS)
    for rows in (3, 6):
        again = drawn(make_sampler(policy, rows), REQUESTS[::-1])
        assert {key: each.token_ids for key, each in again.items()} == {
            key: each.token_ids for key, each in together.items()
        }


def test_values_of_another_width_than_keys_are_kept_as_they_are() -> None:
    policy = policy_of(model_of("deepseek_v3"))
    sampler = make_sampler(policy, 4)
    drawn(sampler, REQUESTS)
    [layer, *_] = sampler._kept.kv_layers
    assert layer.keys.shape[3] != layer.values.shape[3]


def test_layers_that_share_keys_and_values_have_no_cache_of_their_own() -> None:
    policy = policy_of(model_of("gemma3n_text"))
    sampler = make_sampler(policy, 4)
    drawn(sampler, REQUESTS)
    assert [layer.is_initialized for layer in sampler._kept.kv_layers] == [True, True, False, False]


def test_what_no_way_computes_rightly_is_refused_by_name() -> None:
    """RecurrentGemma keeps states inside its modules, where another batch finds them."""
    policy = policy_of(model_of("recurrent_gemma"))
    with pytest.raises(
        UserError, match=r"recurrent_gemma model that the embedded sampler cannot sample from.*differ by"
    ):
        make_sampler(policy, 8)


# -- layouts


@pytest.mark.parametrize("kind", ["opt", "falcon", "afmoe", "llama4_text", "qwen3_next", "lfm2"])
def test_packed_is_refused_where_rows_see_one_another(kind: str) -> None:
    policy = policy_of(model_of(kind))
    check_layout(policy, "padded")
    with pytest.raises(UserError, match=rf'"packed" is not for the {kind} model .*differ by .* write "padded"'):
        check_layout(policy, "packed")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "deepseek_v3", "gemma3n_text", "gemma4_text", "gpt2"])
@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
def test_layouts_that_agree_are_allowed(kind: str, layout: str) -> None:
    check_layout(policy_of(model_of(kind)), layout)


def test_shared_prompts_are_refused_where_a_cache_has_more_than_keys_and_values() -> None:
    with pytest.raises(UserError, match=r'"shared" is not for the qwen3_next model .* write "padded"'):
        check_layout(policy_of(model_of("qwen3_next")), "shared")


def test_a_layout_that_is_refused_leaves_no_run_behind(tmp_path: Path) -> None:
    model = saved(tmp_path / "opt", model_of("opt"))
    with pytest.raises(UserError, match=r'learner.layout = "packed" is not for the opt model'):
        train(tiny_recipe({"learner.layout": "packed"}, model), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- what training must not do


def moved(model: PreTrainedModel, **settings: Any) -> dict[str, torch.Tensor]:
    """Parameters before a step that differ from those after it."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    learner = learner_of(model, **settings)
    learner.learn(random_trajectories(model, seed=1, count=8), 1, Tally())  # it would stop if log-probs differed
    return {name: before[name] for name, p in model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize(
    ("kind", "noise"),
    [("mixtral", {"router_jitter_noise": 0.3}), ("phimoe", {"input_jitter_noise": 0.3}), ("minimax_m2", {})],
)
def test_experts_are_chosen_as_they_are_in_sampling(kind: str, noise: dict[str, float]) -> None:
    """Noise on what a router reads, and experts that are drawn at random, are for training from scratch."""
    assert moved(model_of(kind, **noise))


def test_router_noise_is_silenced() -> None:
    model = model_of("mixtral", router_jitter_noise=0.5).train()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("kind", ["phimoe", "qwen3_moe", "llama"])
def test_layers_are_computed_again_in_evaluation_mode_too(kind: str) -> None:
    gradients = []
    for again in (False, True):
        model = model_of(kind)
        learner = learner_of(model, gradient_checkpointing=again)
        counted: list[int] = []
        model.get_submodule("model.layers.1.input_layernorm").register_forward_hook(
            lambda *_, counted=counted: counted.append(1)
        )
        rows = random_trajectories(model, seed=1)
        counted.clear()
        learner.learn(rows, 1, Tally())
        gradients.append((len(counted), torch.cat([p.detach().flatten() for p in model.parameters()])))
    (plain, one), (twice, other) = gradients
    assert twice == 2 * plain
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def seeing() -> PreTrainedModel:
    """A Gemma 3 with a tower for images beside its language model."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": VOCABULARY, "sliding_window": 6,
            "layer_types": ["sliding_attention", "full_attention"], "eos_token_id": EOS, "pad_token_id": 0}  # fmt: skip
    config = Gemma3Config(
        text_config=text,
        vision_config={**sizes, "image_size": 16, "patch_size": 8},
        mm_tokens_per_image=1, image_token_index=90, boi_token_index=91, eoi_token_index=92, eos_token_id=EOS,
    )  # fmt: skip
    torch.manual_seed(0)
    return Gemma3ForConditionalGeneration(config).eval()


def test_weight_decay_does_not_reach_a_tower_that_text_does_not(tmp_path: Path) -> None:
    policy = load_policy(str(saved(tmp_path, seeing())), device="cpu")
    changed = moved(policy.model, weight_decay=0.5)
    assert any("language_model" in name for name in changed)
    assert not [name for name in changed if "vision" in name or "projector" in name]


@needs_peft
def test_adapters_stand_where_text_goes(tmp_path: Path) -> None:
    policy = load_policy(str(saved(tmp_path, seeing())), device="cpu")
    add_lora(policy, LoraSettings(rank=2), 0)
    names = [name for name, p in policy.model.named_parameters() if p.requires_grad]
    assert names
    assert all("language_model" in name and "lora_" in name for name in names)


@needs_peft
def test_routers_have_no_adapters() -> None:
    """PhiMoE's are linear layers that return two things."""
    policy = policy_of(model_of("phimoe"))
    policy.model.name_or_path = "phimoe"
    add_lora(policy, LoraSettings(rank=2), 0)
    names = [name for name, p in policy.model.named_parameters() if p.requires_grad]
    assert any("q_proj" in name for name in names)
    assert not [name for name in names if "router" in name or ".gate." in name]
    assert moved(policy.model).keys() <= set(names)


# -- loading


def test_damaged_weights_are_not_an_unknown_head(tmp_path: Path) -> None:
    model = model_of("llama")
    with torch.no_grad():
        model.get_parameter("model.norm.weight").fill_(float("nan"))
    with pytest.raises(UserError, match=r"names a model whose weights are not finite \(model\.norm\.weight\)"):
        load_policy(str(saved(tmp_path, model)), device="cpu")


def test_the_remedy_for_an_attention_is_one_that_loads(tmp_path: Path) -> None:
    folder = str(saved(tmp_path, model_of("gpt_oss")))
    with pytest.raises(UserError, match=r"model.attention = 'sdpa' does not fit .*; write \"eager\"\.$"):
        load_policy(folder, device="cpu")
    assert load_policy(folder, device="cpu", attention="eager").eos_ids == (EOS,)


def test_angles_that_hang_on_the_longest_row_bound_what_fits() -> None:
    """A longrope model has other angles for every row as soon as one is longer than the original positions."""
    factors = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    model = model_of("phi3", rope_parameters=factors, original_max_position_embeddings=64)
    assert model.config.max_position_embeddings == 512
    assert policy_of(model).positions == 64
    assert policy_of(model_of("llama")).positions == 512
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    assert policy_of(model_of("llama", rope_parameters=dynamic)).positions == 512
    assert policy_of(model_of("mamba")).positions is None


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, make("llama", VOCABULARY - 3))
    with pytest.raises(
        UserError, match=rf"has 3 tokens that the model has no embedding for .* knows {VOCABULARY - 3}\)"
    ):
        load_policy(str(folder), device="cpu")


def test_a_token_that_was_added_counts_where_a_prompt_has_it(tmp_path: Path) -> None:
    from r1zero.policy.tiny import character_tokenizer

    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    model_of("llama").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    policy = load_policy(str(tmp_path / "model"), device="cpu")
    sampler = make_sampler(policy, 4)
    assert drawn(sampler, [Request("a", policy.encode("1+1="))])
    with pytest.raises(UserError, match=rf"the token '<\|user\|>' \(id {VOCABULARY}\), and the model has"):
        drawn(sampler, [Request("a", policy.encode("<|user|>1+1="))])
    (tmp_path / "t.jinja").write_text("<|user|>{{ question }}")
    changes = {"template.name": str(tmp_path / "t.jinja")}
    with pytest.raises(UserError, match=r"the token '<\|user\|>'"):
        train(tiny_recipe(changes, tmp_path / "model"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- the plan


@pytest.mark.parametrize("kind", [*QUICK, "nemotron_h", "mixtral", "minimax", "gpt2"])
def test_a_plan_counts_experts_shared_layers_and_states(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    model.config.save_pretrained(tmp_path)
    attention = "eager" if kind in EAGER else "sdpa"
    shape = shape_of(str(tmp_path), None, attention, nullcontext, 64)
    assert shape.parameters == shape.trained == sum(p.numel() for p in model.parameters())
    assert 0 < shape.kept_checkpointed < shape.kept_per_token


@pytest.mark.parametrize("kind", ["deepseek_v3", "llama4_text", "qwen3_next", "gpt2"])
def test_a_plan_counts_adapters(kind: str, tmp_path: Path) -> None:
    model_of(kind).config.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path), None, "sdpa", nullcontext, 64, LoraSettings(rank=2))
    assert 0 < shape.trained < shape.parameters


def test_a_plan_counts_the_cache_that_the_sampler_makes(tmp_path: Path) -> None:
    """Compressed keys and values, layers that have none of their own, and both in windows and beyond."""
    for kind in ("deepseek_v3", "gemma3n_text", "gemma4_text", "llama"):
        policy = policy_of(model_of(kind))
        policy.model.config.save_pretrained(tmp_path / kind)
        sampler = make_sampler(policy, 4)
        drawn(sampler, REQUESTS)
        kept = sampler._kept
        per_token = shape_of(str(tmp_path / kind), None, "sdpa", nullcontext, 64).cache_per_token
        assert kept.size == per_token * kept.rows * kept.capacity


def test_a_plan_does_not_train_a_tower_that_text_does_not_reach(tmp_path: Path) -> None:
    model = seeing()
    model.config.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path), None, "sdpa", nullcontext, 64)
    inside = sum(p.numel() for name, p in model.named_parameters() if "vision" not in name and "projector" not in name)
    assert (shape.trained, shape.parameters) == (inside, sum(p.numel() for p in model.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["deepseek_v3", "gemma3n_text", "qwen3_next"])
def test_it_trains_resumes_and_reloads(kind: str, tmp_path: Path) -> None:
    from architectures import attempt

    row = attempt(kind, tmp_path)
    assert row.fault == ""
    assert row.sampling == ("plain" if kind in PLAIN else "continuous")
