"""What a comparison of scorers can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig
from hf_cocondenser.finetuning.negatives.cross_encoder_config import option
from hf_cocondenser.finetuning.recipes import rocketqa_configs

SCORERS = ("dense", "dpr", "rocketqa", "colbert", "me-bert", "poly-encoder", "coil")


@dataclass
class ScorersConfig:
    """Training, which is the same for every scorer, the scorers' own sizes, and what is ranked.

    Raises:
        InputError: a value is out of its range.
    """

    scorers: list[str] = field(
        default_factory=lambda: list(SCORERS),
        metadata={
            "help": f"which ones, of {', '.join(SCORERS)}; dense is this package's retriever, dpr the untied one,"
            " rocketqa the one of finetune's recipe of that name (two rounds and a cross-encoder: the longest by far)"
        },
    )
    train_share: float = option(1.0, "share of the training queries to use (a seeded sample)")
    epochs: float = option(3.0, "passes over the training queries")
    max_steps: int = option(0, "optimizer steps, instead of epochs (0: by epochs)")
    batch_size: int = option(32, "queries per step; all their passages are each other's negatives")
    negatives_per_query: int = option(1, "BM25 negatives per query and step, drawn anew each epoch")
    learning_rate: float = option(2e-5, "peak learning rate")
    query_length: int = option(64, "longest query in tokens")
    passage_length: int = option(256, "longest passage in tokens")
    precision: Literal["auto", "bfloat16", "float32"] = option(
        "auto", "of the training; auto: bfloat16 where the hardware multiplies it"
    )
    seed: int = option(42, "seed of fresh weights, negatives, order and the sample of test queries")
    rocketqa_epochs: float = option(2.0, "RocketQA: passes of its cross-encoder over the training pairs")
    rocketqa_depth: int = option(50, "RocketQA: candidates per training query that its cross-encoder judges")
    colbert_dimension: int = option(128, "ColBERT: numbers per token")
    me_bert_vectors: int = option(8, "ME-BERT: vectors per document")
    poly_codes: int = option(16, "Poly-encoder: codes, and so vectors per query")
    coil_dimension: int = option(32, "COIL: numbers per token")
    candidates: str = option("bm25", "what is scored again: bm25's first documents, or a TREC run file's")
    depth: int = option(200, "candidates per query, and documents kept by an exact search")
    exact_pairs: int = option(
        2_000_000, "also search the whole corpus where that takes at most so many query-document pairs; 0: never"
    )
    test_queries: int = option(0, "test queries at most, a seeded sample (0: all)")

    def __post_init__(self) -> None:
        unknown = [name for name in self.scorers if name not in SCORERS]
        if unknown:
            raise InputError(f"There is no scorer '{unknown[0]}'; there are {', '.join(SCORERS)}.")
        if not self.scorers:
            raise InputError(f"Name at least one scorer of {', '.join(SCORERS)}.")
        self.scorers = list(dict.fromkeys(self.scorers))
        for name in ("colbert_dimension", "me_bert_vectors", "poly_codes", "coil_dimension", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if not 0 < self.train_share <= 1:
            raise InputError(f"train_share is {self.train_share}; it is a share above 0 and up to 1.")
        for name in ("exact_pairs", "test_queries"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it cannot be negative.")
        for name in SCORERS:
            self.finetuning(name)
            self.mining(name)

    def finetuning(self, scorer: str) -> FinetuneConfig:
        """The training as `finetune` takes it: nothing held out, the last weights are kept; one round but for RocketQA.

        Raises:
            InputError: a value is out of its range.
        """
        return FinetuneConfig(
            rounds=2 if scorer == "rocketqa" else 1,
            round2_negatives="mined" if scorer == "rocketqa" else "both",
            epochs=self.epochs,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            negatives_per_query=self.negatives_per_query,
            learning_rate=self.learning_rate,
            query_length=self.query_length,
            passage_length=self.passage_length,
            precision=self.precision,
            seed=self.seed,
            untied=scorer == "dpr",
            evaluations=0,
        )

    def mining(self, scorer: str) -> MiningConfig:
        """The negatives as `finetune` takes them: BM25's, its own defaults; RocketQA's recipe also mines its own.

        Raises:
            InputError: a value is out of its range.
        """
        if scorer != "rocketqa":
            return MiningConfig()
        _, mining = rocketqa_configs(cross_encoder_epochs=self.rocketqa_epochs, denoise_depth=self.rocketqa_depth)
        return mining

    def own_settings(self, scorer: str) -> dict[str, int]:
        """What a scorer is made with."""
        return {
            "colbert": {"dimension": self.colbert_dimension},
            "me-bert": {"vectors": self.me_bert_vectors},
            "poly-encoder": {"codes": self.poly_codes},
            "coil": {"dimension": self.coil_dimension},
        }.get(scorer, {})
