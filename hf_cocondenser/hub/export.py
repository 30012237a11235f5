"""The headless export: a plain encoder checkpoint in sentence-transformers layout, which loads without this package."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_cocondenser.backbones import usable_positions
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.card import write_card
from hf_cocondenser.hub.layout import save_portable
from hf_cocondenser.hub.records import PRETRAINING, card_from_records, pretraining_without_paths, read_pretraining
from hf_cocondenser.modeling_condenser import CondenserForPreTraining, CondenserPreTrainedModel
from hf_cocondenser.retrieval.retriever import as_retriever, transformers_of
from hf_cocondenser.retrieval.similarity import SIMILARITIES
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.checkpoint import CONDENSER_FOLDER, load_pretraining_checkpoint
from hf_cocondenser.utils.files import output_folder, require_new_folder, write_json
from hf_cocondenser.utils.records import write_record

logger = logging.getLogger(__name__)


def save_retriever(
    checkpoint: CondenserPreTrainedModel | str | Path,
    output_dir: str | Path,
    *,
    tokenizer: PreTrainedTokenizerBase | str | Path | None = None,
    max_length: int | None = None,
    similarity: str | None = None,
    prompts: Mapping[str, str] | None = None,
    with_condenser: bool = False,
    address: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the encoder of a Condenser as a retriever: its family's own checkpoint, CLS pooling, tokenizer, card.

    The folder loads with `AutoModel` and `SentenceTransformer` where this package is not installed.

    Args:
        checkpoint: a Condenser in memory, or the folder or Hub name of a pre-training checkpoint.
        output_dir: where to write.
        tokenizer: the tokenizer, or where it is; the checkpoint's own by default.
        max_length: tokens per text, special tokens included; as many as the encoder takes, at most 512, by default.
        similarity: what the vectors are compared with, `dot` or `cosine`, recorded in the folder; what they were pre-trained
            for by default.
        prompts: texts put before queries and documents, recorded in the folder, as `{"query": ..., "document": ...}`.
        with_condenser: also put the pre-training checkpoint into `condenser/`, for those who go on with it.
        address: what the card's examples load the model by; the folder's name by default.
        overwrite: replace what stands at `output_dir`.

    Returns:
        `output_dir`.

    Raises:
        InputError: the checkpoint or tokenizer cannot be loaded or they do not fit, an argument is out of range, or
            something stands at `output_dir`.
    """
    output_dir = require_new_folder(output_dir, overwrite, reads=[checkpoint, tokenizer])
    if similarity is not None and similarity not in SIMILARITIES:
        raise InputError(f"The similarity '{similarity}' is not known; choose {' or '.join(SIMILARITIES)}.")
    model, own_tokenizer, record = _load(checkpoint, tokenizer)
    retriever = as_retriever(model, tokenizer=own_tokenizer, similarity=similarity, device="cpu")
    (transformer,) = transformers_of(retriever)
    limit = usable_positions(transformer.auto_model)
    if max_length is not None:
        if max_length < 3 or (limit is not None and max_length > limit):
            raise InputError(f"max_length is {max_length}; the encoder takes from 3 to {limit} tokens.")
        transformer.max_seq_length = max_length
    retriever.prompts = dict(prompts or {})
    with output_folder(output_dir, overwrite) as folder:
        save_portable(retriever, folder)
        if record is not None:
            write_json(folder / PRETRAINING, record)
        if with_condenser:
            _write_condenser(model, own_tokenizer, record, folder / CONDENSER_FOLDER)
            copy_code(folder / CONDENSER_FOLDER, folder)
        name = (address or output_dir.resolve().name).rsplit("/", 1)[-1]
        write_card(folder, card_from_records(folder, name=name, address=address or name), retriever)
        write_record(folder)
    return output_dir


def copy_code(condenser: Path, root: Path) -> None:
    """Put the code of `condenser/` at a repository's root too: `trust_remote_code` with `subfolder` looks for it there."""
    for file in condenser.glob("*.py"):
        shutil.copyfile(file, root / file.name)


def copy_condenser(checkpoint: str | Path, folder: Path) -> None:
    """Write a pre-training checkpoint anew, without what a trainer left beside it.

    Raises:
        InputError: it cannot be read or is not whole.
    """
    _write_condenser(*_load(checkpoint, None), folder)


def _write_condenser(
    model: CondenserPreTrainedModel, tokenizer: PreTrainedTokenizerBase, record: Any, folder: Path
) -> None:
    if not isinstance(model, CondenserForPreTraining):
        raise InputError("There is no pre-training checkpoint to copy: the model is the encoder alone.")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if record is not None:
        write_json(folder / PRETRAINING, record)


def _load(
    checkpoint: CondenserPreTrainedModel | str | Path, tokenizer: PreTrainedTokenizerBase | str | Path | None
) -> tuple[CondenserPreTrainedModel, PreTrainedTokenizerBase, Any]:
    """Model, tokenizer, and the record of the pre-training where there is one."""
    if isinstance(checkpoint, PreTrainedModel):
        if tokenizer is None:
            raise InputError("A model in memory has no tokenizer: give the one it was pre-trained with.")
        model, record = checkpoint, getattr(checkpoint, "pretraining_record", None)  # of `CondenserTrainer`
        record = pretraining_without_paths(record) if record else None
    else:
        model = load_pretraining_checkpoint(checkpoint)
        tokenizer = checkpoint if tokenizer is None else tokenizer
        path = Path(checkpoint_path(checkpoint)) / PRETRAINING
        record = pretraining_without_paths(read_pretraining(path)) if path.is_file() else None
    return model, load_tokenizer(tokenizer) if isinstance(tokenizer, str | Path) else tokenizer, record
