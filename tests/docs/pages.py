"""The pages a reader sees, and the code blocks on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "model_cards/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
_BLOCK = re.compile(r"(<!-- run -->\s*\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block; `run` where a comment above it asks for it to be executed."""

    page: Path
    line: int
    language: str
    text: str
    run: bool

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        yield Block(page, text.count("\n", 0, match.start(3)), match[2], match[3], match[1] is not None)


def command_lines(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block, without the variables set before it."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in re.split(r"\s&&\s", line):
            words = shlex.split(command, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield words


def own_command(words: list[str]) -> list[str] | None:
    """`[COMMAND, argument, ...]` of a line that starts this package, by whatever launcher; else None."""
    if words[0] == "hf-cocondenser":
        return words[1:]
    if words[0] in ("python", "torchrun", "accelerate") and "hf_cocondenser" in words:
        return words[words.index("hf_cocondenser") + 1 :]
    return None
