"""`hf-cocondenser publish`: upload a retriever to the Hub."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command

logger = logging.getLogger(__name__)


@dataclass
class PublishArguments:
    """Flags of `publish`."""

    repo: str = field(metadata={"help": "Hub repository (owner/name); made where it is not there"})
    condenser: str | None = field(
        default=None, metadata={"help": "pre-training checkpoint to put into condenser/, for those who continue it"}
    )
    results: str | None = field(
        default=None, metadata={"help": "folder that 'hf-cocondenser evaluate' wrote; its figures go into the card"}
    )
    private: bool = field(default=False, metadata={"help": "make a new repository private"})
    revision: str | None = field(
        default=None, metadata={"help": "branch to commit to, made where it is not there (default: main)"}
    )


def run(target: str, args: PublishArguments) -> None:
    """Publish `target`."""
    from hf_cocondenser.hub.publish import publish

    address = publish(
        target,
        args.repo,
        condenser=args.condenser,
        results=args.results,
        private=args.private,
        revision=args.revision,
    )
    logger.info("Published: %s", address)


COMMAND = Command(
    summary="Upload a retriever (exported or fine-tuned) to the Hugging Face Hub, in one commit.",
    examples="""  hf auth login
  hf-cocondenser publish retriever --repo me/retriever --results runs/scifact
  hf-cocondenser publish retriever --repo me/retriever --condenser cocondenser --private""",
    arguments=(PublishArguments,),
    run=run,
    target="retriever",
    target_help="folder of the retriever",
)
