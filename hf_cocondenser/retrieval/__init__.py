"""Search and evaluation: collections, BM25, dense search, runs, measures, significance, reports."""

from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collection import RetrievalData
from hf_cocondenser.retrieval.encode import Encoder, encode_texts
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.loading import load_retrieval_data
from hf_cocondenser.retrieval.measures import evaluate_run
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import Qrels, Run, read_run, write_run
from hf_cocondenser.retrieval.search import DenseSearcher, dense_search

__all__ = [
    "BM25Index",
    "DenseSearcher",
    "Encoder",
    "Qrels",
    "RetrievalData",
    "Run",
    "dense_search",
    "encode_texts",
    "evaluate_run",
    "load_retrieval_data",
    "load_retriever",
    "read_run",
    "reciprocal_rank_fusion",
    "write_run",
]
