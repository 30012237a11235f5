"""A data set of ours as a task of `mteb` (an extra), so that any of its models runs on it beside an exported retriever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasets import Dataset

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import RetrievalData

if TYPE_CHECKING:
    from mteb.abstasks.retrieval import AbsTaskRetrieval


def mteb_task(data: RetrievalData, *, languages: tuple[str, ...] = ("eng-Latn",)) -> AbsTaskRetrieval:
    """Make a task: `mteb.evaluate(SentenceTransformer("my-retriever"), mteb_task(data), cache=None)`.

    Args:
        data: judged queries and their corpus.
        languages: in mteb's notation.

    Raises:
        InputError: mteb is not installed, or the data have no judgements.
    """
    try:
        from mteb.abstasks.retrieval import AbsTaskRetrieval
        from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
        from mteb.abstasks.task_metadata import TaskMetadata
    except ImportError:
        raise InputError("A task for mteb needs mteb 2: pip install 'hf-cocondenser[mteb]'.") from None
    if data.split is None or not data.qrels:
        raise InputError(f"'{data.name}' was loaded without judgements, so it makes no task; load one of its splits.")
    split = data.split

    class LocalTask(AbsTaskRetrieval):
        """The data set, already loaded."""

        ignore_identical_ids = data.protocol.exclude_same_id
        metadata = TaskMetadata(
            name=data.name,
            description=f"The collection '{data.name}', loaded by hf-cocondenser.",
            dataset={"path": data.name, "revision": data.corpus_hash()[:40]},
            type="Retrieval",
            category="t2t",
            eval_splits=[split],
            eval_langs=list(languages),
            main_score="ndcg_at_10",
        )

        def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
            """Put the loaded collection where mteb looks for it."""
            corpus = {
                "id": list(data.corpus),
                "title": [data.titles.get(name, "") for name in data.corpus],
                "text": [data.body(name) for name in data.corpus],
            }
            queries = {"id": list(data.queries), "text": list(data.queries.values())}
            parts = RetrievalSplitData(
                corpus=Dataset.from_dict(corpus),
                queries=Dataset.from_dict(queries),
                relevant_docs=data.qrels,
                top_ranked=None,
            )
            self.dataset = {"default": {split: parts}}
            self.data_loaded = True

    return LocalTask()
