"""BM25 through bm25s, with the variant named."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.retrieval.words import CJK, words
from hf_cocondenser.utils.progress import on_terminal


@contextmanager
def _without_jax() -> Iterator[None]:
    """Import bm25s inside: it starts JAX where it finds it, and JAX reserves most of a GPU's memory."""
    names = ("jax", "jax.lax")
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)


with _without_jax():
    import bm25s
    from bm25s.tokenization import Tokenizer

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets DEBUG for itself when imported

_WORTH_COMPILING = 5000  # queries
_SPARE = 32  # hits retrieved beyond the wanted, to order equal scores where the list is cut


def guess_language(texts: Sequence[str]) -> str:
    """`cjk` when Chinese or Japanese characters are more than a fifth of the texts' letters, else `english`."""
    letters = [character for text in texts for character in text if character.isalpha()]
    cjk = len(re.findall(f"[{CJK}]", "".join(letters)))
    return "cjk" if letters and cjk > 0.2 * len(letters) else "english"


class BM25Index:
    """An in-memory BM25 index (bm25s, Lucene's formula).

    Attributes:
        variant: what exactly was computed, for tables ("BM25 (bm25s lucene k1=0.9 b=0.4, English stemming)").
    """

    def __init__(self, ids: list[str], engine: bm25s.BM25, tokenizer: Tokenizer, variant: str) -> None:
        self.ids = ids
        self.variant = variant
        self._engine = engine
        self._tokenizer = tokenizer

    @property
    def nbytes(self) -> int:
        """Bytes of the postings."""
        return sum(part.nbytes for part in self._engine.scores.values() if isinstance(part, np.ndarray))

    @classmethod
    def build(
        cls,
        corpus: Mapping[str, str],
        *,
        language: str = "auto",
        tokenize: Callable[[str], list[str]] | None = None,
        k1: float = 0.9,
        b: float = 0.4,
        show_progress: bool = False,
    ) -> BM25Index:
        """Index a corpus.

        Args:
            corpus: document id -> text.
            language: a Snowball language (stop words and stemming), `cjk` (character bigrams), `none` (plain words),
                or `auto`, which looks at the first documents and takes `cjk` or `english`.
            tokenize: lower-cased text -> tokens; replaces the language's own rule.
            k1: term-frequency saturation.
            b: length normalisation.
            show_progress: show bars.

        Raises:
            InputError: the corpus is empty or the language unknown.
        """
        if not corpus:
            raise InputError("The corpus is empty, so there is nothing to index for BM25.")
        if tokenize is None and language == "auto":
            language = guess_language([text[:2000] for text in islice(corpus.values(), 200)])
        tokenizer, label = _tokenizer(language, tokenize)
        tokens = tokenizer.tokenize(
            list(corpus.values()),
            update_vocab=True,
            return_as="tuple",
            show_progress=show_progress and on_terminal(),
            allow_empty=False,
        )
        if not tokens.vocab:
            raise InputError("No document of the corpus holds a word, so there is nothing to index for BM25.")
        engine = bm25s.BM25(method="lucene", k1=k1, b=b, backend="numpy")
        engine.index(tokens, show_progress=show_progress and on_terminal(), create_empty_token=False)
        return cls(list(corpus), engine, tokenizer, f"BM25 (bm25s lucene k1={k1:g} b={b:g}, {label})")

    def search(
        self, queries: Mapping[str, str], k: int = 100, *, exclude_same_id: bool = False, show_progress: bool = False
    ) -> Run:
        """The best `k` documents for each query; a document that shares no term with the query is not a hit.

        Equal scores are ordered as the corpus is.

        Args:
            queries: id -> text.
            k: hits per query.
            exclude_same_id: leave out the document that has the query's own id.
            show_progress: a progress bar, on a terminal.
        """
        token_ids = self._tokenizer.tokenize(
            list(queries.values()), update_vocab=False, return_as="ids", show_progress=False, allow_empty=False
        )
        run: Run = {query: {} for query in queries}
        asked = [(query, ids) for query, ids in zip(queries, token_ids, strict=True) if ids]
        if not asked or k < 1:
            return run
        # Compiling takes seconds, and then a query a tenth of the time.
        backend = "numba" if len(asked) >= _WORTH_COMPILING and find_spec("numba") else "numpy"
        self._engine.backend = backend
        wanted = k + exclude_same_id
        depth = min(wanted + _SPARE, len(self.ids))
        documents, scores = self._engine.retrieve(
            [ids for _, ids in asked],
            k=depth,
            show_progress=show_progress and on_terminal(),
            backend_selection=backend,  # "auto" may be JAX
        )
        for (query, ids), rows, values in zip(asked, documents, scores, strict=True):
            if depth > wanted and values[wanted - 1] == values[-1] > 0:  # equals beyond what was retrieved
                values = self._engine.get_scores_from_ids(ids)
                rows = np.arange(len(values))
            best = np.lexsort((rows, -values))[:wanted]
            hits = [(self.ids[rows[i]], float(values[i])) for i in best if values[i] > 0]
            run[query] = dict([hit for hit in hits if not (exclude_same_id and hit[0] == query)][:k])
        return run


def _tokenizer(language: str, tokenize: Callable[[str], list[str]] | None) -> tuple[Tokenizer, str]:
    options: dict[str, Any] = {"stopwords": None, "splitter": partial(words, shortest=2)}
    if tokenize is not None:
        options["splitter"] = tokenize
        return Tokenizer(**options), f"tokens by {getattr(tokenize, '__name__', 'a function')}"
    if language == "cjk":
        options["splitter"] = words
        return Tokenizer(**options), "CJK character bigrams"
    if language == "none":
        return Tokenizer(**options), "plain words"
    import Stemmer

    if language not in Stemmer.algorithms():
        known = ", ".join(["auto", "cjk", "none", *sorted(Stemmer.algorithms())])
        raise InputError(f"BM25 does not know the language '{language}'; there are {known}.")
    options["stemmer"] = Stemmer.Stemmer(language)
    try:
        return Tokenizer(**options | {"stopwords": language}), f"{language.capitalize()} stemming"
    except ValueError:  # bm25s has no stop words for it
        return Tokenizer(**options), f"{language.capitalize()} stemming, no stop words"
