"""What a comparison of scorers can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.recipes import finetune_options
from hf_cocondenser.utils.options import NonNegativeInt, PositiveFloat, PositiveInt, PositiveShare, check, option

SCORERS = ("dense", "dpr", "rocketqa", "colbert", "me-bert", "poly-encoder", "coil")


@dataclass
class ScorersConfig:
    """The scorers, their own sizes, and what is ranked; the training is the same for all and stands in its arguments.

    Raises:
        InputError: a value is out of its range.
    """

    scorers: list[str] = option(
        lambda: list(SCORERS),
        f"which ones, of {', '.join(SCORERS)}; dense is this package's retriever, dpr the untied one, rocketqa the one of"
        " finetune's recipe of that name (two rounds and a cross-encoder: the longest by far)",
    )
    train_share: PositiveShare = option(1.0, "share of the training queries to use (a seeded sample)")
    rocketqa_epochs: PositiveFloat = option(2.0, "RocketQA: passes of its cross-encoder over the training pairs")
    rocketqa_depth: PositiveInt = option(50, "RocketQA: candidates per training query that its cross-encoder scores")
    colbert_dimension: PositiveInt = option(128, "ColBERT: numbers per token")
    me_bert_vectors: PositiveInt = option(8, "ME-BERT: vectors per document")
    poly_codes: PositiveInt = option(16, "Poly-encoder: codes, and so vectors per query")
    coil_dimension: PositiveInt = option(32, "COIL: numbers per token")
    candidates: str = option("bm25", "what is scored again: bm25's first documents, or a TREC run file's")
    depth: PositiveInt = option(200, "candidates per query, and documents kept by an exact search")
    exact_pairs: NonNegativeInt = option(
        2_000_000, "also search the whole corpus where that takes at most so many query-document pairs"
    )
    test_queries: PositiveInt | None = option(None, "test queries at most, a seeded sample (default: all)")

    def __post_init__(self) -> None:
        check(self)
        unknown = [name for name in self.scorers if name not in SCORERS]
        if unknown:
            raise InputError(f"There is no scorer '{unknown[0]}'; there are {', '.join(SCORERS)}.")
        if not self.scorers:
            raise InputError(f"Name at least one scorer of {', '.join(SCORERS)}.")
        self.scorers = list(dict.fromkeys(self.scorers))

    def mining(self, scorer: str) -> MiningConfig:
        """The rounds and negatives as `finetune` takes them: one round on BM25's; RocketQA's recipe also mines its own."""
        if scorer != "rocketqa":
            return MiningConfig(rounds=1)
        options = {"cross_encoder_epochs": self.rocketqa_epochs, "denoise_depth": self.rocketqa_depth}
        return finetune_options("rocketqa", **options).mining

    def own_settings(self, scorer: str) -> dict[str, Any]:
        """What a scorer is made with."""
        return {
            "colbert": {"dimension": self.colbert_dimension},
            "me-bert": {"vectors": self.me_bert_vectors},
            "poly-encoder": {"codes": self.poly_codes},
            "coil": {"dimension": self.coil_dimension},
        }.get(scorer, {})


def training_of(scorer: str, args: RetrieverTrainingArguments) -> RetrieverTrainingArguments:
    """The training of one scorer: nothing is held out, the last weights are kept; DPR's encoders are untied."""
    return args.changed(untied=scorer == "dpr", eval_strategy="no", save_strategy="no")
