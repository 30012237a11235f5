"""Where the quickstart's texts and queries come from: the installed packages' documentation, or the user's documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_cocondenser.data.text import first_sentence
from hf_cocondenser.quickstart.cleaning import count_words
from hf_cocondenser.quickstart.collection import Entry
from hf_cocondenser.quickstart.docstrings import Docstring

MODULE_DEPTH = 3  # transformers.models.bert, scipy.stats._qmc: siblings share their words, so they share a split
WHOLE_DOCUMENT_CHARACTERS = 2000  # a longer document is searched passage by passage
TITLE_WORDS, SENTENCE_WORDS, TEXT_WORDS = 2, 4, 10


def documentation_entries(docstrings: Iterable[Docstring]) -> Iterator[Entry]:
    """Yield one entry per docstring: its summary asks for the rest of it; modules are the groups."""
    for docstring in docstrings:
        group = ".".join(docstring.module.split(".")[:MODULE_DEPTH])
        yield Entry(docstring.qualified_name, group, docstring.summary, docstring.paragraphs)


def own_entries(documents: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Yield entries for documents with "_id", "title" and "passages"; each document is a group.

    A short document with a title is one entry, asked for by the title. Of any other, each passage (or the whole of a
    short one) is an entry, asked for by its first sentence, which is taken out of it.
    """
    for document in documents:
        name = "_".join(str(document["_id"]).split())  # run files separate by white space
        title, passages = document["title"] or "", [" ".join(text.split()) for text in document["passages"]]
        passages = [text for text in passages if text]
        short = sum(map(len, passages)) <= WHOLE_DOCUMENT_CHARACTERS
        if short and count_words(title) >= TITLE_WORDS and _long_enough(passages):
            yield Entry(name, name, title, tuple(passages))
            continue
        parts = {name: passages} if short else {f"{name}:{i:05d}": [text] for i, text in enumerate(passages)}
        for part, texts in parts.items():
            query, rest = first_sentence(texts[0]) if texts else ("", "")
            body = ([rest] if rest else []) + texts[1:]
            if count_words(query) >= SENTENCE_WORDS and _long_enough(body):
                yield Entry(part, name, query, tuple(body), name)


def _long_enough(passages: list[str]) -> bool:
    return sum(map(count_words, passages)) >= TEXT_WORDS
