"""What mkdocs does to the pages: fills in the reference, and keeps links to the repository's other files readable."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import griffe

import hf_cocondenser
from hf_cocondenser.cli.main import main
from hf_cocondenser.cli.usage import COMMANDS

DOCS = Path(__file__).resolve().parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\.?/[^)#]+)(#[^)]*)?\)")
EXAMPLE = re.compile(r"^Examples?:\n((?:    .*(?:\n|\Z)|\n(?=    ))+)", re.MULTILINE)
ROOMS = {
    "pretraining": "Pre-training",
    "data": "Documents, spans and batches",
    "finetuning": "Fine-tuning and adaptation",
    "retrieval": "Retrieval",
    "evaluation": "Evaluation",
    "hub": "Export and the Hub",
    "research": "Research",
}


class CodeExamples(griffe.Extension):
    """Has a docstring's `Example:` shown as code, whether it is a doctest or not."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Call the section as griffe does, and mark its lines as input, by which it tells code."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_as_doctest, obj.docstring.value)


def _as_doctest(example: re.Match[str]) -> str:
    lines = example[1].rstrip().splitlines()
    if ">>>" not in example[1]:
        lines = [f"    {'...' if line[4:].startswith((' ', ')')) else '>>>'} {line[4:]}".rstrip() for line in lines]
    return "\n".join(["Examples:", *lines, ""])


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated, then unlink what the site does not hold."""
    for marker, generate in (("commands", commands), ("python", python)):
        if f"<!-- generated: {marker} -->" in markdown:
            markdown = markdown.replace(f"<!-- generated: {marker} -->", generate())
    folder = (DOCS / page.file.src_path).parent
    return LINK.sub(lambda link: _on_site(link, folder), markdown)


def commands() -> str:
    """`--help` of every command."""
    sections = []
    for name, summary in COMMANDS.items():
        with redirect_stdout(io.StringIO()) as printed:
            main([name, "--help"])
        sections.append(
            f"## {name}\n\n{summary[0].upper()}{summary[1:]}.\n\n```text\n{printed.getvalue().strip()}\n```"
        )
    return "\n\n".join(sections)


def python() -> str:
    """The docstring of every public name, by the room it comes from."""
    names = defaultdict(list)
    for name in hf_cocondenser.__all__:
        module = getattr(hf_cocondenser, name).__module__.removeprefix("hf_cocondenser.")
        names[module.split(".")[0] if "." in module else ""].append((name, module))
    rooms = [(ROOMS[room], names[room]) for room in ROOMS if names[room]]
    rooms.insert(0, ("The model", names[""]))
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join(f"::: hf_cocondenser.{module}.{name}" for name, module in sorted(members))
        for title, members in rooms
    )


def _on_site(link: re.Match[str], folder: Path) -> str:
    """Text in the place of a link that leads out of `docs/`; the repository's own view keeps the link."""
    target = (folder / link[2]).resolve()
    if target.is_relative_to(DOCS):
        return link[0]
    path = target.relative_to(DOCS.parent).as_posix()
    return f"{link[1]} (`{path}`)" if path not in link[1] else link[1]
