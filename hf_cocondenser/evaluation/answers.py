"""DPR's measure for question answering: does one of the first k passages hold an answer?"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import regex

from hf_cocondenser.retrieval.runs import Run, ranked

_TOKENS = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")  # DPR's SimpleTokenizer


def tokens(text: str) -> list[str]:
    """Lower-cased words and single signs of the text in Unicode's decomposed form, as DPR compares them."""
    return _TOKENS.findall(unicodedata.normalize("NFD", text).lower())


def has_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether the text holds one of the answers as a run of whole tokens."""
    words = tokens(text)
    for answer in answers:
        wanted = tokens(answer)
        width = len(wanted)
        if width and any(words[start : start + width] == wanted for start in range(len(words) - width + 1)):
            return True
    return False


def answer_ranks(
    run: Run, answers: Mapping[str, Sequence[str]], texts: Mapping[str, str], depth: int
) -> dict[str, int | None]:
    """The rank (from 1) of each query's first passage with an answer, None if there is none within `depth`.

    Args:
        run: the results.
        answers: query id -> answer strings.
        texts: document id -> text without its title, as DPR looks at it.
        depth: how far to look.
    """
    ranks: dict[str, int | None] = {}
    for query, strings in answers.items():
        hits = ranked(run.get(query, {}), depth)
        found = (
            rank for rank, (document, _) in enumerate(hits, start=1) if has_answer(texts.get(document, ""), strings)
        )
        ranks[query] = next(found, None)
    return ranks
