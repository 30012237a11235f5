"""`hf-cocondenser export`: the plain retriever of a pre-training checkpoint."""

from __future__ import annotations

from typing import Literal

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.export import save_retriever
from hf_cocondenser.hub.publish import publish


def run(
    checkpoint: str,
    output_dir: str,
    *,
    tokenizer: str | None = None,
    max_length: int | None = None,
    similarity: Literal["dot", "cosine"] | None = None,
    query_prompt: str = "",
    document_prompt: str = "",
    with_condenser: bool = False,
    push_to_hub: str | None = None,
    private: bool = False,
    overwrite: bool = False,
) -> str:
    """Export a checkpoint; returns what was done.

    Args:
        checkpoint: folder or Hub name of the pre-training checkpoint
        output_dir: folder to write the retriever to
        tokenizer: folder or Hub name of the tokenizer (default: the checkpoint's own)
        max_length: tokens per text (default: what the encoder takes, at most 512)
        similarity: what vectors are compared by (default: what they were pre-trained for)
        query_prompt: text put before every query
        document_prompt: text put before every document
        with_condenser: put the pre-training checkpoint into condenser/, for those who continue it
        push_to_hub: also upload to this Hub repository (owner/name)
        private: make a new Hub repository private
        overwrite: replace the output folder
    """
    if private and not push_to_hub:
        raise InputError("--private is about a Hub repository; name it with --push-to-hub, or leave --private out.")
    folder = save_retriever(
        checkpoint,
        output_dir,
        tokenizer=tokenizer,
        max_length=max_length,
        similarity=similarity,
        prompts={"query": query_prompt, "document": document_prompt},
        with_condenser=with_condenser,
        address=push_to_hub,
        overwrite=overwrite,
    )
    if push_to_hub:
        return f"Published: {publish(folder, push_to_hub, private=private)}"
    return f"The retriever is in '{folder}'; it loads with AutoModel and SentenceTransformer."


COMMAND = Command(
    summary="Write the plain, headless retriever of a Condenser pre-training checkpoint.",
    examples="""  hf-cocondenser export cocondenser --output-dir retriever
  hf-cocondenser export cocondenser --output-dir retriever --max-length 256 --with-condenser --push-to-hub me/retriever""",
    run=run,
    target="checkpoint",
    show=str,
)
