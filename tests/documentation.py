"""What the documentation's blocks of code are, and how a page becomes a program.

A fenced block's language says what becomes of it: `python` and `sh` are run in the order of the page, in a folder of
its own; `toml` holds settings; any language with a `title="NAME"` is a file of that name; `text` is what somebody
reads. A line `<!-- needs: … -->` above a block says why it cannot run just anywhere; its commands are still read.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RUN = ("python", "sh")
READ = ("text", "yaml", "bash", "json")
FENCE = re.compile(
    r"^(?:<!-- needs: (?P<needs>[^\n]+) -->\n)?"
    r"```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"\n]+)\")?\n(?P<text>.*?)^```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    title: str | None
    needs: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.needs is None and (self.language in RUN or self.title is not None)


def pages() -> list[Path]:
    others = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    return [*others, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, 1 + text[: match.start()].count("\n"), *match.group("language", "text", "title", "needs"))
        for match in FENCE.finditer(text)
    ]


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


def program(parts: list[Block]) -> str:
    """Return a page as one Python program: its blocks' names are shared, its commands stop it where one fails."""
    lines = ["import subprocess, pathlib"]
    for block in parts:
        if block.title is not None:
            lines += [f"_file = pathlib.Path({block.title!r})", "_file.parent.mkdir(parents=True, exist_ok=True)"]
            lines += [f"_file.write_text({block.text!r}, encoding='utf-8')"]
        elif block.language == "python":
            lines += [f"print('--- {block.place}', flush=True)", block.text]
        else:
            script = f"echo '--- {block.place}'; set -x\n{block.text}"
            lines += [f"subprocess.run(['bash', '-euc', {script!r}], check=True, stdin=subprocess.DEVNULL)"]
    return "\n".join(lines)


def commands(block: Block) -> list[list[str]]:
    """Return the words of every `r1zero` command of a block, without what a shell takes off."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    starts = r"(?:^|&& |; |--\s+)(?:[A-Z0-9_]+=\S+ )*r1zero (?P<words>(?:'[^']*'|\"[^\"]*\"|[^'\"#;\n&])*)"
    return [shlex.split(match["words"]) for match in re.finditer(starts, text, re.M)]
