"""Kills, damage, two processes and full disks: what every command does about them, counted.

    python -m benchmarks.campaign --output campaign.json            # some hours
    python -m benchmarks.campaign --quick --output campaign.json    # minutes: the first commands, a few trials of each

Each trial runs a command on small data, in a process of its own, and harms it; then the same command again must give the
artefact that an undisturbed run gave, bit for bit but for times, or refuse in one sentence. A trial ends as

    same       the artefact is that of the undisturbed run
    refused    exit status 2 and one sentence (damaged files, two processes)
    noticed    another result, with a warning (weights that may have been changed on purpose)
    other      another result, and nothing said
    traceback  an error that is not one sentence
    hang       not ended within the limit
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("campaign")

LIMIT = 300  # seconds a run may take
SECTIONS = ("random kills", "kills before a file operation", "damaged files", "two processes", "full disk")
_WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copyfile", "os.truncate")
_COMPARED = {".safetensors", ".arrow", ".npy", ".trec", ".jsonl", ".txt"}  # JSON files and cards hold times

FINETUNE = "--max-steps 4 --batch-size 4 --eval-steps 0.5 --dev-share 0.3 --passage-length 32 --learning-rate 1e-3"
COMMANDS: dict[str, str] = {
    "prepare": "prepare {in}/docs.jsonl --tokenizer {in}/spans --target-tokens 24 --output-dir {out}",
    "pretrain": "pretrain bert:2x64 --spans {in}/spans --stage cocondenser --output-dir {out} --max-length 32 --use-cpu "
    "--max-steps 4 --save-steps 1 --save-total-limit 2 --per-device-train-batch-size 4 --report-to none",
    "finetune": "finetune {in}/start --data {in}/data --output-dir {out} --rounds 1 " + FINETUNE,
    "search": "search {in}/retriever --data {in}/data --cache-dir {out} --index Flat --output {out}.trec",
    "export": "export {in}/checkpoint --output-dir {out}",
    "two rounds": "finetune {in}/start --data {in}/data --output-dir {out} --rounds 2 --mine-depth 20 " + FINETUNE,
    "pairs": "finetune {in}/start --output-dir {out} --stages pretrain --pairs {in}/pairs.jsonl --pairs-steps 4 "
    "--batch-size 4 --passage-length 32 --eval-steps 0.5 --learning-rate 1e-3",
    "adapt": "adapt {in}/start --documents {in}/docs.jsonl --output-dir {out} --pretrain-steps 2 --pretrain-batch-size 4 "
    "--pretrain-max-length 32 --rounds 1 " + FINETUNE,
    "evaluate": "evaluate {in}/retriever --data {in}/data --output-dir {out}",
    "scorers": "scorers {in}/start --data {in}/data --output-dir {out} --scorers dense colbert --max-steps 3 --batch-size 4 "
    "--passage-length 32 --no-bf16",
}
_READERS = {  # beside the command itself: who reads its artefact
    "prepare": "pretrain bert:2x64 --spans {out} --stage cocondenser --output-dir {out}-read --max-length 32 --use-cpu "
    "--max-steps 2 --per-device-train-batch-size 4 --report-to none",
    "pretrain": "export {out} --output-dir {out}-read",
    "export": "search {out} --data {in}/data --output {out}-read.trec",
    "finetune": "search {out} --data {in}/data --output {out}-read.trec",
}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _overwrite(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 16] = b"\xff" * 16
    path.write_bytes(content)


HARMS: dict[str, Callable[[Path], object]] = {
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "one bit": _flip,
    "16 bytes": _overwrite,
    "garbage": lambda path: path.write_bytes(b"\x00\xffgarbage" * 40),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "[]": lambda path: path.write_text("[]"),
    "{}": lambda path: path.write_text("{}"),
    "null": lambda path: path.write_text("null"),
}
_JSON_ONLY = ("[]", "{}", "null")


@dataclass
class Ended:
    """How a run ended: its exit status (None: it was stopped at the limit) and what it wrote to stderr."""

    status: int | None
    error: str

    @property
    def how(self) -> str:
        """`done`, `refused`, `traceback` or `hang`."""
        if self.status is None:
            return "hang"
        if self.status == 0:
            return "done"
        told = [line for line in self.error.splitlines() if ": error: " in line]
        return "refused" if self.status == 2 and len(told) == 1 and "Traceback" not in self.error else "traceback"


class Child:
    """A command in a forked process, which spares the imports."""

    def __init__(self, command: str, folder: Path, name: str, before: Callable[[], None] = lambda: None) -> None:
        self.log = Path(tempfile.mkstemp(suffix=".log")[1])
        argv = command.format_map({"in": folder / "in", "out": folder / name}).split()
        self.pid = os.fork()
        if self.pid == 0:
            status = 70
            try:
                output = os.open(self.log, os.O_WRONLY)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.chdir(folder)
                from hf_cocondenser.cli.main import main

                before()
                status = main(argv)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Wait for the end, or end it at the limit."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(code))
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return self._ended(None)

    def kill(self, after: float) -> Ended:
        """Kill it after some seconds, unless it has ended."""
        deadline = time.monotonic() + after
        while time.monotonic() < deadline:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return self._ended(os.waitstatus_to_exitcode(code))
            time.sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        return self._ended(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))

    def _ended(self, status: int | None) -> Ended:
        error = self.log.read_text(errors="replace")
        self.log.unlink()
        return Ended(status, error)


def before_operation(number: int, folder: Path, counted: Path | None = None) -> Callable[[], None]:
    """A hook that kills the process before its `number`-th change of a file in the folder; or counts all of them."""

    def install() -> None:
        done = [0]

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            is_write = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+")
            if not is_write and event not in _WRITES:
                return
            if not str(arguments[0]).startswith(str(folder)) or str(arguments[0]) == str(counted):
                return
            done[0] += 1
            if done[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            if counted is not None:
                os.truncate(counted, 0)
                with os.fdopen(os.open(counted, os.O_WRONLY), "w") as file:
                    file.write(str(done[0]))

        sys.addaudithook(hook)

    return install


def artefact(path: Path) -> dict[str, bytes]:
    """What must be equal: the names of all files, and the contents of those that hold no times."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else []
    if path.with_name(path.name + ".trec").is_file():
        files.append(path.with_name(path.name + ".trec"))
    own = {
        str(file.relative_to(path.parent)).replace(path.name, "OUT", 1): file
        for file in files
        if "checkpoint-" not in str(file) and file.name != "log.jsonl"
    }
    return {name: file.read_bytes() if file.suffix in _COMPARED else b"" for name, file in own.items()}


class Campaign:
    """The trials of one command, in a folder that holds its inputs in `in`."""

    def __init__(self, folder: Path, name: str, trials: int, seed: int) -> None:
        self.folder, self.name, self.trials = folder, name, trials
        self.command = COMMANDS[name]
        self.random = random.Random(f"{seed} {name}")
        self.counts = {section: Counter[str]() for section in SECTIONS}
        self.bad: list[str] = []
        started = time.monotonic()
        self._undisturbed("base")
        self.seconds = time.monotonic() - started
        self.wanted = artefact(folder / "base")

    def _undisturbed(self, name: str) -> None:
        ended = Child(self.command, self.folder, name).wait()
        if ended.status != 0:
            raise RuntimeError(f"{self.name} fails undisturbed: {ended.error[-2000:]}")

    def _count(self, section: str, how: str, about: str, ended: Ended | None = None) -> None:
        self.counts[section][how] += 1
        if how in ("other", "traceback", "hang"):
            self.bad.append(f"{self.name}, {section}, {about}: {how}: {(ended.error if ended else '')[-400:]}")
            logger.info("%s", self.bad[-1])

    def _clear(self) -> None:
        for path in [*self.folder.glob("out*"), *self.folder.glob(".out*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _finish(self, section: str, about: str) -> None:
        """The same command again must give what an undisturbed run gives, and leave nothing behind."""
        ended = Child(self.command, self.folder, "out").wait()
        how = ended.how
        if how == "done":
            left = [path.name for path in self.folder.glob(".out*")]
            how = "same" if artefact(self.folder / "out") == self.wanted and not left else "other"
        elif how == "refused":
            how = (
                "same" if "already exists" in ended.error and artefact(self.folder / "out") == self.wanted else "other"
            )
        self._count(section, how, about, ended)
        self._clear()

    def random_kills(self) -> None:
        """Up to three kills at random times, then the command runs to its end."""
        for trial in range(self.trials):
            times = [self.random.uniform(0, self.seconds) for _ in range(self.random.randint(1, 3))]
            for after in times:
                Child(self.command, self.folder, "out").kill(after)
            self._finish(SECTIONS[0], f"trial {trial} at {times}")

    def kills_at_operations(self) -> None:
        """A kill exactly before a file is opened for writing, renamed, removed..."""
        counter = self.folder / "counter"
        counter.write_text("0")
        Child(self.command, self.folder, "out", before_operation(-1, self.folder, counter)).wait()
        operations = int(counter.read_text())
        counter.unlink()
        self._clear()
        chosen = self.random.sample(range(1, operations + 1), min(self.trials, operations))
        for number in sorted(chosen):
            Child(self.command, self.folder, "out", before_operation(number, self.folder)).wait()
            self._finish(SECTIONS[1], f"operation {number} of {operations}")

    def damages(self) -> None:
        """Every file of the artefact harmed in every way, then the command again, and who reads the artefact."""
        reader = _READERS.get(self.name)
        read = None
        if reader:
            assert Child(reader, self.folder, "base").wait().status == 0
            read = artefact(self.folder / "base-read")
            for path in self.folder.glob("base-read*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        files = [
            path.relative_to(self.folder / "base") for path in (self.folder / "base").rglob("*") if path.is_file()
        ]
        cases = [(f, h) for f in sorted(files) for h in HARMS if f.suffix == ".json" or h not in _JSON_ONLY]
        if len(cases) > 4 * self.trials:
            cases = self.random.sample(cases, 4 * self.trials)
        for file, harm in cases:
            for command, wanted in ((self.command, self.wanted), (reader, read)):
                if command is None:
                    continue
                shutil.copytree(self.folder / "base", self.folder / "out")
                HARMS[harm](self.folder / "out" / file)
                ended = Child(command, self.folder, "out").wait()
                how = ended.how
                if how == "done":
                    result = artefact(self.folder / ("out" if command is self.command else "out-read"))
                    own = command is self.command and {k: v for k, v in result.items() if k != f"OUT/{file}"}
                    expected = {k: v for k, v in (wanted or {}).items() if not own or k != f"OUT/{file}"}
                    same = (own or result) == expected or self._is_harmless(file)
                    how = (
                        "same" if same else "noticed" if "is not the file that was written" in ended.error else "other"
                    )
                self._count(SECTIONS[2], how, f"{file} {harm}, {command.split()[0]}", ended)
                self._clear()

    @staticmethod
    def _is_harmless(file: Path) -> bool:
        """Logs, cards and records that nothing reads."""
        return file.name in ("README.md", "log.jsonl", "training_args.bin", "trainer_state.json", "results.json")

    def pairs_of_processes(self) -> None:
        """Two at once: one does the work, the other one is refused, waits, or finds it done."""
        for trial in range(max(1, self.trials // 3)):
            first = Child(self.command, self.folder, "out")
            time.sleep(self.random.uniform(0, self.seconds / 2))
            second = Child(self.command, self.folder, "out")
            ended = [first.wait(), second.wait()]
            worst = next((each for each in ended if each.how in ("traceback", "hang")), None)
            how = worst.how if worst else "same" if artefact(self.folder / "out") == self.wanted else "other"
            if how == "same" and all(each.how == "refused" for each in ended):
                how = "other"
            self._count(SECTIONS[3], how, f"trial {trial}", worst or ended[1])
            self._clear()

    def full_disks(self) -> None:
        """No file may grow beyond a limit, as on a full disk: one sentence, and afterwards nothing is lost."""
        largest = max((len(content) for content in self.wanted.values()), default=1)
        for share in [(number + 1) / (self.trials // 3 + 1) for number in range(max(1, self.trials // 3))]:
            limit = max(1, int(share * largest * 0.9))
            change = lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
            ended = Child(self.command, self.folder, "out", change).wait()
            if ended.how in ("traceback", "hang"):
                self._count(SECTIONS[4], ended.how, f"limit {limit}", ended)
                self._clear()
            else:
                self._finish(SECTIONS[4], f"limit {limit}")

    def run(self) -> None:
        """All sections."""
        for part in (
            self.random_kills,
            self.kills_at_operations,
            self.damages,
            self.pairs_of_processes,
            self.full_disks,
        ):
            part()
            logger.info("%s: %s", self.name, {name: dict(counts) for name, counts in self.counts.items() if counts})


def make_inputs(folder: Path) -> None:
    """Documents, judged queries, pairs, spans, a checkpoint and a retriever, made by the commands."""
    words = [a + b for a in ("ka", "lo", "mi", "ne", "ru", "sta") for b in ("bel", "dor", "fin", "gas", "tem", "vok")]
    draw = random.Random(0)
    inside, data = folder / "in", folder / "in" / "data"
    (data / "qrels").mkdir(parents=True)
    texts = [". ".join(" ".join(draw.choices(words, k=9)) for _ in range(6)) + "." for _ in range(40)]
    documents = [{"_id": f"d{n}", "title": " ".join(text.split()[:3]), "text": text} for n, text in enumerate(texts)]
    queries = [{"_id": f"q{n}", "text": " ".join(text.split()[4:9])} for n, text in enumerate(texts)]
    pairs = [{"question": q["text"], "answer": d["text"]} for q, d in zip(queries, documents, strict=True)]
    places = {inside / "docs.jsonl": documents, data / "corpus.jsonl": documents, data / "queries.jsonl": queries}
    for path, rows in {**places, inside / "pairs.jsonl": pairs}.items():
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, numbers in (("train", range(24)), ("test", range(24, 40))):
        judged = "".join(f"q{n}\td{n}\t1\n" for n in numbers)
        (data / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    for command in (
        "prepare {in}/docs.jsonl --train-tokenizer 200 --target-tokens 24 --output-dir {in}/spans",
        COMMANDS["pretrain"].replace("{out}", "{in}/checkpoint"),
        "export {in}/checkpoint --output-dir {in}/start",
        "export {in}/checkpoint --output-dir {in}/retriever",
    ):
        ended = Child(command, folder, "unused").wait()
        if ended.status != 0:
            raise RuntimeError(f"{command}: {ended.error[-2000:]}")


def run(names: Sequence[str], trials: int, seed: int = 0) -> tuple[dict[str, dict[str, dict[str, int]]], list[str]]:
    """Counts of every command and section, and the trials that ended badly."""
    import hf_cocondenser.cli.finetune
    import hf_cocondenser.cli.search
    import hf_cocondenser.finetuning.trainer  # noqa: F401

    found, bad = {}, []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        make_inputs(folder)
        for name in names:
            here = folder / name.replace(" ", "-")
            here.mkdir()
            (here / "in").symlink_to(folder / "in")
            campaign = Campaign(here, name, trials, seed)
            campaign.run()
            found[name] = {section: dict(counts) for section, counts in campaign.counts.items()}
            bad += campaign.bad
            shutil.rmtree(here)
    return found, bad


def table(found: dict[str, dict[str, dict[str, int]]]) -> str:
    """The counts in Markdown."""
    lines = ["| command | " + " | ".join(SECTIONS) + " |", "|---" * (len(SECTIONS) + 1) + "|"]
    for name, sections in found.items():
        cells = [", ".join(f"{number} {how}" for how, number in sections[section].items()) for section in SECTIONS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="four commands, three trials of each kind")
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=None)
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for counts and bad trials")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    names = options.commands or list(COMMANDS)[: 4 if options.quick else None]
    found, bad = run(names, 3 if options.quick else options.trials, options.seed)
    if options.output:
        options.output.write_text(json.dumps({"counts": found, "bad": bad}, indent=2) + "\n")
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
