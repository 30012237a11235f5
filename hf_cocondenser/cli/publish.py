"""`hf-cocondenser publish`: upload a retriever to the Hub."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.hub.publish import publish

COMMAND = Command(
    summary="Upload a retriever (exported or fine-tuned) to the Hugging Face Hub, in one commit.",
    examples="""  hf auth login
  hf-cocondenser publish retriever --repo me/retriever --results runs/scifact
  hf-cocondenser publish retriever --repo me/retriever --condenser cocondenser --private""",
    run=publish,
    target="retriever",
    show=lambda address: f"Published: {address}",
    without=("token",),
)
