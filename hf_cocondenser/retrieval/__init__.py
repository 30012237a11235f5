"""Search and evaluation: collections, BM25, dense search, runs, measures, significance, reports."""

from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import DenseSearcher, dense_search
from hf_cocondenser.retrieval.encode import Encoder, encode_texts
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import Qrels, Run, read_run, write_run
from hf_cocondenser.utils.lazy import submodules

__all__ = [
    "BM25Index",
    "DenseSearcher",
    "Encoder",
    "Qrels",
    "RetrievalData",
    "Run",
    "dense_search",
    "encode_texts",
    "load_retrieval_data",
    "load_retriever",
    "read_run",
    "reciprocal_rank_fusion",
    "write_run",
]

__getattr__ = submodules(__name__)
