"""Condenser / coCondenser pre-training, fine-tuning and evaluation of dense retrievers.

Importing the package registers `CondenserConfig` and its models with transformers' Auto classes, and nothing else;
everything but the models is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForPreTraining

from hf_cocondenser.backbones import EncoderFamily, register_family
from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.errors import InputError
from hf_cocondenser.modeling_condenser import CondenserForPreTraining, CondenserModel
from hf_cocondenser.utils.lazy import submodules

if TYPE_CHECKING:
    from hf_cocondenser.data.collator import CondenserCollator
    from hf_cocondenser.data.cutting import SpanOptions
    from hf_cocondenser.data.dataset import SpanDataset
    from hf_cocondenser.data.documents import load_documents
    from hf_cocondenser.data.prepare import prepare_spans
    from hf_cocondenser.evaluation.compare import compare_runs
    from hf_cocondenser.evaluation.evaluate import SearchOptions, evaluate_retriever
    from hf_cocondenser.evaluation.evaluation import Evaluation
    from hf_cocondenser.finetuning.adapt import AdaptConfig, adapt
    from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
    from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
    from hf_cocondenser.finetuning.finetune import finetune
    from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss
    from hf_cocondenser.finetuning.negatives.mine import mine_hard_negatives
    from hf_cocondenser.finetuning.temperature import auto_temperature
    from hf_cocondenser.hub.convert import convert_checkpoint
    from hf_cocondenser.hub.export import save_retriever
    from hf_cocondenser.hub.publish import publish
    from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
    from hf_cocondenser.pretraining.grad_cache import GradCache
    from hf_cocondenser.pretraining.pretrain import pretrain
    from hf_cocondenser.pretraining.trainer import CondenserTrainer
    from hf_cocondenser.research.scorers.compare import compare_scorers
    from hf_cocondenser.research.scorers.config import ScorersConfig
    from hf_cocondenser.retrieval.collections.collection import RetrievalData
    from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
    from hf_cocondenser.retrieval.search import search_corpus
    from hf_cocondenser.shipped import checkpoint_path

AutoConfig.register("condenser", CondenserConfig, exist_ok=True)
AutoModel.register(CondenserConfig, CondenserModel, exist_ok=True)
AutoModelForMaskedLM.register(CondenserConfig, CondenserForPreTraining, exist_ok=True)
AutoModelForPreTraining.register(CondenserConfig, CondenserForPreTraining, exist_ok=True)

__version__ = "0.1.0"

_LATER = {
    "AdaptConfig": "finetuning.adapt",
    "adapt": "finetuning.adapt",
    "CondenserCollator": "data.collator",
    "SpanDataset": "data.dataset",
    "load_documents": "data.documents",
    "prepare_spans": "data.prepare",
    "SpanOptions": "data.cutting",
    "DevelopmentConfig": "finetuning.config",
    "MiningConfig": "finetuning.config",
    "PairsConfig": "finetuning.config",
    "RetrieverTrainingArguments": "finetuning.arguments",
    "finetune": "finetuning.finetune",
    "MaskedContrastiveLoss": "finetuning.loss",
    "auto_temperature": "finetuning.temperature",
    "mine_hard_negatives": "finetuning.negatives.mine",
    "GradCache": "pretraining.grad_cache",
    "convert_checkpoint": "hub.convert",
    "save_retriever": "hub.export",
    "publish": "hub.publish",
    "ModelOptions": "pretraining.arguments",
    "pretrain": "pretraining.pretrain",
    "search_corpus": "retrieval.search",
    "SearchOptions": "evaluation.evaluate",
    "compare_runs": "evaluation.compare",
    "Evaluation": "evaluation.evaluation",
    "RetrievalData": "retrieval.collections.collection",
    "evaluate_retriever": "evaluation.evaluate",
    "load_retrieval_data": "retrieval.collections.loading",
    "compare_scorers": "research.scorers.compare",
    "ScorersConfig": "research.scorers.config",
    "checkpoint_path": "shipped",
    "CondenserTrainer": "pretraining.trainer",
    "CondenserTrainingArguments": "pretraining.arguments",
}

__all__ = [
    "AdaptConfig",
    "CondenserCollator",
    "CondenserConfig",
    "CondenserForPreTraining",
    "CondenserModel",
    "CondenserTrainer",
    "CondenserTrainingArguments",
    "DevelopmentConfig",
    "EncoderFamily",
    "Evaluation",
    "GradCache",
    "InputError",
    "MaskedContrastiveLoss",
    "MiningConfig",
    "ModelOptions",
    "PairsConfig",
    "RetrievalData",
    "RetrieverTrainingArguments",
    "ScorersConfig",
    "SearchOptions",
    "SpanDataset",
    "SpanOptions",
    "adapt",
    "auto_temperature",
    "checkpoint_path",
    "compare_runs",
    "compare_scorers",
    "convert_checkpoint",
    "evaluate_retriever",
    "finetune",
    "load_documents",
    "load_retrieval_data",
    "mine_hard_negatives",
    "prepare_spans",
    "pretrain",
    "publish",
    "register_family",
    "save_retriever",
    "search_corpus",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"hf_cocondenser.{_LATER[name]}"), name)
    return submodules("hf_cocondenser")(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
