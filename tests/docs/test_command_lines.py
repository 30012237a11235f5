"""Every command line on the pages can be given as it stands, and every flag that they name exists."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import runpy
import sys
from functools import cache

import pytest

from hf_cocondenser.cli.command import parse
from hf_cocondenser.cli.main import main
from hf_cocondenser.cli.usage import COMMANDS
from tests.docs.pages import PAGES, ROOT, blocks, command_lines, own_command

SHELL = [
    (f"{block.name} {' '.join(words)[:70]}", words)
    for page in PAGES
    for block in blocks(page)
    if block.language == "bash"
    for words in command_lines(block)
]
OURS = [(name, own) for name, words in SHELL if (own := own_command(words))]
SCRIPTS = [(name, words) for name, words in SHELL if words[0] == "python" and not own_command(words)]
OTHERS = [(name, words) for name, words in SHELL if words[0] != "python" and not own_command(words)]
# Flags of other programs that the pages name within a sentence.
SCRIPT_FLAGS = {
    flag
    for script in (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/**/*.py"))
    for flag in re.findall(r'"(--[\w-]+)"', script.read_text("utf-8"))
}
FOREIGN = {"--cache-chunk-size", "--multi-gpu", "--num-processes", "--nproc-per-node", "--nnodes", "--cpu"}


class Parsed(Exception):
    """A script's arguments were accepted."""


@pytest.mark.parametrize("words", [words for _, words in OURS], ids=[name for name, _ in OURS])
def test_our_commands_are_accepted(words, monkeypatch):
    monkeypatch.chdir(ROOT)  # where the examples' YAML files are named from
    name, *argv = words
    if argv != ["--help"]:
        parse(name, importlib.import_module(f"hf_cocondenser.cli.{name}").COMMAND, argv)


@pytest.mark.parametrize("words", [words for _, words in SCRIPTS], ids=[name for name, _ in SCRIPTS])
def test_scripts_accept_their_arguments(words, monkeypatch):
    if words[1:3] == ["-m", "venv"]:
        return
    accept = argparse.ArgumentParser.parse_args

    def parse_args(self, *arguments, **keywords):
        accept(self, *arguments, **keywords)
        raise Parsed

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    module = words[1] == "-m"
    monkeypatch.setattr(sys, "argv", words[2:] if module else words[1:])
    with pytest.raises(Parsed):
        if module:
            runpy.run_module(words[2], run_name="__main__")
        else:
            runpy.run_path(words[1], run_name="__main__")


@pytest.mark.parametrize("words", [words for _, words in OTHERS], ids=[name for name, _ in OTHERS])
def test_other_programs_are_those_that_a_reader_has(words):
    assert words[0] in {"pip", "pytest", "ruff", "mypy", "mkdocs", "export", "source", "hf"}, words
    extras = {extra for word in words for part in re.findall(r"\[(.+)\]", word) for extra in part.split(",")}
    section = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert extras <= set(re.findall(r"^([\w-]+) = ", section, re.MULTILINE))


@cache
def help_flags(command: str) -> set[str]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([command, "--help"])
    return set(re.findall(r"--[\w-]+", printed.getvalue()))


# the changelog names flags that are gone
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "changelog.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_flags_named_in_sentences_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", text):
        words = code.replace("hf-cocondenser ", "").split()
        named = {re.split(r"[=\]]", word)[0].replace("_", "-") for word in words if re.match(r"--\w", word)} - FOREIGN
        if words and words[0] in COMMANDS:
            assert named <= help_flags(words[0]), f"`{code}`"
        elif words and words[0] not in ("python", "pip", "pytest", "torchrun", "mkdocs", "accelerate", "ruff"):
            known = SCRIPT_FLAGS.union(*map(help_flags, COMMANDS))
            assert named <= known, f"`{code}`"
