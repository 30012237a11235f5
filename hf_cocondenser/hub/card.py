"""Model cards: what only the maker knows, and what the folder says of itself, through one template."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hf_cocondenser.hub.results import RESULTS_FILE, Result, read_results, results_table
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.utils.files import write_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CARD_FILE = "README.md"
_MARK = "<!-- written by hf_cocondenser, "
FROM_SCRATCH = "none (random weights)"

Stage = Literal["pretrained", "condenser", "cocondenser", "finetuned"]
STAGES: dict[Stage, str] = {
    "pretrained": "Condenser or coCondenser pre-training",
    "condenser": "Condenser pre-training",
    "cocondenser": "Condenser and coCondenser pre-training",
    "finetuned": "fine-tuned for retrieval",
}


@dataclass(frozen=True)
class CardData:
    """What a card says beyond what the folder says of itself.

    Attributes:
        name: heading of the card.
        stage: the last stage the model went through.
        address: what to load it by in the examples: a Hub name or a folder.
        base_model: what the first stage started from; `FROM_SCRATCH` for random weights, None where nobody knows.
        training_data: Markdown, one line for each source.
        hyperparameters: tables, by the name of the stage.
        results: measured; `results.json` in the folder by default.
        limits: sentences for the section on limits.
        language: ISO codes.
        license: as the Hub names it.
        datasets: Hub names of the training data.
    """

    name: str
    stage: Stage
    address: str = "."
    base_model: str | None = None
    training_data: Sequence[str] = ()
    hyperparameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    results: Sequence[Result] = ()
    limits: str = ""
    language: Sequence[str] = ()
    license: str | None = None
    datasets: Sequence[str] = ()


_SIMILARITY = {"dot": "dot product", "cosine": "cosine"}


@dataclass(frozen=True)
class RetrieverFacts:
    """What a retriever says of itself, for its card.

    Attributes:
        architecture: family, layers, width and parameters, in words.
        dimension: of the vectors.
        pooling: how a text's vector is made, in words.
        similarity_words: what vectors are compared with, in words.
        unit_vectors: whether scores are cosines.
        max_length: tokens per text, special tokens included.
        lengths: the same in words, by kind of text where they differ.
        prompts: what is put before texts, by kind of text.
        plain: one encoder with CLS pooling, which a few lines of transformers use as well.
    """

    architecture: str
    dimension: int
    pooling: str
    similarity_words: str
    unit_vectors: bool
    max_length: int
    lengths: str
    prompts: dict[str, str]
    plain: bool

    @property
    def score_range(self) -> str:
        """Bounds of the scores, in words."""
        return "-1 to 1" if self.unit_vectors else "unbounded; higher is more relevant"


def retriever_facts(retriever: SentenceTransformer) -> RetrieverFacts:
    """Read the facts off a loaded retriever."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    encoders = [module for module in retriever.modules() if isinstance(module, Transformer)]
    poolings = [module for module in retriever.modules() if isinstance(module, Pooling)]
    config = encoders[0].auto_model.config
    projections = [module for module in retriever.modules() if isinstance(module, Dense)]
    projected = f", projected to {projections[-1].out_features} dimensions" if projections else ""
    parameters = sum(p.numel() for p in retriever.parameters())
    normalized = isinstance(retriever[len(retriever) - 1], Normalize)
    similarity = str(retriever.similarity_fn_name)
    mode = poolings[0].pooling_mode if poolings else "cls"
    lengths = {"query": encoders[0].query_length, "passage": encoders[-1].document_length}
    return RetrieverFacts(
        architecture=f"{'two encoders, each ' if len(encoders) > 1 else ''}{config.model_type}, "
        f"{config.num_hidden_layers} layers of width {config.hidden_size}; {parameters:,} parameters in all",
        dimension=retriever.get_embedding_dimension(),
        pooling=f"{'CLS' if mode == 'cls' else mode} pooling{projected}{', normalised to length 1' if normalized else ''}",
        similarity_words=_SIMILARITY.get(similarity, similarity),
        unit_vectors=normalized or similarity == "cosine",
        max_length=retriever.max_seq_length,
        lengths=", ".join(f"{n} tokens per {kind}" for kind, n in lengths.items())
        if all(lengths.values())
        else f"{retriever.max_seq_length} tokens",
        prompts={name: prompt for name, prompt in retriever.prompts.items() if prompt},
        plain=len(encoders) == 1 and mode == "cls" and len(list(retriever)) - normalized == 2,
    )


def write_card(
    folder: str | Path,
    card: CardData,
    retriever: SentenceTransformer | None = None,
    *,
    is_checkpoint: bool = False,
) -> Path:
    """Write `README.md` into a retriever's folder; returns its path.

    Args:
        folder: a retriever in sentence-transformers layout.
        card: what the folder does not say of itself.
        retriever: the same retriever where it is loaded already.
        is_checkpoint: the folder is a pre-training checkpoint, which this package must be installed for.

    Raises:
        InputError: `results.json` in the folder holds something other than results.
    """
    path = Path(folder) / CARD_FILE
    write_text(path, render_card(Path(folder), card, retriever, is_checkpoint=is_checkpoint))
    return path


def render_card(
    folder: Path,
    card: CardData,
    retriever: SentenceTransformer | None = None,
    *,
    has_condenser: bool = False,
    is_checkpoint: bool = False,
) -> str:
    """The text of a card; see `write_card`. `has_condenser`: `condenser/` is there, or is going to be."""
    from jinja2 import Environment, StrictUndefined

    retriever = retriever or load_retriever(folder, device="cpu")
    results = list(card.results) or read_results(folder / RESULTS_FILE)
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, autoescape=False
    )
    # A prompt may hold quotes and line ends.
    environment.filters["literal"] = lambda text: json.dumps(text, ensure_ascii=False)
    template = environment.from_string(resources.files(__package__).joinpath("card_template.md").read_text("utf-8"))
    text = template.render(
        card=card,
        facts=retriever_facts(retriever),
        has_condenser=has_condenser or (folder / "condenser").is_dir(),
        is_checkpoint=is_checkpoint,
        finetuned=card.stage == "finetuned",
        metadata=_metadata(card, results),
        results=results_table(results),
        stage=STAGES[card.stage],
    )
    return f"{text.rstrip()}\n\n{_mark(text)}"


def is_edited(path: Path) -> bool:
    """Whether a card is there that is not, word for word, one that `render_card` wrote."""
    if not path.is_file():
        return False
    card = path.read_text(encoding="utf-8", errors="replace")
    text = card.rpartition(_MARK)[0]
    return card != f"{text}{_mark(text)}"


def _mark(text: str) -> str:
    """The last line of a card, by which one that nobody edited is known wherever it was moved."""
    return f"{_MARK}{hashlib.sha256(text.strip().encode()).hexdigest()[:16]} -->\n"


def _metadata(card: CardData, results: Sequence[Result]) -> str:
    """The YAML header that the Hub reads."""
    from huggingface_hub import EvalResult, ModelCardData

    own = [
        EvalResult(
            task_type="information-retrieval",
            dataset_type=re.sub(r"[^\w.-]+", "-", result.dataset).lower(),
            dataset_name=result.dataset,
            metric_type=re.sub(r"\W+", "_", measure).lower(),
            metric_name=measure,
            metric_value=round(value, 4),
        )
        for result in results
        if not result.system
        for measure, value in result.measures.items()
    ]
    # The Hub refuses a card whose base model is not the name of a repository.
    is_hub_name = card.base_model and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", card.base_model)
    return ModelCardData(
        language=list(card.language) or None,
        license=card.license,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity" if card.stage == "finetuned" else "feature-extraction",
        tags=["sentence-transformers", "feature-extraction", "dense-retrieval", "condenser", "hf-cocondenser"],
        base_model=card.base_model if is_hub_name else None,
        datasets=list(card.datasets) or None,
        model_name=card.name if own else None,
        eval_results=own or None,
    ).to_yaml()
