"""The folder layout that every sentence-transformers version and serving stack reads.

sentence-transformers 6 writes module names and pooling keys that its earlier versions, vLLM and
text-embeddings-inference do not know, but it reads the earlier ones like everybody else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from hf_cocondenser.backbones import pooler_option
from hf_cocondenser.retrieval.retriever import transformers_of
from hf_cocondenser.utils.files import read_json, write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_CLASSIC = ("Transformer", "Pooling", "Dense", "Normalize")
_POOLING_KEYS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def save_portable(retriever: SentenceTransformer, folder: Path) -> None:
    """Write a retriever in the layout that every version reads, with what sentence-transformers itself does not record."""
    retriever.save_pretrained(str(folder), create_model_card=False)
    if any(getattr(transformer, "do_lower_case", False) for transformer in transformers_of(retriever)):
        for path in folder.rglob("sentence_bert_config.json"):
            write_json(path, read_json(path) | {"do_lower_case": True})
    make_portable(folder)


def make_portable(folder: Path) -> None:
    """Rewrite the small files of a saved retriever in the layout that every version reads; weights stay as they are.

    Also records that the encoder has no pooler, which would be made anew, at random, each time it is loaded. A
    retriever with modules that have no earlier form (two encoders, say) is left as it is.
    """
    modules = read_json(folder / "modules.json")
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds[0] != "Transformer" or any(kind not in _CLASSIC for kind in kinds):
        return
    for module, kind in zip(modules, kinds, strict=True):
        module["type"] = f"sentence_transformers.models.{kind}"
        if kind == "Pooling":
            _write_pooling(folder / module["path"] / "config.json")
        if kind == "Dense":
            _write_dense(folder / module["path"] / "config.json")
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", _transformer_settings(folder))
    tokenizer = read_json(folder / "tokenizer_config.json")
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's name of it
        write_json(folder / "tokenizer_config.json", tokenizer | {"tokenizer_class": "PreTrainedTokenizerFast"})


def _write_pooling(path: Path) -> None:
    pooling = read_json(path)
    mode = pooling.pop("pooling_mode", None)
    if not isinstance(mode, str):
        return
    dimension = {"word_embedding_dimension": pooling.pop("embedding_dimension")}
    write_json(path, dimension | {key: name == mode for name, key in _POOLING_KEYS.items()} | pooling)


def _write_dense(path: Path) -> None:
    """Leave out where a projection reads and writes, when that is the sentence vector: earlier versions know no other."""
    dense = read_json(path)
    for key in ("module_input_name", "module_output_name"):
        if dense.get(key) == "sentence_embedding":
            del dense[key]
    write_json(path, dense)


def _transformer_settings(folder: Path) -> dict[str, Any]:
    before = read_json(folder / "sentence_bert_config.json")
    length = read_json(folder / "tokenizer_config.json")["model_max_length"]
    settings: dict[str, Any] = {"max_seq_length": length, "do_lower_case": before.get("do_lower_case", False)}
    # Lengths by kind of text have no earlier form: sentence-transformers 6 uses them, servers the one above.
    settings |= {name: before[name] for name in ("query_length", "document_length") if before.get(name)}
    if without_pooler := pooler_option(AutoConfig.from_pretrained(folder)):
        settings["model_args"] = without_pooler
    return settings
