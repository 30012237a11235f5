"""`hf-cocondenser export`: the plain retriever of a pre-training checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)


@dataclass
class ExportArguments:
    """Flags of `export`."""

    output_dir: str = field(metadata={"help": "folder to write the retriever to"})
    tokenizer: str | None = field(
        default=None, metadata={"help": "folder or Hub name of the tokenizer (default: the checkpoint's own)"}
    )
    max_length: int | None = field(
        default=None, metadata={"help": "tokens per text (default: what the encoder takes, at most 512)"}
    )
    similarity: str = field(default="dot", metadata={"help": "what vectors are compared with: dot or cosine"})
    query_prompt: str = field(default="", metadata={"help": "text put before every query"})
    document_prompt: str = field(default="", metadata={"help": "text put before every document"})
    with_condenser: bool = field(
        default=False, metadata={"help": "put the pre-training checkpoint into condenser/, for those who continue it"}
    )
    push_to_hub: str | None = field(
        default=None, metadata={"help": "also upload to this Hub repository (owner/name)", "metavar": "REPO"}
    )
    private: bool = field(default=False, metadata={"help": "make a new Hub repository private"})
    overwrite: bool = field(default=False, metadata={"help": "replace the output folder"})


def run(target: str, args: ExportArguments) -> None:
    """Export `target`."""
    from hf_cocondenser.hub.export import save_retriever

    if args.private and not args.push_to_hub:
        raise InputError("--private is about a Hub repository; name it with --push-to-hub, or leave --private out.")
    folder = save_retriever(
        target,
        args.output_dir,
        tokenizer=args.tokenizer,
        max_length=args.max_length,
        similarity=args.similarity,
        prompts={"query": args.query_prompt, "document": args.document_prompt},
        with_condenser=args.with_condenser,
        address=args.push_to_hub,
        overwrite=args.overwrite,
    )
    logger.info("The retriever is in '%s'; it loads with AutoModel and SentenceTransformer.", folder)
    if args.push_to_hub:
        from hf_cocondenser.hub.publish import publish

        logger.info("Published: %s", publish(folder, args.push_to_hub, private=args.private))


COMMAND = Command(
    summary="Write the plain, headless retriever of a Condenser pre-training checkpoint.",
    examples="""  hf-cocondenser export cocondenser --output-dir retriever
  hf-cocondenser export cocondenser --output-dir retriever --max-length 256 --with-condenser --push-to-hub me/retriever""",
    arguments=(ExportArguments,),
    run=run,
    target="checkpoint",
    target_help="folder or Hub name of the pre-training checkpoint",
)
