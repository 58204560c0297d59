"""The architecture as a test: which module may import which, what stays light, and how long things may grow.

LAYERS is the architecture. A new top-level module goes into it at its place, or this test fails.
"""

import ast
import importlib
import re
import runpy
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import r1zero

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "r1zero"
PAGE = ROOT / "docs" / "architecture.md"

# A module imports only modules above it. The root `__init__` belongs to none.
LAYERS = (
    "errors",
    "hub",
    "endpoint",
    "types",
    "sources",
    "statistics",
    "published",
    "metrics",
    "config",
    "runs",
    "trackers",
    "questions",
    "templates",
    "verify",
    "rewards",
    "objectives",
    "policy",
    "sampling",
    "learner",
    "rollouts",
    "evaluation",
    "training",
    "cluster",
    "pretrain",
    "audit",
    "api",
    "analyze",
    "report",
    "plan",
    "rehearsal",
    "paper",
    "doctor",
    "cli",
    "__main__",
)
# Reports read files: whoever runs things writes files, and never calls the report.
READERS_OF_REPORT = {"report", "paper", "cli"}
# The science reads without the project.
PURE_MATHS = ("r1zero.objectives.advantage", "r1zero.objectives.surrogate", "r1zero.objectives.weights")

HEAVY = ("torch", "transformers", "datasets", "matplotlib")
LIGHT = {
    "r1zero.types": ("torch",),
    "r1zero.questions": ("torch", "datasets", "pyarrow", "numpy"),
    "r1zero.templates": ("torch", "transformers", "jinja2"),
    "r1zero.verify": ("torch",),
    "r1zero.rewards.open": ("torch",),
    "r1zero.config": ("torch",),
    "r1zero.trackers": ("torch",),
    "r1zero.runs.run": ("torch", "transformers", "datasets"),
    "r1zero.report.pages.run": ("torch",),
    "r1zero.doctor": HEAVY,
    "r1zero.cli": HEAVY,
}

FILE_LINES = 400
FUNCTION_LINES = 60  # the guide says 40; a docstring does not count
MOST_FUNCTIONS_LINES = 25  # nine of ten are no longer
LOOP_IFS = 5  # of `train`, which reads aloud
CHAIN = 12  # rooms, each of which imports the next
EXCEPTIONS = 5  # kinds that one handler spells out
# Where everything is caught, and why.
BOUNDARIES = {
    "endpoint.py": "what fails in a thread is raised again, as it is, in the caller's",
    "policy/probe.py": "a model's own code may fail in any way, on what it was not made for",
    "verify/grade.py": "an answer may be anything, and grading never ends a run",
    "verify/workers/worker.py": "a user's reward may raise anything",
}


def module_name(path: Path) -> str:
    parts = ("r1zero", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
MODULES = {module_name(path): path for path in TREES}


def imported(node: ast.AST, module: str) -> list[str]:
    """The project's modules that an import statement names, `from . import x` and `from r1zero import x` resolved."""
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            is_package = MODULES[module].name == "__init__.py"
            package = module.split(".")[: None if is_package and node.level == 1 else is_package - node.level]
            base = ".".join([*package, base] if base else package)
        whole = [f"{base}.{alias.name}" for alias in node.names]
        named = [name if name in MODULES else base for name in whole]
    else:
        named = []
    return [name for name in named if name == "r1zero" or name.startswith("r1zero.")]


def edges(module: str) -> Iterator[tuple[str, int]]:
    """Every project module that `module` imports, anywhere in it, with the line."""
    for node in ast.walk(TREES[MODULES[module]]):
        for name in imported(node, module):
            yield name, getattr(node, "lineno", 0)


def layer(module: str) -> str:
    """The top-level module a module belongs to; the root itself is ''."""
    return module.split(".")[1] if "." in module else ""


def rooms() -> dict[str, set[str]]:
    """Which rooms each room imports."""
    found: dict[str, set[str]] = {name: set() for name in LAYERS}
    for module in MODULES:
        for name, _ in edges(module):
            if layer(module) and layer(name) not in ("", layer(module)):
                found[layer(module)].add(layer(name))
    return found


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield path, node


def where(path: Path, line: int) -> str:
    return f"src/r1zero/{path.relative_to(SOURCE)}:{line}"


def test_relative_and_absolute_imports_are_resolved() -> None:
    def names(line: str, module: str) -> list[str]:
        return imported(ast.parse(line).body[0], module)

    assert names("from . import x", "r1zero.verify") == ["r1zero.verify"]
    assert names("from .. import types", "r1zero.verify") == ["r1zero.types"]
    assert names("from . import types", "r1zero.errors") == ["r1zero.types"]
    assert names("from .types import Stop", "r1zero.errors") == ["r1zero.types"]
    assert names("from r1zero import types, __version__", "r1zero.errors") == ["r1zero.types", "r1zero"]
    assert names("import r1zero.types, torch", "r1zero.errors") == ["r1zero.types"]
    assert names("from r1zero_other import x", "r1zero.errors") == []


def test_every_top_level_module_is_in_the_list() -> None:
    strangers = sorted({layer(module) for module in MODULES} - {"", *LAYERS})
    assert not strangers, f"put {', '.join(strangers)} into LAYERS, at its place"


def test_a_module_imports_only_modules_above_it() -> None:
    faults = [
        f"{where(MODULES[module], line)} imports {name}"
        for module in MODULES
        for name, line in edges(module)
        if layer(module) in LAYERS and layer(name) in LAYERS and LAYERS.index(layer(name)) > LAYERS.index(layer(module))
    ]
    assert not faults, "\n".join(faults)


def test_only_readers_import_the_report() -> None:
    faults = [
        f"{where(MODULES[module], line)} imports {name}"
        for module in MODULES
        for name, line in edges(module)
        if layer(name) == "report" and layer(module) not in READERS_OF_REPORT
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", PURE_MATHS)
def test_the_maths_imports_nothing_local(module: str) -> None:
    assert not list(edges(module))


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("r1zero.verify.answers")))
def test_the_meaning_of_answers_imports_nothing_from_outside_itself(module: str) -> None:
    """Answers read without the project, and the project's records, settings and errors without answers."""
    faults = [f"{where(MODULES[module], line)} imports {name}" for name, line in edges(module)
              if not f"{name}.".startswith("r1zero.verify.answers.")]  # fmt: skip
    assert not faults, "\n".join(faults)


def test_the_package_itself_imports_no_public_name() -> None:
    """Names of the root are for programs outside: they would hide which room stands on which."""
    faults = [
        f"{where(path, node.lineno)} imports {alias.name} from r1zero"
        for path, node in nodes(ast.ImportFrom)
        for alias in getattr(node, "names", ())
        if getattr(node, "module", None) == "r1zero" and alias.name in r1zero.__all__
    ]
    assert not faults, "\n".join(faults)


def test_there_are_no_import_cycles() -> None:
    graph = {module: {name for name, _ in edges(module) if name in MODULES and name != "r1zero"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_longest_chain_of_rooms_is_short() -> None:
    """LAYERS is an order of all rooms; how deep they really stand on one another is the longest chain of imports."""
    below = rooms()

    @cache
    def chain(room: str) -> tuple[str, ...]:
        return room, *max((chain(name) for name in below[room]), key=len, default=())

    longest = max((chain(room) for room in below), key=len)
    assert len(longest) <= CHAIN, f"{len(longest)} rooms: {' → '.join(longest)}"


def test_project_imports_stand_at_the_top_of_the_file_except_in_cli() -> None:
    faults = [
        f"{where(path, inner.lineno)} imports {name} inside a function"
        for path, function in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
        if path.parent.name != "cli"
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
        for name in imported(inner, module_name(path))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_stay_light(module: str) -> None:
    program = f"import {module}, sys; print(*sorted(set({LIGHT[module]!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [], f"import {module} loads {done.stdout.strip()}"


def outside_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement that runs, which those under `if TYPE_CHECKING:` do not."""
    yield node
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    for child in ast.iter_child_nodes(node):
        yield from outside_type_checking(child)


def test_one_file_draws_with_matplotlib() -> None:
    found = {path for path, node in nodes(ast.Import, ast.ImportFrom) if "matplotlib" in ast.unparse(node)}
    assert found == {SOURCE / "report" / "draw" / "files.py"}


def test_everything_imported_is_declared_in_pyproject() -> None:
    """What only comes along with another package, or only with the development tools, fails in a plain install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in [*project["dependencies"], *extras]}  # type: ignore[index]
    faults = []
    for path, tree in TREES.items():
        for node in outside_type_checking(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"r1zero"}
            missing = [root for root in roots if root.replace("_", "-").lower() not in declared]
            faults += [f"{where(path, getattr(node, 'lineno', 0))} imports {root}" for root in missing]
    assert not faults, "\n".join(faults)


def test_shapes_are_checked_under_pytest() -> None:
    maths = importlib.import_module("r1zero.objectives.advantage")
    assert "jaxtyping" in type(maths.__spec__.loader).__module__  # type: ignore[union-attr]


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TREES}
    faults = [f"{where(path, 1)} has {lines} lines" for path, lines in lengths.items() if lines > FILE_LINES]
    assert not faults, "\n".join(faults)


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, signature included and docstring not."""
    doc = node.body[0] if ast.get_docstring(node) is not None else None
    documented = (doc.end_lineno or 0) - doc.lineno + 1 if doc else 0
    return (node.end_lineno or 0) - node.lineno + 1 - documented


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield path, node


def test_functions_are_short() -> None:
    faults = [
        f"{where(path, node.lineno)} {node.name} has {lines_of(node)} lines"
        for path, node in functions()
        if lines_of(node) > FUNCTION_LINES
    ]
    assert not faults, "\n".join(faults)


def test_most_functions_are_shorter_still() -> None:
    lengths = sorted(lines_of(node) for _, node in functions())
    assert lengths[len(lengths) * 9 // 10] <= MOST_FUNCTIONS_LINES


def test_the_loop_reads_aloud() -> None:
    """What wants an `if` in it becomes a row of a table or goes behind a protocol."""
    (loop,) = [node for path, node in functions() if (path.name, node.name) == ("train.py", "train")
               and path.parent.name == "training"]  # fmt: skip
    assert lines_of(loop) <= FUNCTION_LINES
    assert sum(isinstance(node, ast.If) for node in ast.walk(loop)) <= LOOP_IFS


def test_no_public_class_name_stands_twice() -> None:
    """A name that means two things has to be told apart at every use."""
    homes = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(where(path, node.lineno))
    faults = [f"{name}: {', '.join(places)}" for name, places in homes.items() if len(places) > 1]
    assert not faults, "\n".join(faults)


def kinds_of(handler: ast.ExceptHandler) -> list[ast.expr | None]:
    return [*handler.type.elts] if isinstance(handler.type, ast.Tuple) else [handler.type]


def test_broad_except_stands_only_at_the_boundaries() -> None:
    """A handler for every exception swallows bugs; one that only cleans up and raises again does not."""
    faults, found = [], set()
    for path, node in nodes(ast.ExceptHandler):
        assert isinstance(node, ast.ExceptHandler)
        broad = any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds_of(node))
        reraises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if broad and not reraises:
            found.add(path.relative_to(SOURCE).as_posix())
            if path.relative_to(SOURCE).as_posix() not in BOUNDARIES:
                faults.append(f"{where(path, node.lineno)} catches everything")
    assert not faults, "\n".join(faults)
    assert found == set(BOUNDARIES)


def test_a_long_list_of_exceptions_has_a_name_and_a_reason() -> None:
    """Spelled out at the handler, it is a broad one in disguise."""
    faults = [
        f"{where(path, node.lineno)} catches {len(kinds_of(node))} kinds; name the list once, and say why"
        for path, node in nodes(ast.ExceptHandler)
        if isinstance(node, ast.ExceptHandler) and len(kinds_of(node)) > EXCEPTIONS
    ]
    assert not faults, "\n".join(faults)


def test_the_package_names_no_folder_of_any_one_machine() -> None:
    """Real data is found by a setting, never by a path that exists where the code was written."""
    foreign = re.compile(r"(?<![\w/])(\.\./)?shared/|(?<![\w.])/(work|home|root|Users)/")
    faults = [
        f"{where(path, number)} {line.strip()}"
        for path in TREES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if foreign.search(line)
    ]
    assert not faults, "\n".join(faults)


def test_the_picture_shows_the_imports() -> None:
    draw = runpy.run_path(str(ROOT / "scripts" / "draw_architecture.py"))["draw"]
    picture = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert picture == draw(rooms()), "run: python scripts/draw_architecture.py"


def coded(line: str) -> tuple[list[Path], list[str]]:
    """What a line of the page sets in backticks: paths, of the package or beside it, and names of code."""
    spans = re.findall(r"`([^`]+)`", line)
    paths = [span for span in spans if re.fullmatch(r"[\w./-]+(/|\.py)", span)]
    names = [span for span in spans if span not in paths and re.fullmatch(r"[A-Za-z_][\w.]*", span)]
    return [SOURCE / path if (SOURCE / path).exists() else ROOT / path for path in paths], names


def test_the_page_names_files_that_exist_and_what_is_in_them() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\||\d\.", line)]
    assert len(lines) > 80
    faults = []
    for line in lines:
        paths, names = coded(line)
        faults += [f"there is no {path.relative_to(ROOT)}: {line}" for path in paths if not path.exists()]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
        absent = [name for name in names if paths and not re.search(rf"\b{re.escape(name)}\b", text)]
        faults += [f"no {name} there: {line}" for name in absent]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", [PAGE, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_paths_in_the_prose_exist(page: Path) -> None:
    missing = [path.relative_to(ROOT) for path in coded(page.read_text(encoding="utf-8"))[0] if not path.exists()]
    assert not missing


def test_sentences_say_what_is_not_valid_and_what_to_write() -> None:
    """As CONTRIBUTING.md has it: "X is not a valid Y: write Z", never "X is none" or "X is no Y"."""
    told = re.compile(r"\bis none\b|(?<![Tt]here )\bis no (?!longer|more|older)\w+|\bnobody's\b|\b[Ww]hat becomes of\b")
    documentation = {id(node.value) for _, node in nodes(ast.Expr) if isinstance(node, ast.Expr)}
    faults = [
        f"{where(path, getattr(node, 'lineno', 0))} {node.value!r}"
        for path, node in nodes(ast.Constant)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        if told.search(node.value)
    ]
    assert not faults, "\n".join(faults)
