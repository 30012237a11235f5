"""The corpus that cocondenser-tiny was trained on: documents in several files and the installed packages' docstrings.

    python examples/cocondenser-tiny/corpus.py ../shared/data/{squad,wiki-articles,docs-collection}/documents.jsonl \
        --output-dir runs/tiny/corpus

Long documents are cut into pieces of neighbouring passages: two spans of one piece are about the same thing, two spans
of a book may not be, and a book would otherwise be drawn as seldom as a paragraph.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hf_cocondenser.quickstart.collection import build_collection


def pieces(document: dict[str, Any], most: int) -> Iterator[dict[str, Any]]:
    """Cut a document into pieces of at most `most` characters, or of one passage."""
    passages, size, number = [], 0, 0
    for passage in document["passages"]:
        if passages and size + len(passage) > most:
            yield {"_id": f"{document['_id']}#{number}", "title": document["title"], "passages": passages}
            passages, size, number = [], 0, number + 1
        passages.append(passage)
        size += len(passage)
    yield {"_id": f"{document['_id']}#{number}", "title": document["title"], "passages": passages}


def main() -> None:
    """Write one file of pieces per source, and one of the docstrings' texts (without the quickstart's queries) if wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, help="JSON lines with _id, title and passages")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--characters", type=int, default=2500, help="of a piece, at most")
    parser.add_argument("--no-docstrings", dest="docstrings", action="store_false", help="the files only")
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sources = options.documents
        if options.docstrings:
            build_collection(Path(folder) / "docstrings")
            sources = [*sources, Path(folder) / "docstrings" / "documents.jsonl"]
        for number, source in enumerate(sources):
            with (
                source.open(encoding="utf-8") as lines,
                (options.output_dir / f"{number}.jsonl").open("w", encoding="utf-8") as file,
            ):
                for line in lines:
                    for piece in pieces(json.loads(line), options.characters):
                        file.write(json.dumps(piece, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
