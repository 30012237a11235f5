"""What fine-tuning can be told beside its training arguments: rounds and negatives, pairs, the development set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.utils.options import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    ProperShare,
    Share,
    check,
    option,
)

TRAIN = "train"
"""Instead of a cross-encoder's name: train one."""


@dataclass
class CrossEncoderConfig:
    """Which cross-encoder scores mined negatives, how far it looks, and how one is trained where none is given.

    Its training takes everything else (scheduler, accumulation, `bf16`, `report_to`) from the training arguments.

    Raises:
        InputError: a value is out of its range.
    """

    cross_encoder: str | None = option(
        None,
        "cross-encoder that scores mined negatives (RocketQA's denoising); train: one is trained for it",
        group="cross-encoder",
    )
    denoise_depth: PositiveInt | None = option(
        None,
        "candidates per query that the cross-encoder scores; where it leaves too few, others behind these fill up, at"
        " random and without a score (RocketQA: 50; default: it scores all, and nothing fills up)",
        group="cross-encoder",
    )
    cross_encoder_start: str | None = option(
        None,
        "encoder that the cross-encoder is trained from (default: what the retriever starts from)",
        group="cross-encoder",
    )
    cross_encoder_epochs: PositiveFloat = option(
        2.0, "training the cross-encoder: passes over its pairs", group="cross-encoder"
    )
    cross_encoder_learning_rate: PositiveFloat = option(
        2e-5, "training the cross-encoder: peak learning rate", group="cross-encoder"
    )
    cross_encoder_batch_size: PositiveInt = option(
        64, "training the cross-encoder: pairs per device and step", group="cross-encoder"
    )
    cross_encoder_length: Annotated[int, Bounds(at_least=5)] = option(
        160, "training the cross-encoder: longest pair in tokens", group="cross-encoder"
    )
    cross_encoder_depth: PositiveInt = option(
        1000, "its negatives are drawn at random from round 1's first so many documents", group="cross-encoder"
    )
    cross_encoder_negatives: PositiveInt = option(
        4, "training the cross-encoder: negatives per query", group="cross-encoder"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.cross_encoder_start and not self.trains_cross_encoder:
            raise InputError(
                "cross_encoder_start is what a cross-encoder is trained from; set cross_encoder to 'train'."
            )
        if self.denoise_depth is not None and not self.cross_encoder:
            raise InputError("denoise_depth says what a cross-encoder scores; name a cross_encoder, or 'train'.")

    @property
    def trains_cross_encoder(self) -> bool:
        """Whether a cross-encoder is trained."""
        return self.cross_encoder == TRAIN


CROSS_ENCODER_TRAINING = tuple(
    name for name in CrossEncoderConfig.__dataclass_fields__ if name.startswith("cross_encoder_")
)
"""The options that matter only where a cross-encoder is trained."""


@dataclass
class MiningConfig(CrossEncoderConfig):
    """The rounds, where their hard negatives come from, and which are kept.

    Raises:
        InputError: a value is out of its range, or only a second round would read it and there is none.
    """

    rounds: Literal[1, 2] = option(
        2,
        "1: BM25 negatives; 2: then again with negatives mined by round 1's retriever",
        group="rounds and hard negatives",
    )
    round2_start: Literal["pretrained", "round1"] = option(
        "pretrained", "what round 2 starts from", group="rounds and hard negatives"
    )
    round2_negatives: Literal["both", "mined"] = option(
        "both", "round 2's pool: BM25's and the mined ones, or mined only", group="rounds and hard negatives"
    )
    bm25_depth: PositiveInt = option(
        200, "BM25 negatives are drawn from its first so many documents", group="rounds and hard negatives"
    )
    bm25_negatives: PositiveInt = option(30, "BM25 negatives per query in the pool", group="rounds and hard negatives")
    mine_depth: PositiveInt = option(
        200, "mined negatives are drawn from round 1's first so many documents", group="rounds and hard negatives"
    )
    mine_negatives: PositiveInt = option(
        30, "mined negatives per query in the pool", group="rounds and hard negatives"
    )
    sampling: Literal["random", "top", "simans"] = option(
        "random",
        "how mined negatives are drawn: at random, hardest first, or near the positive's score (SimANS)",
        group="rounds and hard negatives",
    )
    simans_a: NonNegativeFloat = option(
        1.0, "SimANS: how sharply negatives near the positive's score are preferred", group="rounds and hard negatives"
    )
    simans_b: float = option(
        0.0,
        "SimANS: the preferred distance from the positive's score, in standard deviations",
        group="rounds and hard negatives",
    )
    margin: ProperShare | None = option(
        None,
        "drop mined passages that score above (1 - margin) times the positive, such as 0.05",
        group="rounds and hard negatives",
    )
    negative_below: Share = option(
        0.1, "keep a mined negative only when the cross-encoder gives less than this", group="cross-encoder"
    )
    positive_above: Share = option(
        0.9, "passages of unlabelled queries above this become positives", group="cross-encoder"
    )
    unlabelled_queries: str | None = option(
        None,
        "file of unlabelled queries (JSONL with 'text', or one per line) to be labelled by the cross-encoder",
        group="cross-encoder",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negative_below > self.positive_above:
            raise InputError(
                f"negative_below ({self.negative_below}) cannot be above positive_above ({self.positive_above})."
            )
        if self.unlabelled_queries and not self.cross_encoder:
            raise InputError("Unlabelled queries can only be used with a cross_encoder that labels them.")
        defaults = {item.name: item.default for item in fields(self)}
        unused = [name for name in _SECOND_ROUND if getattr(self, name) != defaults[name]]
        if self.rounds == 1 and unused:
            named = " and ".join(f"{name} ({getattr(self, name)})" for name in unused)
            raise InputError(f"With rounds 1 nothing uses {named}; leave it out, or set rounds to 2.")


_SECOND_ROUND = (
    "cross_encoder",
    "cross_encoder_start",
    "unlabelled_queries",
    "margin",
    "sampling",
    "round2_start",
    "round2_negatives",
)


@dataclass
class PairsConfig:
    """The stage before fine-tuning: training on pairs of questions and answers (GTR's pre-training).

    Raises:
        InputError: a value is out of its range, or there are no pairs to pre-train on.
    """

    stages: Literal["both", "pretrain", "finetune"] = option(
        "both",
        "both: on pairs, where there are any, then on the judged queries; or one of the two only",
        group="pairs",
    )
    pairs: list[str] = option(
        list,
        "pairs to train on first: files or folders of JSON lines, Parquet or CSV, BEIR folders (their training"
        " judgements) or Hub data sets, each with :WEIGHT if wanted; read as a stream",
        group="pairs",
    )
    pairs_mixing: PositiveFloat = option(
        1.0,
        "sources without weights are drawn in proportion to size ** (1 / this); 1: by size, large: all alike",
        group="pairs",
    )
    pairs_steps: PositiveInt = option(1000, "optimizer steps on pairs (the GTR paper's: 800,000)", group="pairs")
    pairs_batch_size: PositiveInt | None = option(
        None, "pairs per device and step (default: as many as queries in fine-tuning)", group="pairs"
    )
    pairs_learning_rate: PositiveFloat | None = option(
        None, "peak learning rate on pairs (default: that of fine-tuning)", group="pairs"
    )
    query_column: str | None = option(
        None, "column of the pairs with the query; found by its name if usual", group="pairs"
    )
    positive_column: str | None = option(
        None, "column with the passage that answers it; found by its name if usual", group="pairs"
    )
    negative_column: str | None = option(
        None, "column with passages that do not; found by its name if usual", group="pairs"
    )
    pairs_buffer: NonNegativeInt = option(
        10_000, "pairs in the buffer that shuffles a stream; with 0 they come in the order of the file", group="pairs"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.stages == "pretrain" and not self.pairs:
            raise InputError("There are no pairs to pre-train on; name some with --pairs.")

    @property
    def wanted(self) -> bool:
        """Whether there is a stage on pairs."""
        return bool(self.pairs) and self.stages != "finetune"


@dataclass
class DevelopmentConfig:
    """Which training queries are used, which are held out, and what chooses the weights.

    Raises:
        InputError: a value is out of its range.
    """

    train_share: PositiveShare = option(
        1.0,
        "share of the training queries to use (a seeded sample; the smaller is in the larger)",
        group="development set",
    )
    dev_share: ProperShare = option(
        0.1, "share of the training queries held out where the data has no development split", group="development set"
    )
    dev_queries: PositiveInt = option(500, "development queries at most (a seeded sample)", group="development set")
    dev_documents: PositiveInt = option(
        10_000, "documents to rank for them at most: all relevant ones, the rest at random", group="development set"
    )
    keep_best_of: Literal["last", "checkpoints", "interpolations"] = option(
        "interpolations",
        "what the development set chooses from: nothing (the last weights), the checkpoints, or the start, the best checkpoint"
        " and weights between the two; the smaller step is preferred where the difference is not sure",
        group="development set",
    )
    patience: PositiveInt = option(
        3,
        "where the length of the training is left open: measurements without a better one that end it",
        group="development set",
    )
    dev_measure: str = option("nDCG@10", "the measure that chooses the weights", group="development set")

    def __post_init__(self) -> None:
        check(self)


Config = RetrieverTrainingArguments | MiningConfig | PairsConfig | DevelopmentConfig

_WITHOUT_EFFECT = (
    *("output_dir", "logging_", "log_", "report_to", "run_name", "trackio_", "disable_tqdm", "dataloader_", "hub_"),
    *("push_to_hub", "save_", "ddp_", "use_cpu", "skip_memory_metrics", "enable_jit_checkpoint"),
)
"""Beginnings of the training arguments that change no weights."""


def settings(config: Config, *without: str) -> dict[str, Any]:
    """What a configuration sets, as JSON values, without the fields named.

    Of training arguments, what is declared here and what differs from transformers' defaults, as far as it changes weights.
    """
    if not isinstance(config, RetrieverTrainingArguments):
        return {item.name: getattr(config, item.name) for item in fields(config) if item.name not in without}
    usual = RetrieverTrainingArguments(output_dir=config.output_dir).to_dict()
    own = RetrieverTrainingArguments.__annotations__
    return {
        name: value
        for name, value in config.to_dict().items()
        if (name in own or value != usual[name]) and not name.startswith((*_WITHOUT_EFFECT, *without))
    }
