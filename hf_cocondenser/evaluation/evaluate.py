"""Evaluating a retriever, or run files, on several data sets, from names to the written report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import DEFAULT_MEASURES, check_measures
from hf_cocondenser.evaluation.report import file_name, markdown, write_report
from hf_cocondenser.evaluation.systems import (
    depth_needed,
    evaluate_systems,
    require_distinct_names,
    require_measurable,
)
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.collections.protocols import DEFAULT
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.encode import Precision, resolve_precision
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.retriever import fingerprint, load_retriever
from hf_cocondenser.retrieval.runs import Run, read_run, require_run_ids
from hf_cocondenser.retrieval.similarity import Similarity, choose_similarity, protocol_lengths
from hf_cocondenser.utils.distributed import alone_in_its_folder, local_device, processes
from hf_cocondenser.utils.files import output_folder, require_new_folder
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
    data: Sequence[str | Path | RetrievalData],
    output_dir: str | Path,
    *,
    name: str | None = None,
    split: str | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    options: SearchOptions = SearchOptions(),
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
) -> str | None:
    """Search every data set with the retriever (and BM25, and both fused), measure, compare, write a report.

    Under torchrun or accelerate launch the processes share the encoding; they need `cache_dir`.

    Args:
        model: folder or Hub name of a retriever in sentence-transformers layout, or the loaded retriever.
        data: BEIR folders (or other sources of judged collections), or loaded data sets; several at once.
        output_dir: new folder for runs, values by query, tables and the report.
        name: what to call the retriever (default: its folder's name).
        split: judgements to use (default: each data set's own, mostly test).
        measures: nDCG@k, MRR@k, Recall@k, MAP, Success@k, P@k, Answer@k; the first is drawn.
        options: how to search.
        cache_dir: folder for embeddings: stopped encoding goes on there, processes share it.
        overwrite: replace the output folder.

    Returns:
        The report's tables in Markdown; None in every process but the first.

    Raises:
        InputError: something named is not there or does not fit.
    """
    require_new_folder(output_dir, overwrite, reads=[model, cache_dir, *data])
    if cache_dir is not None and Path(cache_dir).resolve().is_relative_to(Path(output_dir).resolve()):
        raise InputError(
            f"The cache '{cache_dir}' would lie in the output folder '{output_dir}', which is written anew as a whole;"
            " name a folder beside it."
        )
    check_measures(measures)
    if processes().num_processes > 1 and cache_dir is None:
        raise InputError("Several processes share their work through a folder: name one with --cache-dir.")
    if isinstance(model, str | Path):
        name = name or Path(model).resolve().name
        model = load_retriever(model, device=local_device())
    name = name or "retriever"
    similarity = choose_similarity(model, options.similarity, force=options.force)
    precision = resolve_precision(options.precision, model.device)
    name = f"{name} ({similarity})"
    data_sets = [d if isinstance(d, RetrievalData) else load_retrieval_data(d, split or "auto") for d in data]
    require_distinct_names(data_sets)
    for data_set in data_sets:
        require_measurable(data_set, measures)
        require_run_ids(data_set.queries, data_set.corpus)
        if not options.protocol_lengths:
            _tell_lengths(model, data_set)
    runs: dict[str, dict[str, Run]] = {}
    for data_set in data_sets:
        cache = Path(cache_dir) / file_name(data_set.name) if cache_dir is not None else None
        depth = depth_needed(measures, options.depth)
        with protocol_lengths(model, data_set.protocol) if options.protocol_lengths else nullcontext():
            runs[data_set.name] = _search(model, name, data_set, depth, options, cache, processes().process_index)
    if not processes().is_main_process:
        return None
    settings = {**asdict(options), "retriever": fingerprint(model), "similarity": similarity, "precision": precision}
    runs = _same_names(runs)
    return _report(data_sets, runs, next(iter(runs[data_sets[0].name])), measures, output_dir, overwrite, settings)


@alone_in_its_folder
def compare_runs(
    runs: Sequence[str | Path],
    data: Sequence[str | Path | RetrievalData],
    output_dir: str | Path | None = None,
    *,
    split: str | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> str:
    """Measure run files and compare them with the first.

    Args:
        runs: TREC run files, or folders that hold DATA.trec for every data set; the first is the baseline.
        data: the judged collections that the runs are of; several where runs are folders.
        output_dir: new folder for the report (default: nothing is written).
        split: judgements to use (default: each data set's own, mostly test).
        measures: nDCG@k, MRR@k, Recall@k, MAP, Success@k, P@k, Answer@k; the first is drawn.
        names: what to call the runs (default: their file names).
        overwrite: replace the output folder.

    Returns:
        The tables in Markdown.

    Raises:
        InputError: something named is not there or does not fit.
    """
    if output_dir is not None:
        require_new_folder(output_dir, overwrite, reads=[*runs, *data])
    check_measures(measures)
    paths = [Path(path) for path in runs]
    names = list(names) if names else _names(paths)
    if len(names) != len(paths) or len(set(names)) != len(names):
        raise InputError(
            f"There are {len(paths)} runs and the names {', '.join(names)}; give each run a name of its own."
        )
    data_sets = [d if isinstance(d, RetrievalData) else load_retrieval_data(d, split or "auto") for d in data]
    found = {
        d.name: {n: _read(path, d, len(data_sets)) for n, path in zip(names, paths, strict=True)} for d in data_sets
    }
    return _report(data_sets, found, names[0], measures, output_dir, overwrite)


def _search(
    model: SentenceTransformer,
    name: str,
    data: RetrievalData,
    depth: int,
    options: SearchOptions,
    cache: Path | None,
    rank: int,
) -> dict[str, Run]:
    """Runs of every system, the baseline first; nothing where `rank` is not 0."""
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
    runs: dict[str, Run] = {}
    bm25 = None
    if options.bm25 or options.hybrid:
        bm25 = BM25Index.build(data.corpus, language=options.bm25_language)
        runs[bm25.variant] = bm25.search(data.queries, depth, exclude_same_id=same)
    runs[name] = searcher.search(data.queries, depth, exclude_same_id=same)
    if bm25 is not None and options.hybrid:
        runs[f"hybrid (RRF of BM25 and {name})"] = reciprocal_rank_fusion(
            [runs[bm25.variant], runs[name]], depth=depth
        )
        if not options.bm25:
            del runs[bm25.variant]
    return runs


def _tell_lengths(model: SentenceTransformer, data: RetrievalData) -> None:
    """Say so where published figures read longer texts than the retriever does."""
    wanted, reads = data.protocol.document_length, model.max_seq_length
    if data.protocol is not DEFAULT and reads is not None and reads < wanted:
        logger.info("%s: published figures read %d tokens of a document, this retriever %d.", data.name, wanted, reads)


def _same_names(runs: dict[str, dict[str, Run]]) -> dict[str, dict[str, Run]]:
    """Give BM25 one name over data sets of different languages, so that it is one system."""
    variants = {name: None for systems in runs.values() for name in systems if name.startswith("BM25 (")}
    if len(variants) < 2:
        return runs
    joined = f"BM25 ({'; '.join(name[6:-1] for name in variants)})"
    return {
        data: {joined if name in variants else name: run for name, run in systems.items()}
        for data, systems in runs.items()
    }


def _report(
    data_sets: Sequence[RetrievalData],
    runs: dict[str, dict[str, Run]],
    baseline: str,
    measures: Sequence[str],
    output_dir: str | Path | None,
    overwrite: bool,
    settings: dict[str, Any] | None = None,
) -> str:
    evaluation = evaluate_systems(data_sets, runs, baseline=baseline, measures=measures)
    with output_folder(output_dir, overwrite) if output_dir is not None else nullcontext() as folder:
        if folder is not None:
            write_report(folder, evaluation, settings=settings)
    return markdown(evaluation)


def _read(path: Path, data: RetrievalData, data_sets: int) -> Run:
    if path.is_dir():
        path = path / f"{file_name(data.name)}.trec"
    elif data_sets > 1:
        raise InputError(
            f"'{path}' is one run, but there are {data_sets} data sets; name a folder with a DATA.trec for each."
        )
    run = read_run(path)
    if not run.keys() & data.qrels.keys():
        raise InputError(f"The run '{path}' answers none of the judged queries of '{data.name}'.")
    unknown = {document for hits in run.values() for document in hits} - data.corpus.keys()
    if unknown:
        logger.warning(
            "%s names %s documents that '%s' does not hold, such as '%s'; they count as not relevant.",
            path,
            f"{len(unknown):,}",
            data.name,
            min(unknown),
        )
    return run


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, with as many parent folders as tell them apart."""
    for parts in range(1, 6):
        names = [
            "/".join((path if path.is_dir() else path.with_suffix("")).resolve().parts[-parts:]) for path in paths
        ]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
