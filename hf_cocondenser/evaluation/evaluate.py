"""Evaluating a retriever, or run files, on several data sets, from names to the written report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.evaluation import Evaluation, Kind
from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, check_measures
from hf_cocondenser.evaluation.report import write_evaluation
from hf_cocondenser.evaluation.systems import (
    depth_needed,
    evaluate_systems,
    require_measurable,
)
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import DataSource, load_data_sets, one_or_many
from hf_cocondenser.retrieval.collections.protocols import DEFAULT
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.encode import Precision, resolve_precision
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.retriever import fingerprint, load_retriever
from hf_cocondenser.retrieval.runs import Run, require_run_ids
from hf_cocondenser.retrieval.similarity import Similarity, choose_similarity, protocol_lengths
from hf_cocondenser.utils.distributed import alone_in_its_folder, local_device, processes
from hf_cocondenser.utils.files import file_name, require_new_folder
from hf_cocondenser.utils.options import PositiveInt, check, option

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchOptions:
    """How `evaluate_retriever` searches.

    Raises:
        InputError: a value is out of its range, or nothing would use it.
    """

    depth: PositiveInt = option(100, "documents retrieved for each query")
    bm25: bool = option(True, "show BM25 beside the retriever, as what others are compared with")
    bm25_language: str = option("auto", "stop words and stemming: english, german ..., cjk, none")
    hybrid: bool = option(False, "also fuse BM25 and the retriever by reciprocal ranks")
    similarity: Similarity | None = option(None, "what vectors are compared by (default: the retriever's own)")
    force: bool = option(False, "take a similarity that the retriever was not made for")
    precision: Precision = option("auto", "of the encoding; auto is bfloat16 where the hardware multiplies it")
    index: str | None = option(None, "FAISS index such as HNSW32 or IVF1024,PQ48 (default: an exact search)")
    index_parameters: str | None = option(None, "the index's search parameters such as nprobe=64")
    protocol_lengths: bool = option(
        False,
        "read texts as long as published figures of a BEIR data set do (64 and 512 tokens; 512 of ArguAna's queries, 768 of"
        " TREC-News and Robust04), as far as the retriever can",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.bm25_language != "auto" and not (self.bm25 or self.hybrid):
            raise InputError(
                f"Nothing uses the language '{self.bm25_language}' of BM25 without BM25; leave it out, or add --hybrid."
            )
        if self.index_parameters is not None and self.index is None:
            raise InputError(
                "Search parameters are an index's, and the search is exact; name an index too, or leave them out."
            )


@alone_in_its_folder
def evaluate_retriever(
    model: str | Path | SentenceTransformer,
    data: DataSource | Sequence[DataSource],
    output_dir: str | Path | None = None,
    *,
    name: str | None = None,
    split: str | None = None,
    measures: str | Sequence[str] = DEFAULT_MEASURES,
    options: SearchOptions = SearchOptions(),
    columns: Columns | None = None,
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
) -> Evaluation | None:
    """Search every data set with the retriever (and BM25, and both fused), measure and compare.

    Under torchrun or accelerate launch the processes share the encoding; they need `cache_dir`.

    Args:
        model: folder or Hub name of a retriever in sentence-transformers layout, or the loaded retriever.
        data: BEIR folder (or another source of `load_retrieval_data`), or loaded data set; one or several.
        output_dir: new folder for runs, values by query, tables and the report (default: nothing is written).
        name: what to call the retriever (default: its folder's name).
        split: judgements to use (default: each data set's own, mostly test).
        measures: nDCG@k, MRR@k, Recall@k, MAP, Success@k, P@k, Answer@k; the first is drawn.
        options: how to search.
        columns: those of documents and queries that are named otherwise than usual.
        cache_dir: folder for embeddings: stopped encoding goes on there, processes share it.
        overwrite: replace the output folder.

    Returns:
        The figures; None in every process but the first.

    Raises:
        InputError: something named is not there or does not fit.

    Example:
        evaluation = evaluate_retriever("runs/retriever", "data/scifact")
        print(evaluation)  # the tables
        evaluation.means["scifact"]["retriever (dot)"]["nDCG@10"]
    """
    if output_dir is not None:
        require_new_folder(output_dir, overwrite, reads=[model, cache_dir, *one_or_many(data)])
        if cache_dir is not None and Path(cache_dir).resolve().is_relative_to(Path(output_dir).resolve()):
            raise InputError(
                f"The cache '{cache_dir}' would lie in the output folder '{output_dir}', which is written anew as a"
                " whole; name a folder beside it."
            )
    measures = check_measures(measures)
    if processes().num_processes > 1 and cache_dir is None:
        raise InputError("Several processes share their work through a folder: name one with --cache-dir.")
    if isinstance(model, str | Path):
        name = name or Path(model).resolve().name
        model = load_retriever(model, device=local_device())
    similarity = choose_similarity(model, options.similarity, force=options.force)
    precision = resolve_precision(options.precision, model.device)
    data_sets = load_data_sets(data, split or "auto", columns=columns)
    for data_set in data_sets:
        require_measurable(data_set, measures)
        require_run_ids(data_set.queries, data_set.corpus)
        if not options.protocol_lengths:
            _tell_lengths(model, data_set)
    found: dict[str, dict[Kind, Run]] = {}
    variants: dict[str, None] = {}
    for data_set in data_sets:
        cache = Path(cache_dir) / file_name(data_set.name) if cache_dir is not None else None
        depth = depth_needed(measures, options.depth)
        with protocol_lengths(model, data_set.protocol) if options.protocol_lengths else nullcontext():
            found[data_set.name] = _search(model, data_set, depth, options, cache, processes().process_index, variants)
    if not processes().is_main_process:
        return None
    names = _system_names(f"{name or 'retriever'} ({similarity})", list(variants))
    runs = {data_set: {names[kind]: run for kind, run in systems.items()} for data_set, systems in found.items()}
    evaluation = evaluate_systems(
        data_sets,
        runs,
        baseline=next(iter(runs[data_sets[0].name])),
        measures=measures,
        kinds={system: kind for kind, system in names.items()},
        settings={
            **asdict(options),
            "retriever": fingerprint(model),
            "similarity": similarity,
            "precision": precision,
        },
    )
    write_evaluation(evaluation, output_dir, overwrite)
    return evaluation


def _search(
    model: SentenceTransformer,
    data: RetrievalData,
    depth: int,
    options: SearchOptions,
    cache: Path | None,
    rank: int,
    variants: dict[str, None],
) -> dict[Kind, Run]:
    """Runs of every system, the baseline first; nothing where `rank` is not 0. `variants` gets the one of BM25."""
    searcher = DenseSearcher.build(
        model,
        data.corpus,
        cache_dir=cache,
        index=options.index if rank == 0 else None,
        index_parameters=options.index_parameters,
        similarity=options.similarity,
        force=options.force,
        precision=options.precision,
        show_progress=rank == 0,
    )
    if rank:
        return {}
    same = data.protocol.exclude_same_id
    runs: dict[Kind, Run] = {}
    if options.bm25 or options.hybrid:
        bm25 = BM25Index.build(data.corpus, language=options.bm25_language)
        variants[bm25.variant] = None
        runs["bm25"] = bm25.search(data.queries, depth, exclude_same_id=same)
    runs["retriever"] = searcher.search(data.queries, depth, exclude_same_id=same)
    if options.hybrid:
        runs["hybrid"] = reciprocal_rank_fusion(list(runs.values()), depth=depth)
        if not options.bm25:
            del runs["bm25"]
    return runs


def _system_names(retriever: str, variants: list[str]) -> dict[Kind, str]:
    """What the rows are called; BM25 has one name over data sets of different languages, so that it is one system."""
    several = "; ".join(variant.removeprefix("BM25 (").removesuffix(")") for variant in variants)
    bm25 = f"BM25 ({several})"
    return {"bm25": bm25, "retriever": retriever, "hybrid": f"hybrid (RRF of BM25 and {retriever})"}


def _tell_lengths(model: SentenceTransformer, data: RetrievalData) -> None:
    """Say so where published figures read longer texts than the retriever does."""
    wanted, reads = data.protocol.document_length, model.max_seq_length
    if data.protocol is not DEFAULT and reads is not None and reads < wanted:
        logger.info("%s: published figures read %d tokens of a document, this retriever %d.", data.name, wanted, reads)
