"""The dispatcher, and flags and YAML files becoming arguments."""

from __future__ import annotations

import importlib
import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers import TrainingArguments

from hf_cocondenser import InputError
from hf_cocondenser.cli.command import Command, parse
from hf_cocondenser.cli.main import main
from hf_cocondenser.cli.usage import COMMANDS, help_text
from hf_cocondenser.cli.write_help import render_help

PACKAGE = Path(__file__).resolve().parents[2] / "hf_cocondenser"
WRITTEN = [name for name in COMMANDS if (PACKAGE / "cli" / f"{name}.py").is_file()]


@dataclass
class Arguments:
    """One flag of every kind."""

    output_dir: str = field(metadata={"help": "where"})
    learning_rate: float = field(default=1e-4, metadata={"help": "rate"})
    steps: int | None = field(default=None, metadata={"help": "steps (default: all)"})
    late_mlm: bool = field(default=True, metadata={"help": "late"})
    overwrite: bool = field(default=False, metadata={"help": "replace"})
    fast: bool | None = field(default=None, metadata={"help": "fast"})
    stage: Literal["condenser", "cocondenser"] = field(default="condenser", metadata={"help": "stage"})
    datasets: list[str] = field(default_factory=list, metadata={"help": "several"})

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate};\nit must be positive")


def do(source: str, arguments: Arguments) -> None:
    """Do it.

    Args:
        source: what to read.
    """


COMMAND = Command("Do it.", "  hf-cocondenser do x", do, "source")


def read(*argv: str) -> tuple[str, Arguments]:
    found = parse("do", COMMAND, argv)
    return found["source"], found["arguments"]


def test_flags():
    source, arguments = read("docs", "--output-dir", "out", "--learning_rate", "1e-5", "--datasets", "a", "b")
    assert source == "docs"
    assert arguments == Arguments("out", 1e-5, datasets=["a", "b"])


@pytest.mark.parametrize(
    "flags, expected",
    [
        ([], (True, False, None)),
        (["--overwrite"], (True, True, None)),
        (["--overwrite", "true", "--late-mlm", "false"], (False, True, None)),
        (["--no-late-mlm", "--fast"], (False, False, True)),
        (["--no_late_mlm", "--no-fast", "--no-overwrite"], (False, False, False)),
        (["--overwrite=false", "--fast=true"], (True, False, True)),
    ],
)
def test_booleans_are_plain_flags(flags, expected):
    for argv in ([*flags, "docs", "--output-dir", "out"], ["docs", "--output-dir", "out", *flags]):
        source, arguments = read(*argv)
        assert (source, arguments.output_dir) == ("docs", "out")
        assert (arguments.late_mlm, arguments.overwrite, arguments.fast) == expected


def test_yaml_file_and_flags_that_win_over_it(tmp_path):
    config = tmp_path / "do.yaml"
    config.write_text(
        "learning-rate: 1e-5\nsteps: 7\nlate_mlm: no\noverwrite: true\noutput_dir: from_file\n"
        "stage: cocondenser\ndatasets: [a, b]\nsource: from_file\nfast:\n"
    )
    source, arguments = read("--config", str(config))
    expected = Arguments("from_file", 1e-5, 7, False, True, None, "cocondenser", ["a", "b"])
    assert (source, arguments) == ("from_file", expected)
    flags = ["--late-mlm", "--no-overwrite", "--steps", "8", "--stage", "condenser", "--datasets", "c"]
    source, arguments = read("docs", "--config", str(config), "--output-dir", "out", *flags)
    assert (source, arguments) == ("docs", Arguments("out", 1e-5, 8, True, False, None, "condenser", ["c"]))


def test_yaml_list_does_not_swallow_the_target(tmp_path):
    config = tmp_path / "do.yaml"
    config.write_text("output_dir: out\ndatasets: [a, b]\n")
    assert read("docs", "--config", str(config))[0] == "docs"
    assert read("--config", str(config), "docs")[1].datasets == ["a", "b"]


def test_yaml_of_training_arguments(tmp_path):
    """transformers' own arguments: numbers that YAML takes for strings, enumerations, and a dictionary."""
    config = tmp_path / "train.yaml"
    config.write_text(
        "learning_rate: 1e-5\nwarmup_steps: 0.06\neval_strategy: steps\neval_steps: 10\nuse_cpu: true\n"
        f"output_dir: {tmp_path / 'out'}\nlr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {{min_lr: 1.0e-6}}\n"
    )

    def train(arguments: TrainingArguments) -> None:
        """Train."""

    arguments = parse("train", Command("Train.", "", train), ["--config", str(config), "--eval-steps", "20"])[
        "arguments"
    ]
    assert (arguments.learning_rate, arguments.warmup_steps, arguments.eval_steps) == (1e-5, 0.06, 20)
    assert arguments.eval_strategy == "steps" and arguments.use_cpu
    assert arguments.lr_scheduler_kwargs == {"min_lr": 1e-6}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        ("learning_rte: 1e-5", r"there is no option '--learning-rte'; did you mean '--learning-rate'\?"),
        ("nonsense: 1", "there is no option '--nonsense'"),
        ("help: true", "there is no option '--help'"),
        ("just words", "must hold 'option: value' lines"),
        ("- a\n- b", "must hold 'option: value' lines"),
        ("a: [1", "cannot be read"),
        ("steps: seven", "--steps.*'seven'"),
        ("steps: 7.5", "--steps.*'7.5'"),
        ("learning_rate: [1, 2]", r"'learning_rate' is one number, not \[1, 2\]"),
        ("steps: {a: 1}", "'steps' is one number"),
        ("output_dir: [a, b]", r"'output_dir' is one value, not \['a', 'b'\]"),
        ("stage: [condenser]", "'stage' is one value"),
        ("overwrite: [true]", "'overwrite' is one value"),
        ("datasets: {a: b}", "'datasets' is one value"),
        ("late_mlm: perhaps", "perhaps"),
        ("stage: third", "--stage: invalid choice: 'third'"),
        ("learning_rate: -1", "learning_rate is -1.0; it must be positive"),
    ],
)
def test_bad_yaml(text, message, tmp_path):
    config = tmp_path / "do.yaml"
    config.write_text(text)
    with pytest.raises(InputError) as caught:
        read("docs", "--output-dir", "out", "--config", str(config))
    assert re.search(message, caught.value.for_command_line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["docs"], r"required: --output-dir \(see hf-cocondenser do --help\)"),
        (["--output-dir", "out"], "SOURCE is missing: what to read"),
        (["docs", "--output-dir", "out", "--lerning-rate", "1"], r"did you mean '--learning-rate'\?"),
        (["docs", "--output-dir", "out", "more"], "there is no argument 'more'"),
        (["docs", "--output-dir", "out", "--steps", "x"], "--steps: invalid"),
        (["docs", "--output-dir", "out", "--stage", "x"], "--stage: invalid choice"),
        (["docs", "--output-dir", "out", "--learning-rate", "0"], "must be positive"),
        (["docs", "--output", "out"], "--output-dir"),
        (["docs", "--output-dir", "out", "--config", "nowhere.yaml"], "'nowhere.yaml' cannot be read"),
        (["docs", "--output-dir", "out", "--config"], "--config: expected one argument"),
    ],
)
def test_bad_flags(argv, message):
    with pytest.raises(InputError) as caught:
        read(*argv)
    assert re.search(message, caught.value.for_command_line)
    assert "\n" not in str(caught.value)


def test_help_of_the_program_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out and summary in out for name, summary in COMMANDS.items())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hf-cocondenser {version('hf-cocondenser')}\n"


def test_no_command_and_an_unknown_one(capsys):
    assert main([]) == 2
    assert main(["exprot"]) == 2
    assert "there is no command 'exprot'" in capsys.readouterr().err


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_has_help_with_examples_defaults_and_no_clutter(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    command = importlib.import_module(f"hf_cocondenser.cli.{name}").COMMAND
    assert command.examples in out and f"hf-cocondenser {name}" in command.examples
    assert "default: None" not in out and "_" not in "".join(line for line in out.split() if line.startswith("--"))
    assert "--config" in out


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "quickstart"])
def test_every_command_refuses_to_run_without_its_target(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([name, "--no-such-flag"]) == 2
    assert main([name]) == 2
    error = capsys.readouterr().err
    assert error.count(f"hf-cocondenser {name}: error: ") == 2 and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_is_its_own_sentence(tmp_path, capsys):
    """A folder where nothing may be made: the target is below a file."""
    (tmp_path / "file").write_text("")
    source = tmp_path / "docs.jsonl"
    source.write_text('{"_id": "1", "text": "some text"}\n')
    target = tmp_path / "file" / "spans"
    assert main(["prepare", str(source), "--train-tokenizer", "100", "--output-dir", str(target)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("hf-cocondenser prepare: error: ") and str(tmp_path / "file") in error


def test_a_launch_of_several_that_started_one(tmp_path, capsys, monkeypatch):
    """What `accelerate launch --cpu --num_processes 2` sets and does not set."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert main(["pretrain", "bert:2x64", "--output-dir", str(tmp_path / "out")]) == 2
    assert "torchrun --nproc-per-node" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["prepare"]) == 2
    assert "accelerate" not in capsys.readouterr().err


@pytest.mark.slow
def test_stopping_is_status_130(tmp_path):
    """A command waits for its YAML file, a pipe that nobody fills, and gets Ctrl-C."""
    pipe = tmp_path / "options.yaml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "hf_cocondenser", "export", "x", "--config", str(pipe)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with pipe.open("w"):  # opens when the command has opened its end
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=180)
    assert process.returncode == 130
    assert error == "hf-cocondenser export: stopped.\n"


def test_a_full_memory_is_one_sentence(capsys, monkeypatch):
    def run(checkpoint: str):
        """Fail.

        Args:
            checkpoint: any.
        """
        torch.empty(2**60)

    monkeypatch.setattr("hf_cocondenser.cli.export.COMMAND", Command("", "", run, "checkpoint"))
    assert main(["export", "x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-cocondenser export: error: The memory is full") and error.count("\n") == 1


def test_an_unknown_log_level_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("HF_COCONDENSER_LOG", "loud")
    assert main(["export", "x", "--output-dir", "y"]) == 2
    assert "it must be DEBUG, INFO" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_every_character(monkeypatch):
    """What an old Windows console or a Latin-1 locale does to titles in Chinese."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))

    def run(checkpoint: str):
        """Print.

        Args:
            checkpoint: any.
        """
        print("é 鲸", end="")

    monkeypatch.setattr("hf_cocondenser.cli.export.COMMAND", Command("", "", run, "checkpoint"))
    assert main(["export", "x"]) == 0
    sys.stdout.flush()
    assert written.getvalue() == b"\xe9 \\u9cb8"


@pytest.mark.slow
def test_help_and_version_import_no_torch():
    code = "import sys, hf_cocondenser_launcher as c; status = c.main(); assert 'torch' not in sys.modules; sys.exit(status)"
    for argument, words, status in (
        ("--help", "finetune", 0),
        ("--version", version("hf-cocondenser"), 0),
        ("nothing", "", 2),
        ("finetune --help", "--learning-rate", 0),
        ("finetune x --lerning-rate 1", "", 2),
    ):
        process = subprocess.run(
            [sys.executable, "-c", code, *argument.split()],
            cwd=PACKAGE.parent,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert process.returncode == status, process.stderr
        assert words in process.stdout and "Traceback" not in process.stderr


@pytest.mark.slow
def test_stopping_while_libraries_are_loaded(tmp_path):
    """Ctrl-C comes from inside torch's import: here from a torch that does nothing else."""
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    process = subprocess.run(
        [sys.executable, "-c", "import sys, hf_cocondenser_launcher as c; sys.exit(c.main())", "export", "x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 130
    assert process.stderr == f"hf-cocondenser export: {COMMANDS['export']}\n"  # said before anything is loaded


@pytest.mark.slow
def test_library_noise_stays_away(tmp_path):
    """What a user sees of a whole command is our line and nothing else."""
    from tests.hub.conftest import make_model, train_tokenizer

    make_model().save_pretrained(tmp_path / "checkpoint")
    train_tokenizer().save_pretrained(tmp_path / "checkpoint")
    process = subprocess.run(
        [sys.executable, "-m", "hf_cocondenser", "export", "checkpoint", "--output-dir", "retriever"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(PACKAGE.parent),
            "HF_HOME": str(tmp_path / "hf"),
            "PATH": os.environ["PATH"],
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0 and process.stderr == ""
    assert process.stdout == "The retriever is in 'retriever'; it loads with AutoModel and SentenceTransformer.\n"


def test_the_command_that_readme_begins_with_takes_no_flag_as_it_stands():
    readme = (PACKAGE.parent / "README.md").read_text("utf-8")
    block = readme.split("<!-- quickstart -->")[1].split("```")[1]
    (command,) = [line.split() for line in block.splitlines() if line.startswith("hf-cocondenser")]
    module = importlib.import_module(f"hf_cocondenser.cli.{command[1]}")
    arguments = parse(command[1], module.COMMAND, command[2:])
    assert arguments["output_dir"] == "quickstart" and arguments["minutes"] is None


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "quickstart"])
def test_a_command_alone_says_what_it_needs(name, capsys):
    assert main([name]) == 2
    message = capsys.readouterr().err
    assert "required" in message or "missing" in message or "name " in message.lower(), message


@pytest.mark.parametrize("name", COMMANDS)
def test_the_written_help_is_what_the_parser_says(name):
    """If not: python -m hf_cocondenser.cli.write_help"""
    written = help_text(name)
    if written is None:
        pytest.skip("the help was written with other versions of transformers or sentence-transformers")
    assert written.split() == render_help(name).split()


def test_debug_shows_where_an_error_happened(caplog):
    with caplog.at_level("DEBUG"):
        assert main(["export", "nowhere", "--output-dir", "out"]) == 2
    assert any(record.exc_info for record in caplog.records)
