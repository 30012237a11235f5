"""Documents to a span folder: tokenised once, in parallel, written whole or not at all."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.cutting import SpanOptions, span_features
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.documents import as_documents
from hf_cocondenser.data.manifest import build_manifest, measure_leak
from hf_cocondenser.data.preview import preview_masks
from hf_cocondenser.data.reading.tables import Source
from hf_cocondenser.data.store import MANIFEST_FILE, SPANS_FILE, SpanStore
from hf_cocondenser.data.text import is_han
from hf_cocondenser.data.tokenizer import TOKENIZER_FOLDER, load_tokenizer
from hf_cocondenser.data.words import WORDPIECE, isolates_chinese_characters, tokenizer_family
from hf_cocondenser.data.workers import CutSetup, cut_batches
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import output_folder, require_new_folder, write_json
from hf_cocondenser.utils.records import write_record

logger = logging.getLogger(__name__)

_BATCH = 512  # documents per task


def prepare_spans(
    documents: Source,
    tokenizer: PreTrainedTokenizerBase | str | Path,
    output_dir: str | Path,
    options: SpanOptions | None = None,
    *,
    num_proc: int = 1,
    overwrite: bool = False,
    source: str | None = None,
) -> dict[str, Any]:
    """Cut documents into tokenised spans and return the manifest.

    ASCII white space of any kind counts as one space. The folder holds `spans.arrow` (one row per document; opens with
    `datasets.Dataset.from_file`), `manifest.json` and the tokenizer.

    Args:
        documents: what `load_documents` gives; anything else is given to it.
        tokenizer: the tokenizer, or its name.
        output_dir: folder to write.
        options: how to cut; `SpanOptions()` by default.
        num_proc: processes that tokenise.
        overwrite: replace a folder that is there already.
        source: a name for the documents, kept in the manifest.

    Raises:
        InputError: there are no documents with text, ids are doubled, the tokenizer is of no known kind, or the
            folder is there already.
    """
    rows = as_documents(documents)
    options = options or SpanOptions()
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    if num_proc < 1:
        raise InputError(f"num_proc is {num_proc}; it must be at least 1.")
    require_new_folder(output_dir, overwrite, reads=[source])
    collator = CondenserCollator(tokenizer, max_length=options.target_tokens + 2)  # refuses what cannot be masked
    cutter, continuation = _cutter(tokenizer, options)
    schema = span_features(max(tokenizer.get_vocab().values()) + 1, cutter == "jieba").arrow_schema
    setup = CutSetup(_rules_for_text(tokenizer), cutter, continuation, options, schema)
    total = len(rows) if isinstance(rows, Dataset) else None
    read = 0
    with output_folder(output_dir, overwrite) as folder:
        with (
            pa.OSFile(str(folder / SPANS_FILE), "wb") as sink,
            pa.ipc.new_stream(sink, schema) as writer,
            tqdm(total=total, desc="tokenising", unit=" documents", unit_scale=True, disable=None) as bar,
        ):
            batches = rows.iter(batch_size=_BATCH)
            for number, batch in cut_batches(batches, setup, num_proc):
                read += number
                if batch.num_rows:
                    writer.write_batch(batch)
                bar.update(number)
        tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
        manifest = build_manifest(SpanStore(folder), read, tokenizer, options, source)
        write_json(folder / MANIFEST_FILE, manifest)
        try:
            measure_leak(folder, manifest)
        except InputError as error:
            logger.warning("%s", error)
        write_json(folder / MANIFEST_FILE, manifest)
        write_record(folder)
        _report(manifest, output_dir)
        _show_masks(folder, tokenizer, collator)
    return manifest


def _rules_for_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's JSON, in which special tokens of the user's own are kept whole in a text, as later stages keep them.

    Only those that stand for no text ("[SEP]" in a document is five letters and signs) stay special.
    """
    names = ("cls_token", "sep_token", "pad_token", "mask_token", "unk_token", "bos_token", "eos_token")
    structural = {str(getattr(tokenizer, name)) for name in names}
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in rules["added_tokens"]:
        token["special"] = token["special"] and token["content"] in structural
    return json.dumps(rules)


def _cutter(tokenizer: PreTrainedTokenizerBase, options: SpanOptions) -> tuple[str, str]:
    """How texts become units for this tokenizer, and what its tokens inside words begin with."""
    family = tokenizer_family(tokenizer)
    characters = family == WORDPIECE and isolates_chinese_characters(tokenizer)
    if options.segmenter == "jieba":
        if not characters:
            raise InputError(
                f"The segmenter jieba is for tokenizers of single Chinese characters, and that of "
                f"'{tokenizer.name_or_path}' is none; leave it out."
            )
        return "jieba", tokenizer.backend_tokenizer.model.continuing_subword_prefix
    return ("characters" if characters else "spaced"), ""


def _report(manifest: dict[str, Any], output_dir: str | Path) -> None:
    counts = manifest["counts"]
    logger.info(
        "%s documents (%s empty ones dropped, %s of one span only), %s spans, %s tokens -> %s",
        *(f"{counts[name]:,}" for name in ("documents", "empty_documents", "one_span_documents", "spans", "tokens")),
        output_dir,
    )
    logger.info("tokens of a span: %s", ", ".join(f"{bin}: {n:,}" for bin, n in manifest["span_tokens"].items()))
    leak = manifest["length_leak"]
    if leak:
        logger.info(
            "%s pairs an epoch; length leak: accuracy %.4f vs chance %.4f (correlation of siblings' lengths %+.3f)",
            f"{counts['pairs_per_epoch']:,}",
            leak["accuracy"],
            leak["chance"],
            leak["correlation"],
        )


def _show_masks(folder: Path, tokenizer: PreTrainedTokenizerBase, collator: CondenserCollator) -> None:
    """Log two masked spans, and warn where the tokenizer does not fit the text."""
    spans = SpanDataset(folder, pairs=False, max_length=collator.max_length, split="all")
    items = spans.__getitems__(np.unique(np.linspace(0, len(spans) - 1, 32).astype(np.int64)).tolist())
    for text in preview_masks(tokenizer, collator, items[:2]):
        logger.info("masks: %s", text)
    ids = np.concatenate([item["spans"][0] for item in items]).tolist()
    unknown = ids.count(tokenizer.unk_token_id) / len(ids)
    if unknown > 0.05:
        logger.warning(
            "The tokenizer does not know %.0f %% of the tokens; it may be made for other text.", 100 * unknown
        )
    tokens = tokenizer.convert_ids_to_tokens(ids)
    if collator.words.family == WORDPIECE and "word_starts" not in items[0]:
        share = sum(map(is_han, tokens)) / len(tokens)
        if share > 0.3:
            logger.warning(
                "%.0f %% of the tokens are single Chinese characters, each masked on its own; --segmenter jieba masks "
                "whole words.",
                100 * share,
            )
