"""What fine-tuning can be told: the training, the negatives, the choice of the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.negatives.cross_encoder_config import JudgeConfig, option

_LEAST_FLOAT16_TEMPERATURE = 0.02


@dataclass
class FinetuneConfig:
    """The rounds, their training, and the development set that chooses the checkpoint.

    Raises:
        InputError: a value is out of its range.
    """

    rounds: Literal[1, 2] = option(2, "1: BM25 negatives; 2: then again with negatives mined by round 1's retriever")
    round2_start: Literal["pretrained", "round1"] = option("pretrained", "what round 2 starts from")
    round2_negatives: Literal["both", "mined"] = option(
        "both", "round 2's pool: BM25's and the mined ones, or mined only"
    )
    epochs: float = option(3.0, "passes over the training queries, per round")
    max_steps: int = option(0, "optimizer steps per round, instead of epochs (0: by epochs)")
    batch_size: int = option(64, "queries per device and step; all their passages are each other's negatives")
    negatives_per_query: int = option(1, "hard negatives per query and step, drawn anew each epoch")
    learning_rate: float = option(2e-5, "peak learning rate (the papers' is 5e-6 for BERT-base)")
    warmup: float = option(0.1, "share of the steps with a rising learning rate")
    weight_decay: float = option(0.01, "the optimizer's weight decay")
    optimizer: Literal["adamw", "adafactor"] = option(
        "adamw", "adafactor: T5's, with steps relative to the size of each weight matrix, and next to no memory"
    )
    temperature: str = option("auto", "scores are divided by it; auto: the one that calibrates the starting point")
    similarity: Literal["dot", "cosine"] | None = option(
        None, "score function (the starting point's own; dot for a bare one)"
    )
    directions: Literal["forward", "sum", "mean"] = option(
        "forward", "query to passage; or also back, summed or averaged"
    )
    gradient_cache: bool = option(False, "large batches in little memory, for a second forward pass; same gradient")
    chunk_tokens: int = option(8192, "tokens that go through the model at once (texts are sorted by length first)")
    query_length: int = option(64, "longest query in tokens")
    passage_length: int = option(256, "longest passage in tokens")
    dropout: float | None = option(None, "dropout in training (the checkpoint's own)")
    precision: Literal["auto", "bfloat16", "float16", "float32"] = option(
        "auto", "auto: bfloat16 where the hardware multiplies it; float16: for GPUs that do not"
    )
    activation_checkpointing: bool = option(
        False,
        "keep one activation per layer and compute the rest again: large models in little memory, a third slower",
    )
    pooling: Literal["auto", "cls", "mean", "lasttoken"] = option(
        "auto",
        "pooling of a plain checkpoint; auto: cls, mean where there is no CLS token (T5), lasttoken for a decoder",
    )
    projection: int = option(
        0, "put a linear layer to so many dimensions behind a plain checkpoint's pooling (0: none)"
    )
    attention: str | None = option(None, "attention implementation: eager, sdpa, ... (the fastest known)")
    untied: bool = option(False, "two encoders, one for queries and one for passages")
    lora_rank: int = option(
        0, "train low-rank adapters of this rank and merge them at the end (needs the extra 'lora')"
    )
    vocabulary: int = option(8192, "tokens of the tokenizer that is trained for a fresh encoder (t5:LAYERSxHIDDEN)")
    train_share: float = option(
        1.0, "share of the training queries to use (a seeded sample; the smaller is in the larger)"
    )
    seed: int = option(42, "seed of sampling, dropout and the held-out queries")
    evaluations: int = option(
        5, "how often per round to measure on the development set and save a checkpoint; 0: never"
    )
    dev_share: float = option(0.1, "share of the training queries held out where the data has no dev split; 0: none")
    dev_queries: int = option(500, "development queries at most (a seeded sample)")
    dev_documents: int = option(
        10000, "documents to rank for them at most (all relevant ones, the rest at random); 0: all"
    )
    dev_measure: str = option("nDCG@10", "the measure that chooses the checkpoint")

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "chunk_tokens")
        for name in (*positive, "dev_queries"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0.")
        for name in (
            "max_steps",
            "negatives_per_query",
            "warmup",
            "lora_rank",
            "evaluations",
            "dev_documents",
            "projection",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it cannot be negative.")
        for name in ("query_length", "passage_length"):
            if getattr(self, name) < 3:
                raise InputError(f"{name} is {getattr(self, name)}; two special tokens and a token need 3 or more.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must lie between 0 and 2**32 - 1.")
        if self.rounds not in (1, 2):
            raise InputError(f"rounds is {self.rounds}; there are 1 and 2.")
        if not 0 <= self.dev_share < 1:
            raise InputError(f"dev_share is {self.dev_share}; it is a share from 0 up to, but not, 1.")
        if not 0 < self.train_share <= 1:
            raise InputError(f"train_share is {self.train_share}; it is a share above 0 and up to 1.")
        if self.untied and self.lora_rank:
            raise InputError("LoRA on untied encoders is not offered; choose one of untied and lora_rank.")
        self.temperature = str(self.temperature)
        if self.temperature != "auto":
            self.require_safe(self.fixed_temperature())

    def fixed_temperature(self) -> float:
        """The temperature as a number.

        Raises:
            InputError: it is not one above 0.
        """
        try:
            value = float(self.temperature)
        except ValueError:
            value = 0.0
        if value <= 0:
            raise InputError(f"temperature is '{self.temperature}'; it is a number above 0 or 'auto'.")
        return value

    def require_safe(self, temperature: float) -> None:
        """Refuse a temperature that float16 cannot follow: its gradients overflow under the steep softmax.

        Raises:
            InputError: it is under 0.02 and the precision is float16.
        """
        if self.precision == "float16" and temperature < _LEAST_FLOAT16_TEMPERATURE:
            raise InputError(
                f"float16 overflows at the temperature {temperature:g} (under {_LEAST_FLOAT16_TEMPERATURE}); choose"
                " --precision bfloat16 or float32."
            )


@dataclass
class MiningConfig(JudgeConfig):
    """Where hard negatives come from and which are kept.

    Raises:
        InputError: a value is out of its range.
    """

    bm25_depth: int = option(200, "BM25 negatives are drawn from its first so many documents")
    bm25_negatives: int = option(30, "BM25 negatives per query in the pool")
    mine_depth: int = option(200, "mined negatives are drawn from round 1's first so many documents")
    mine_negatives: int = option(30, "mined negatives per query in the pool")
    sampling: Literal["random", "top", "simans"] = option(
        "random", "how mined negatives are drawn: at random, hardest first, or near the positive's score (SimANS)"
    )
    simans_a: float = option(1.0, "SimANS: how sharply negatives near the positive's score are preferred")
    simans_b: float = option(0.0, "SimANS: the preferred distance from the positive's score, in standard deviations")
    margin: float | None = option(
        None, "drop mined passages that score above (1 - margin) times the positive, such as 0.05"
    )
    negative_below: float = option(0.1, "keep a mined negative only when the cross-encoder gives less than this")
    positive_above: float = option(0.9, "passages of unlabelled queries above this become positives")
    unlabelled_queries: str | None = option(
        None, "file of unlabelled queries (JSONL with 'text', or one per line) to be labelled by the cross-encoder"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("bm25_depth", "bm25_negatives", "mine_depth", "mine_negatives"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if self.margin is not None and not 0 <= self.margin < 1:
            raise InputError(f"margin is {self.margin}; it lies from 0 up to, but not, 1.")
        if not 0 <= self.negative_below <= self.positive_above <= 1:
            raise InputError(
                f"The cross-encoder's thresholds must be 0 <= negative_below <= positive_above <= 1; they are"
                f" {self.negative_below} and {self.positive_above}."
            )
        if self.unlabelled_queries and not self.cross_encoder:
            raise InputError("Unlabelled queries can only be used with a cross_encoder that labels them.")


def require_used(config: FinetuneConfig, mining: MiningConfig) -> None:
    """Refuse options of round 2 where there is none.

    Raises:
        InputError: there is one round, and something was named that only the second reads.
    """
    named = {
        "cross_encoder": mining.cross_encoder,
        "cross_encoder_start": mining.cross_encoder_start,
        "unlabelled_queries": mining.unlabelled_queries,
        "margin": mining.margin,
        "sampling": None if mining.sampling == "random" else mining.sampling,
        "round2_start": None if config.round2_start == "pretrained" else config.round2_start,
        "round2_negatives": None if config.round2_negatives == "both" else config.round2_negatives,
    }
    unused = [f"{name} ({value})" for name, value in named.items() if value is not None]
    if config.rounds == 1 and unused:
        raise InputError(f"With rounds 1 nothing uses {' and '.join(unused)}; leave it out, or set rounds to 2.")


@dataclass
class PairsConfig:
    """The stage before fine-tuning: training on pairs of questions and answers (GTR's pre-training).

    Raises:
        InputError: a value is out of its range, or there are no pairs to pre-train on.
    """

    stages: Literal["both", "pretrain", "finetune"] = option(
        "both", "both: on pairs, where there are any, then on the judged queries; or one of the two only"
    )
    pairs: list[str] = field(
        default_factory=list,
        metadata={
            "help": "pairs to train on first: files or folders of JSON lines, Parquet or CSV, BEIR folders (their"
            " training judgements) or Hub data sets, each with :WEIGHT if wanted; read as a stream"
        },
    )
    pairs_mixing: float = option(
        1.0, "sources without weights are drawn in proportion to size ** (1 / this); 1: by size, large: all alike"
    )
    pairs_steps: int = option(1000, "optimizer steps on pairs (the GTR paper's: 800,000)")
    pairs_batch_size: int = option(0, "pairs per device and step (0: as batch_size)")
    pairs_learning_rate: float = option(0.0, "peak learning rate on pairs (0: as learning_rate)")
    query_column: str | None = option(None, "column of the pairs with the query; found by its name if usual")
    positive_column: str | None = option(None, "column with the passage that answers it; found by its name if usual")
    negative_column: str | None = option(None, "column with passages that do not; found by its name if usual")
    pairs_buffer: int = option(10_000, "pairs in the buffer that shuffles a stream; 0: in the order of the file")

    def __post_init__(self) -> None:
        if self.stages not in ("both", "pretrain", "finetune"):
            raise InputError(f"stages is '{self.stages}'; there are both, pretrain and finetune.")
        if self.stages == "pretrain" and not self.pairs:
            raise InputError("There are no pairs to pre-train on; name some with --pairs.")
        for name in ("pairs_mixing", "pairs_steps"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0.")
        for name in ("pairs_batch_size", "pairs_learning_rate", "pairs_buffer"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it cannot be negative.")

    @property
    def wanted(self) -> bool:
        """Whether there is a stage on pairs."""
        return bool(self.pairs) and self.stages != "finetune"


def settings(config: FinetuneConfig | MiningConfig | PairsConfig, *without: str) -> dict[str, Any]:
    """The fields of a configuration as a plain dictionary, without some of them."""
    return {item.name: getattr(config, item.name) for item in fields(config) if item.name not in without}
