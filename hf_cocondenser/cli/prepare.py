"""`hf-cocondenser prepare SOURCE`: documents to a span folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from datasets import Dataset, IterableDataset
from tqdm.auto import tqdm

from hf_cocondenser.cli.command import Command
from hf_cocondenser.data.cutting import SpanOptions, document_texts
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.reading.columns import DocumentColumns
from hf_cocondenser.data.tokenizer import load_tokenizer, train_wordpiece
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import require_new_folder


def run(
    source: str,
    output_dir: str,
    options: SpanOptions,
    columns: DocumentColumns,
    *,
    tokenizer: str | None = None,
    train_tokenizer: int | None = None,
    passages_column: str | None = None,
    subset: str | None = None,
    split: str = "train",
    text_documents: Literal["line", "paragraph", "file"] | None = None,
    streaming: bool = False,
    num_proc: int = 1,
    overwrite: bool = False,
) -> None:
    """Load documents, load or train the tokenizer, cut and write.

    Args:
        source: file, folder or Hub data set id with the documents
        output_dir: folder to write
        tokenizer: Hub id or folder (a checkpoint, a tokenizer or a span folder)
        train_tokenizer: train an uncased WordPiece tokenizer of so many tokens on the documents instead
        passages_column: column with a list of passages, instead
        subset: configuration of a Hub data set
        split: split of a Hub data set
        text_documents: what a document is in plain text: a line, a paragraph (blank lines between) or a file; by default
            a line, and a file where a folder holds several
        streaming: read while cutting; nothing is copied to the cache
        num_proc: processes that tokenise
        overwrite: replace the output folder
    """
    if (tokenizer is None) == (train_tokenizer is None):
        raise InputError(
            "Name a tokenizer (--tokenizer bert-base-uncased) or have one trained (--train-tokenizer 8192)."
        )
    require_new_folder(output_dir, overwrite, reads=[source, tokenizer])
    documents = load_documents(
        source,
        **vars(columns),
        passages_column=passages_column,
        subset=subset,
        split=split,
        text_documents=text_documents,
        streaming=streaming,
    )
    if train_tokenizer is not None:
        loaded = train_wordpiece(_Texts(documents, options), train_tokenizer)
    else:
        loaded = load_tokenizer(str(tokenizer))
    prepare_spans(documents, loaded, output_dir, options, num_proc=num_proc, overwrite=overwrite, source=source)


@dataclass(frozen=True)
class _Texts:
    """The texts of documents, which can be read more than once."""

    documents: Dataset | IterableDataset
    options: SpanOptions

    def __iter__(self) -> Iterator[str]:
        for document in tqdm(self.documents, desc="reading for the tokenizer", unit=" documents", disable=None):
            yield from document_texts(document["title"], document["passages"], self.options)


COMMAND = Command(
    summary="Cut documents into tokenised spans for pre-training: JSON lines, Parquet, CSV, TSV or plain text files, a "
    "folder of them, a BEIR folder, or a Hub data set.",
    examples="""\
  hf-cocondenser prepare corpus.jsonl --tokenizer bert-base-uncased --output-dir spans
  hf-cocondenser prepare scifact/ --train-tokenizer 8192 --target-tokens 62 --output-dir spans
  hf-cocondenser prepare owner/dataset --subset en --streaming --tokenizer checkpoint/ --num-proc 8 --output-dir spans""",
    run=run,
    target="source",
)
