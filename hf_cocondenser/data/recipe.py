"""How documents become spans: the options that a span folder's manifest records."""

from __future__ import annotations

from dataclasses import dataclass

from hf_cocondenser.errors import InputError

UNITS = ("sentences", "passages")
TITLES = ("first", "ignore")
SEGMENTERS = ("none", "jieba")


@dataclass(frozen=True)
class SpanRecipe:
    """The way spans are cut and drawn; `help` texts double as the flags' help of `prepare`.

    Attributes:
        unit: a stored span is some packed `sentences` or a whole one of the document's `passages`.
        target_tokens: the length that sentences are packed up to, and the usual length of a drawn span.
        short_share: the share of spans with a shorter length, uniform from `min_tokens` to `target_tokens`. (Condenser's
            authors advise 0.1 for long documents; a corpus of short ones gives more pairs with more short spans.)
        min_tokens: the shortest length drawn.
        title: put the title in front of the document's `first` passage, or `ignore` it. It is never put in front of
            every span: two spans of a document would then be known by it.
        segmenter: `jieba` finds the words of Chinese text for whole-word masking (extra `zh`).
        evaluation: documents set aside for evaluation, a share (below 1) or a number, chosen by the hash of their id.
        seed: of everything random in the cutting.
    """

    unit: str = "sentences"
    target_tokens: int = 80
    short_share: float = 0.5
    min_tokens: int = 8
    title: str = "first"
    segmenter: str = "none"
    evaluation: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("unit", UNITS), ("title", TITLES), ("segmenter", SEGMENTERS)):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"The recipe's {name} is '{getattr(self, name)}'; choose one of {', '.join(allowed)}."
                )
        if not 1 <= self.min_tokens <= self.target_tokens:
            raise InputError(
                f"The recipe's min_tokens is {self.min_tokens} and its target_tokens {self.target_tokens}: they must be "
                "at least 1 and in this order."
            )
        if not 0 <= self.seed < 2**32:
            raise InputError(f"The recipe's seed is {self.seed}; it must lie between 0 and 2**32 - 1.")
        if not 0 <= self.short_share <= 1:
            raise InputError(f"The recipe's short_share is {self.short_share}; it must lie between 0 and 1.")
        if self.evaluation < 0 or (self.evaluation >= 1 and self.evaluation != int(self.evaluation)):
            raise InputError(
                f"The recipe's evaluation is {self.evaluation}; give a share below 1 or a whole number of documents."
            )
