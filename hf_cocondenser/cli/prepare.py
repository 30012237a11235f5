"""`hf-cocondenser prepare SOURCE`: documents to a span folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from datasets import Dataset, IterableDataset
from tqdm.auto import tqdm

from hf_cocondenser.cli.command import Command
from hf_cocondenser.data.cutting import SpanOptions, document_texts
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import load_tokenizer, train_wordpiece
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import require_new_folder


@dataclass
class SourceArguments:
    """Where documents are and which columns hold them."""

    text_column: str | None = field(
        default=None, metadata={"help": "column with the text; found by its name if usual"}
    )
    passages_column: str | None = field(default=None, metadata={"help": "column with a list of passages, instead"})
    title_column: str | None = field(default=None, metadata={"help": "column with the title; 'title' if there is one"})
    id_column: str | None = field(default=None, metadata={"help": "column with the id; found by its name if usual"})
    subset: str | None = field(default=None, metadata={"help": "configuration of a Hub data set"})
    split: str = field(default="train", metadata={"help": "split of a Hub data set"})
    text_documents: str | None = field(
        default=None,
        metadata={
            "help": "what a document is in plain text: a line, a paragraph (blank lines between) or a file; by default a "
            "line, and a file where a folder holds several"
        },
    )
    streaming: bool = field(default=False, metadata={"help": "read while cutting; nothing is copied to the cache"})


@dataclass
class PrepareArguments:
    """What to write, and how to cut."""

    output_dir: str = field(metadata={"help": "folder to write"})
    tokenizer: str | None = field(
        default=None, metadata={"help": "Hub id or folder (a checkpoint, a tokenizer or a span folder)"}
    )
    train_tokenizer: int | None = field(
        default=None,
        metadata={"help": "train an uncased WordPiece tokenizer of so many tokens on the documents instead"},
    )
    unit: str = field(
        default=SpanOptions.unit,
        metadata={"help": "a span is some packed 'sentences' or a whole one of the 'passages'"},
    )
    target_tokens: int = field(
        default=SpanOptions.target_tokens,
        metadata={"help": "usual (and greatest) length of a span; see also --short-share"},
    )
    short_share: float = field(
        default=SpanOptions.short_share,
        metadata={"help": "share of spans of a shorter length, from min to target tokens"},
    )
    min_tokens: int = field(default=SpanOptions.min_tokens, metadata={"help": "shortest length drawn"})
    title: str = field(
        default=SpanOptions.title, metadata={"help": "'first': in front of the first passage; 'ignore': left out"}
    )
    segmenter: str = field(
        default=SpanOptions.segmenter,
        metadata={"help": "'jieba' finds Chinese words for whole-word masking (extra zh)"},
    )
    evaluation: float = field(
        default=SpanOptions.evaluation,
        metadata={"help": "documents set aside for evaluation: a share below 1 or a number"},
    )
    seed: int = field(default=SpanOptions.seed, metadata={"help": "of everything random in the cutting"})
    num_proc: int = field(default=1, metadata={"help": "processes that tokenise"})
    overwrite: bool = field(default=False, metadata={"help": "replace the output folder"})


def run(source: str, where: SourceArguments, arguments: PrepareArguments) -> None:
    """Load documents, load or train the tokenizer, cut and write."""
    if (arguments.tokenizer is None) == (arguments.train_tokenizer is None):
        raise InputError(
            "Name a tokenizer (--tokenizer bert-base-uncased) or have one trained (--train-tokenizer 8192)."
        )
    require_new_folder(arguments.output_dir, arguments.overwrite, reads=[source, arguments.tokenizer])
    recipe = SpanOptions(
        unit=arguments.unit,
        target_tokens=arguments.target_tokens,
        short_share=arguments.short_share,
        min_tokens=arguments.min_tokens,
        title=arguments.title,
        segmenter=arguments.segmenter,
        evaluation=arguments.evaluation,
        seed=arguments.seed,
    )
    documents = load_documents(
        source,
        text_column=where.text_column,
        title_column=where.title_column,
        passages_column=where.passages_column,
        id_column=where.id_column,
        subset=where.subset,
        split=where.split,
        text_documents=where.text_documents,
        streaming=where.streaming,
    )
    if arguments.tokenizer is not None:
        tokenizer = load_tokenizer(arguments.tokenizer)
    else:
        tokenizer = train_wordpiece(_Texts(documents, recipe), arguments.train_tokenizer or 0)
    prepare_spans(
        documents,
        tokenizer,
        arguments.output_dir,
        recipe,
        num_proc=arguments.num_proc,
        overwrite=arguments.overwrite,
        source=source,
    )


@dataclass(frozen=True)
class _Texts:
    """The texts of documents, which can be read more than once."""

    documents: Dataset | IterableDataset
    recipe: SpanOptions

    def __iter__(self) -> Iterator[str]:
        for document in tqdm(self.documents, desc="reading for the tokenizer", unit=" documents", disable=None):
            yield from document_texts(document["title"], document["passages"], self.recipe)


COMMAND = Command(
    summary="Cut documents into tokenised spans for pre-training: JSON lines, Parquet, CSV, TSV or plain text files, a "
    "folder of them, a BEIR folder, or a Hub data set.",
    examples="""\
  hf-cocondenser prepare corpus.jsonl --tokenizer bert-base-uncased --output-dir spans
  hf-cocondenser prepare scifact/ --train-tokenizer 8192 --target-tokens 62 --output-dir spans
  hf-cocondenser prepare owner/dataset --subset en --streaming --tokenizer checkpoint/ --num-proc 8 --output-dir spans""",
    arguments=(SourceArguments, PrepareArguments),
    run=run,
    target="source",
    target_help="file, folder or Hub data set id with the documents",
)
