"""What every test shares: checked shapes, no network, repeatable property tests, and the folder of real data."""

import gc
import linecache
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before anything imports the libraries that read these. A test that needs the network is a bug, and must fail at once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# What torch compiles for one processor's instructions (vLLM has it do so) does not work under another's, and it would
# keep both under one name.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR",
    f"{tempfile.gettempdir()}/r1zero-tests-compiled-{os.getuid()}-{os.environ.get('ATEN_CPU_CAPABILITY', 'own')}",
)
# Ray's workers are nice to others, and would wait for whatever else the suite runs beside them; and it starts one a
# core ahead of time, though each actor here gets one of its own.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# Where the suite runs in several processes (`make test`), their threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("R1ZERO_TEST_THREADS", "1"))

import pytest
from _pytest import assertion
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

from regime import note_margin
from served import Server, serve

if TYPE_CHECKING:
    from browser import Browser

# Shapes and dtypes in the annotations of these packages are checked by beartype, here and nowhere else. The hook works
# on import, so it must come first.
CHECKED = ("r1zero.objectives", "r1zero.policy", "r1zero.learner.learner")
early = [name for name in CHECKED if name in sys.modules]
if early:
    raise RuntimeError(f"{', '.join(early)} imported before the type-checking hook: no plugin may import r1zero")
install_import_hook(CHECKED, "beartype.beartype")
# Until the tests begin: what is imported stays, and would be looked through for a fifth of the time that it takes.
gc.disable()

# The same examples every time, and no clock: a busy machine must not turn a test red.
settings.register_profile(
    "r1zero",
    derandomize=True,
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("r1zero")


# Files whose tests train, sample or compare two paths: what they see depends on how a processor rounds. vLLM's are left
# out, whose kernels know nothing of these regimes; `make test` runs them.
NUMERICS = frozenset(
    f"test_{name}.py"
    for name in (
        "analyze", "arithmetic_base", "audit_runs", "batch", "bias_meter", "checkpoints", "cluster", "demo", "draw",
        "embedded_sampler", "evaluate", "expected_gradient", "learner", "llama_decode", "load", "logprobs", "lora",
        "lowered", "noise", "objectives", "precision", "pretrain", "prompts", "resume", "static_decoder",
        "synced_engine", "taught", "terms", "train", "trl_parity",
    )
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: several processes then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        if item.path.name in NUMERICS:
            item.add_marker(pytest.mark.numerics)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from now on, though not among what was imported."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Let the exact audit, with its thousands of comparisons of whole gradients, go without margins: they cost most."""
    if item.path.name == "test_expected_gradient.py":
        assertion.util._assertion_pass = None


def pytest_assertion_pass(item: pytest.Item, lineno: int, orig: str, expl: str) -> None:
    """Note how near to its bound an assertion was; called where `make test-numerics` enables it."""
    # plugins' assertions come here, too: hypothesis has many
    if linecache.getline(str(item.path), lineno).lstrip().startswith(f"assert {orig[:12]}"):
        note_margin(item.nodeid, lineno, orig, expl)


REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real question sets beside the repository; tests that need it are skipped where it is absent."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder of real data at {folder}")
    return folder


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """A browser without a window; tests that need it are skipped where there is none."""
    pytest.importorskip("websockets", reason="no websockets: pages are not tried in a browser")
    import browser

    program = browser.found()
    if program is None:
        pytest.skip("no Chromium: pages are not tried in a browser")
    opened = browser.Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def tab(chromium: "Browser", page: Path) -> "Iterator[Browser]":
    """A file's `page` in a browser as a reader first sees it; it is quiet, and asks for nothing but itself."""
    chromium.size(1280, 900)
    chromium.system_theme("light")
    chromium.open(page)
    chromium.js("localStorage.clear()")
    yield chromium
    assert chromium.complaints == []
    assert chromium.requests == [page.as_uri()]


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that runs, with the options that are its parameter."""
    running = serve(tmp_path, **getattr(request, "param", {}))
    yield running
    running.kill()
