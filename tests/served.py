"""A minimal OpenAI-compatible server in a process of its own: real sockets, and it can really be killed.

It answers sums, or, with the option `model`, as that model does. Its log
has a line for every request that it has answered, so that a test sees what was asked twice: whoever has an answer finds
its line there. With the option `answers` it stops half-way, and waits there to be killed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = r"""
import json, re, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, log_path, options = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
lock, seen, asked, sent = threading.Lock(), [], [], []
enough = options.get("answers", float("inf"))

def held():  # all that is to be answered is, and somebody waits for more: nothing else is under way
    if len(sent) >= enough and len(asked) > enough:
        open(log_path + ".held", "w").close()

def real(path):
    import torch
    from r1zero.policy.load import load_policy
    from r1zero.sampling.protocol import Request, SamplingParams
    from r1zero.sampling.embedded.sampler import TorchSampler
    torch.set_num_threads(1)
    policy, turn = load_policy(path, device="cpu"), threading.Lock()
    sampler = TorchSampler(policy.model, policy.tokenizer, policy.eos_ids)
    def sampled(body):
        params = SamplingParams(body["max_tokens"], body["temperature"], stop=tuple(body.get("stop", ())))
        with turn:
            [done] = sampler.sample([Request("", tuple(body["prompt"]))], 1, params, seed=body["seed"], step=0)
        said = done.completion
        choice = {"text": said.text, "finish_reason": "length" if said.stop == "length" else "stop",
                  "token_ids": said.token_ids, "logprobs": {"token_logprobs": said.logprobs}}
        return 200, {"choices": [choice], "usage": {"completion_tokens": len(said.token_ids)}}
    return policy.encode, sampled

def completion(body):
    if options.get("strict") and "return_token_ids" in body:
        return 400, {"error": "unknown field return_token_ids"}
    unknown = [name for name in options.get("unknown", []) if name in body]
    if unknown:
        return 400, {"error": "Extra inputs are not permitted: " + ", ".join(unknown)}
    prompt = "".join(map(chr, body["prompt"]))
    if "REFUSE" in prompt:
        return 400, {"error": "the prompt is too long"}
    numbers = re.findall(r"\d+", prompt)
    value = sum(map(int, numbers[-2:])) + (0 if body["temperature"] == 0 else body["seed"] % 3)
    if any(name not in body for name in options.get("own_defaults", [])):  # of the model's generation_config
        value = 0
    text = f" {value}. Let me recheck: it is {value}." if body["seed"] % 4 == 1 else f" The answer is {value}"
    choice = {"index": 0, "text": text, "finish_reason": "stop", "stop_reason": None}
    if not options.get("bare"):
        choice["token_ids"] = [ord(c) for c in text] + [0]
        choice["logprobs"] = {"token_logprobs": [-0.5] * (len(text) + 1), "tokens": [*text, "<eos>"]}
    usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(text) + 1}
    return 200, {"choices": [choice], "usage": usage}

def chat(body):
    said = body["messages"][-1]["content"]
    if "REFUSE" in said:
        return 400, {"error": "filtered"}
    label = 2 if "recheck" in said else 1
    text = "I cannot say." if "RIDDLE" in said else options.get("says", f"It says so.\nCLASS: {label}")
    return 200, {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}

encode = lambda text: [ord(c) for c in text]
if options.get("model"):
    encode, completion = real(options["model"])

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            seen.append(1)
            busy = len(seen) <= options.get("busy", 0)
            odd = len(seen) <= options.get("odd_times", 0)
        if options.get("key") and self.headers.get("Authorization") != f"Bearer {options['key']}":
            status, answer = 401, {"error": "no"}
        elif busy:
            status, answer = 503, {"error": "loading"}
        elif odd:
            status, answer = 200, options["odd"]
        elif self.path == "/tokenize" and not options.get("no_tokenizer"):
            context = {"max_model_len": options["context"]} if "context" in options else {}
            status, answer = 200, {"tokens": encode(body["prompt"])} | context
        elif self.path in ("/v1/completions", "/v1/chat/completions"):
            with lock:
                asked.append(1)
                late = len(asked) > enough
                held()
            if late:
                threading.Event().wait()  # for the kill
            status, answer = (chat if "/chat/" in self.path else completion)(body)
        else:
            status, answer = 404, {"error": "nothing here"}
        data = json.dumps(answer).encode()
        with lock, open(log_path, "a") as log:
            log.write(json.dumps({"path": self.path, "status": status, "body": body}) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        with lock:
            sent.extend([1] * self.path.startswith("/v1/"))
            held()
    def log_message(self, *_):
        pass

ThreadingHTTPServer.allow_reuse_address = True
ThreadingHTTPServer.request_queue_size = 64
server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
print("listening", flush=True)
server.serve_forever()
"""


@dataclass
class Server:
    """A running server; `restart` brings a killed one back at the same address."""

    place: socket.socket
    """Bound to the address and deaf: while the server is down, its port is nobody else's, and callers are refused."""
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.place.getsockname()[1]}/v1"

    @property
    def answered(self) -> list[dict[str, Any]]:
        """Every request answered so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def held(self) -> bool:
        """Whether it has given the answers that it was to give, is asked for more, and waits to be killed."""
        return Path(f"{self.log}.held").exists()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self, **options: Any) -> None:
        self.process = _process(self.place, self.log, options)


def serve(folder: Path, **options: Any) -> Server:
    """Start one. Options: answers (how many it gives before it is `held`), busy (503 so often first), strict, bare,
    no_tokenizer, context, key, model (a folder to sample from), says (to a chat), odd (a JSON answer)
    for the first odd_times requests."""
    place, log = socket.socket(), folder / "requests.log"
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the server shares the port, as it sets this too
    place.bind(("127.0.0.1", 0))
    return Server(place, log, _process(place, log, options))


def _process(place: socket.socket, log: Path, options: dict[str, Any]) -> subprocess.Popen[bytes]:
    words = [str(place.getsockname()[1]), str(log), json.dumps(options)]
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"listening\n", "the server ended"
    return process
