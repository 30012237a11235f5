"""A model card's data from the records that `pretrain` and `finetune` leave in their folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hf_cocondenser.hub.card import FROM_SCRATCH, CardData, Stage
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.files import read_json

PRETRAINING, FINETUNING = "pretraining.json", "finetuning.json"

# Marks a start that is not on the Hub, so that its name is never given for that of somebody's repository.
_LOCAL, _SHIPPED = " (a local checkpoint)", " (in the package hf_cocondenser)"


def card_from_records(
    folder: str | Path,
    *,
    name: str | None = None,
    address: str | None = None,
    record: dict[str, Any] | None = None,
) -> CardData:
    """Describe a retriever by its `pretraining.json` and `finetuning.json`, as far as they are there.

    Args:
        folder: the retriever.
        name: heading of the card; the folder's name by default.
        address: what the examples load it by; the folder's name by default.
        record: the pre-training's, where it is not in the folder yet.

    Raises:
        InputError: a record is not valid JSON.
    """
    folder = Path(folder)
    finetuning = read_finetuning(folder / FINETUNING) if (folder / FINETUNING).is_file() else None
    pretraining = record or _find_pretraining(folder, finetuning)
    stages = _chain(pretraining)
    data: list[str] = []
    tables: dict[str, dict[str, Any]] = {}
    for record in stages:
        title = "Condenser" if record["stage"] == "condenser" else "coCondenser"
        data.append(_pretraining_line(title, record))
        done = {"steps": record["steps"], "epochs": record.get("epochs")} | _last_losses(record.get("log", []))
        tables[_unused(f"{title} pre-training", tables)] = _flat(record["options"] | record["optimisation"] | done)
    base = _start(stages[0]["start"]) if stages and stages[0]["start"] else None
    if finetuning is not None:
        base = base if stages else _start(finetuning["checkpoint"])
        if pairs := finetuning.get("pairs"):
            done = finetuning["steps"]["pairs"]
            names = ", ".join(_name(source) for source in pairs["pairs"])
            data.append(f"Training on pairs: {names}; {done['pairs']:,} pairs in {done['steps']:,} steps")
            tables["Pairs"] = _flat(pairs | {"pairs": names})
        tables["Fine-tuning"] = _flat(finetuning["finetuning"])
        if finetuning["data"] is not None:
            queries = finetuning["data"]["training_queries"]
            data.append(f"Fine-tuning: {finetuning['data']['name']}, {queries:,} training queries")
            tables["Hard negatives"] = _flat(_mining_without_paths(finetuning["mining"]))
    stage: Stage = "finetuned" if finetuning is not None else stages[-1]["stage"] if stages else "pretrained"
    title = name or folder.resolve().name
    return CardData(
        name=title,
        stage=stage,
        address=address or title,
        base_model=base,
        training_data=data,
        hyperparameters=tables,
    )


def read_pretraining(path: Path) -> dict[str, Any]:
    """What `pretrain` recorded.

    Raises:
        InputError: the file is damaged.
    """
    spans: dict[str, Any] = {"tokenizer": {"name": str}}
    shape = {
        "stage": str,
        "start": str,
        "spans": spans,
        "options": dict,
        "optimisation": dict,
        "steps": int,
        "tokens": int,
    }
    if "counts" in read_json(path, shape)["spans"]:  # a data set of one's own is not counted
        spans["counts"] = {"documents": int, "tokens": int}
    return read_json(path, shape)


def read_finetuning(path: Path) -> dict[str, Any]:
    """What `finetune` recorded.

    Raises:
        InputError: the file is damaged.
    """
    return read_json(path, {"checkpoint": str, "finetuning": dict, "mining": dict})


def pretraining_without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """A pre-training record for others: paths on the maker's machine say nothing to them, and may say too much."""
    spans = record["spans"]
    names = {key: _name(spans[key]) for key in ("source", "folder") if spans.get(key)}
    tokenizer = spans["tokenizer"] | {"name": _name(spans["tokenizer"]["name"])}
    earlier = record.get("earlier_stage")
    return record | {
        "start": _origin(record["start"]) if record["start"] else "",
        "spans": spans | names | {"tokenizer": tokenizer},
        "earlier_stage": pretraining_without_paths(earlier) if earlier else None,
    }


def finetuning_without_paths(record: dict[str, Any]) -> dict[str, Any]:
    """A fine-tuning record for others."""
    pairs = record.get("pairs")
    names = {"pairs": pairs | {"pairs": [_name(source) for source in pairs["pairs"]]}} if pairs else {}
    mining = _mining_without_paths(record["mining"])
    return record | {"checkpoint": _origin(record["checkpoint"]), "mining": mining} | names


def _mining_without_paths(mining: dict[str, Any]) -> dict[str, Any]:
    places = ("cross_encoder", "cross_encoder_start", "unlabelled_queries")
    return mining | {name: _name(mining[name]) for name in places if mining.get(name)}


def _name(place: str) -> str:
    """The last part of a path; the name of something on the Hub as it is."""
    path = Path(place)
    return path.name if path.is_absolute() or path.exists() else place


def _find_pretraining(folder: Path, finetuning: dict[str, Any] | None) -> dict[str, Any] | None:
    places = [folder, folder / "condenser"]
    if finetuning is not None:
        places.append(Path(checkpoint_path(finetuning["checkpoint"])))
    found = next((place / PRETRAINING for place in places if (place / PRETRAINING).is_file()), None)
    return None if found is None else read_pretraining(found)


def _chain(record: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The stages, earliest first."""
    return [] if record is None else [*_chain(record.get("earlier_stage")), record]


def _unused(title: str, tables: dict[str, Any]) -> str:
    number = sum(other.startswith(title) for other in tables)
    return f"{title} ({number + 1})" if number else title


def _pretraining_line(title: str, record: dict[str, Any]) -> str:
    spans = record["spans"]
    name = _name(spans.get("source") or spans["folder"])
    if counts := spans.get("counts"):
        name += f", {counts['documents']:,} documents, {counts['tokens']:,} tokens"
    others = record.get("averaged_with")  # written by examples/cocondenser-tiny/ship.py
    averaged = f"; the weights are the mean of these and of {', '.join(others)}" if others else ""
    return f"{title} pre-training: {name}; {record['tokens']:,} tokens seen in {record['steps']:,} steps{averaged}"


def _last_losses(log: list[dict[str, Any]]) -> dict[str, float]:
    """The last figures that training and the evaluation on held-out spans logged."""
    names = {"loss": "training loss", "eval_loss": "held-out loss", "eval_contrastive_accuracy": "held-out accuracy"}
    last = {name: value for line in log for name, value in line.items() if name in names}
    return {names[name]: round(value, 4) for name, value in last.items()}


def _start(start: str) -> str:
    """What training began with."""
    return FROM_SCRATCH if _is_fresh(start) else _origin(start)


def _is_fresh(start: str) -> bool:
    return re.fullmatch(r"(bert|t5):\d+x\d+", start) is not None or start.endswith(".json")


def _origin(start: str) -> str:
    """A start's name for others: as it is on the Hub, else with where it was."""
    name = _name(start)
    if name != start and str(checkpoint_path(name)) == start:
        return name + _SHIPPED
    if _is_fresh(start) or name.endswith((_LOCAL, _SHIPPED)):
        return name
    if name != start or Path(start).exists():
        return name + _LOCAL
    return name if checkpoint_path(start) == start else name + _SHIPPED


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """What was set: without switches that were off and values that were left open."""
    return {name: value for name, value in settings.items() if value is not None and value is not False}
