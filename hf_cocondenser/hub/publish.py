"""Publishing a retriever on the Hub: the retriever at the root, the pre-training checkpoint in `condenser/`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.card import CARD_FILE, is_edited, render_card
from hf_cocondenser.hub.export import copy_code, copy_condenser
from hf_cocondenser.hub.records import (
    FINETUNING,
    PRETRAINING,
    card_from_records,
    finetuning_without_paths,
    read_finetuning,
)
from hf_cocondenser.hub.results import RESULTS_FILE, Result, read_results
from hf_cocondenser.retrieval.retriever import is_retriever
from hf_cocondenser.utils.checkpoint import CONDENSER_FOLDER
from hf_cocondenser.utils.files import write_json, write_text
from hf_cocondenser.utils.hashes import read_modules
from hf_cocondenser.utils.loading import one_line
from hf_cocondenser.utils.records import FILES, read_record, warn_of_changed_weights

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

logger = logging.getLogger(__name__)

_LEFT_OUT = ("steps",)  # how fine-tuning got there
_USUAL = (
    "*config*.json",
    "modules.json",
    "*token*.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.safetensors*",
    "*.bin*",
)


def publish(
    retriever: str | Path,
    repo: str,
    *,
    condenser: str | Path | None = None,
    results: str | Path | None = None,
    private: bool = False,
    revision: str | None = None,
    language: Sequence[str] = (),
    license: str | None = None,
    datasets: Sequence[str] = (),
    token: str | None = None,
) -> str:
    """Upload a retriever in one commit, so that nobody ever sees half of it.

    Args:
        retriever: folder of the retriever (exported or fine-tuned).
        repo: Hub repository (owner/name); made where it is not there.
        condenser: pre-training checkpoint to put into condenser/, for those who continue it.
        results: folder that `evaluate` wrote; its figures go into the card.
        private: make a new repository private.
        revision: branch to commit to, made where it is not there (default: main).
        language: ISO codes of the languages, for the card.
        license: the licence as the Hub names it, such as apache-2.0, for the card.
        datasets: Hub names of the training data, for the card.
        token: access token; by default the one of `hf auth login`.

    Returns:
        The address of the commit.

    Raises:
        InputError: the folder is no retriever, the checkpoint cannot be read, or the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # of whichever HTTP library this version uses

    folder = Path(retriever)
    if not folder.is_dir() or not is_retriever(folder):
        raise InputError(f"'{folder}' is not a retriever; write one with `hf-cocondenser export` or `finetune`.")
    warn_of_changed_weights(folder)
    with TemporaryDirectory() as temporary:
        changed = Path(temporary)
        if condenser is not None:
            copy_condenser(condenser, changed / CONDENSER_FOLDER)
            copy_code(changed / CONDENSER_FOLDER, changed)
        if results is not None:
            measured = read_results(Path(results) / RESULTS_FILE)
            if not measured:
                raise InputError(f"'{results}' holds no {RESULTS_FILE}; name a folder that `evaluate` wrote.")
            write_json(changed / RESULTS_FILE, [asdict(result) for result in measured])
        else:
            measured = []
        said = {"language": language, "license": license, "datasets": datasets}
        _renew_card(folder, repo, changed, measured, said, has_condenser=condenser is not None)
        if (folder / FINETUNING).is_file():
            write_json(changed / FINETUNING, finetuning_without_paths(read_finetuning(folder / FINETUNING)))
        own = _own_files(folder)
        others = {path.name for path in folder.iterdir()} - {Path(name).parts[0] for name in own} - {FILES, *_LEFT_OUT}
        if others:
            logger.info("Not uploaded, as it is not of the retriever: %s.", ", ".join(sorted(others)))
        new = [path.relative_to(changed).as_posix() for path in changed.rglob("*") if path.is_file()]
        additions = list((_additions(folder, own) | _additions(changed, new)).values())
        try:
            api = HfApi(token=token)
            api.create_repo(repo, private=private, exist_ok=True)
            if revision is not None and not revision.startswith("refs/"):  # a pull request's is there already
                api.create_branch(repo, branch=revision, exist_ok=True)
            message = f"Upload {folder.resolve().name} with hf-cocondenser"
            commit = api.create_commit(repo, additions, commit_message=message, revision=revision)
        except (OSError, ValueError, HTTPError) as error:
            raise InputError(f"'{repo}' cannot be published: {one_line(error)}") from None
    return commit.commit_url


def _renew_card(
    folder: Path, repo: str, changed: Path, measured: list[Result], said: dict[str, Any], has_condenser: bool
) -> None:
    """Write the card anew with the repository's name in its examples, the results and what was said of the retriever.

    A card that somebody edited stays as it is.
    """
    path = folder / CARD_FILE
    if is_edited(path):
        if measured or any(said.values()):
            logger.warning("'%s' was edited, so it is uploaded as it is, without what was given for it.", path)
        return
    card = replace(card_from_records(folder, name=repo.split("/")[-1], address=repo), results=measured, **said)
    write_text(changed / CARD_FILE, render_card(folder, card, has_condenser=has_condenser))


def _own_files(folder: Path) -> list[str]:
    """The retriever's files: those that its record lists, or, without one, those that such a model consists of."""
    record = read_record(folder)
    names = set(record["files"]) if record is not None else set()
    if record is None:
        modules = [Path(module).parts[0] for module in read_modules(folder) if module]
        below = [path for module in modules for path in (folder / module).rglob("*")]
        usual = [path for pattern in _USUAL for path in folder.glob(pattern)]
        names = {path.relative_to(folder).as_posix() for path in [*below, *usual]}
    names |= {CARD_FILE, PRETRAINING, FINETUNING}
    return sorted(name for name in names if (folder / name).is_file())


def _additions(folder: Path, names: Iterable[str]) -> dict[str, CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd

    return {name: CommitOperationAdd(name, folder / name) for name in names}
