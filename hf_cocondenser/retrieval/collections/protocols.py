"""How each BEIR data set is meant to be evaluated.

Counts are those of the ir_datasets catalogue (the same for BEIR's own files), lengths those of the GTR paper, the rule on
identical ids that of mteb. Title and text are joined by a blank in all of them. What could not be verified is None.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hf_cocondenser.retrieval.runs import Qrels


@dataclass(frozen=True)
class Protocol:
    """The rules of one data set.

    Attributes:
        name: BEIR's name of it, or `default`.
        split: the split that published figures are measured on.
        documents, queries, judgements: how many there should be (queries and judgements of `split`).
        exclude_same_id: a hit whose id is the query's own id does not count (the queries are documents).
        query_length, document_length: tokens that published figures read at most.
        qrels_sha256: `qrels_hash` of the judgements.
    """

    name: str
    split: str = "test"
    documents: int | None = None
    queries: int | None = None
    judgements: int | None = None
    exclude_same_id: bool = False
    query_length: int = 64
    document_length: int = 512
    qrels_sha256: str | None = None


DEFAULT = Protocol("default")

_CQADUPSTACK = {
    "android": (22_998, 699, 1_696),
    "english": (40_221, 1_570, 3_765),
    "gaming": (45_301, 1_595, 2_263),
    "gis": (37_637, 885, 1_114),
    "mathematica": (16_705, 804, 1_358),
    "physics": (38_316, 1_039, 1_933),
    "programmers": (32_176, 876, 1_675),
    "stats": (42_269, 652, 913),
    "tex": (68_184, 2_906, 5_154),
    "unix": (47_382, 1_072, 1_693),
    "webmasters": (17_405, 506, 1_395),
    "wordpress": (48_605, 541, 744),
}

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # TREC-DL's graded judgements are MS MARCO's `test`; figures called "MS MARCO" are of `dev`.
        Protocol("msmarco", "dev", 8_841_823, 6_980, 7_437),
        Protocol("trec-covid", "test", 171_332, 50, 66_336),
        Protocol(
            "nfcorpus",
            "test",
            3_633,
            323,
            12_334,
            qrels_sha256="a20714ed0116696964f78fb567ec2d675ef47bbce7ba62333eebc1ad08c68076",
        ),
        Protocol("bioasq", "test", None, 500),
        Protocol("nq", "test", 2_681_468, 3_452, 4_201),
        Protocol("hotpotqa", "test", 5_233_329, 7_405, 14_810),
        Protocol("fiqa", "test", 57_638, 648, 1_706),
        Protocol("signal1m", "test"),
        Protocol("trec-news", "test", document_length=768),
        Protocol("robust04", "test", document_length=768),
        Protocol("arguana", "test", 8_674, 1_406, 1_406, exclude_same_id=True, query_length=512),
        # Version 2 of the judgements; with version 1 BM25's nDCG@10 is 0.60 instead of 0.37.
        Protocol("webis-touche2020", "test", 382_545, 49, 2_214),
        Protocol("quora", "test", 522_931, 10_000, 15_675, exclude_same_id=True),
        Protocol("dbpedia-entity", "test", 4_635_922, 400, 43_515),
        Protocol("scidocs", "test", 25_657, 1_000, 29_928),
        Protocol("fever", "test", 5_416_568, 6_666, 7_937),
        Protocol("climate-fever", "test", 5_416_593, 1_535, 4_681),
        Protocol(
            "scifact",
            "test",
            5_183,
            300,
            339,
            qrels_sha256="428433edda7326ae10d037742b73ded3996688af774ca2b24142af5b9aa23d15",
        ),
        *(Protocol(f"cqadupstack/{name}", "test", *counts) for name, counts in _CQADUPSTACK.items()),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of the data set called `name` (a path or Hub id is looked up by its last parts), or the defaults."""
    parts = name.lower().rstrip("/").split("/")
    return PROTOCOLS.get("/".join(parts[-2:]), PROTOCOLS.get(parts[-1], DEFAULT))


def qrels_hash(qrels: Qrels) -> str:
    """SHA-256 (hex) of judgements, whatever their order and file format."""
    lines = sorted(
        f"{query}\t{document}\t{relevance}\n" for query, j in qrels.items() for document, relevance in j.items()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def deviations(protocol: Protocol, split: str, documents: int, qrels: Qrels) -> list[str]:
    """What of a loaded data set is not as the protocol says; figures then do not compare with published ones.

    There are no published figures of a data set that is not known by name.
    """
    if protocol is DEFAULT:
        return []
    found = []
    if split != protocol.split:
        return [f"published figures are of the split '{protocol.split}', not '{split}'"]
    judgements = sum(map(len, qrels.values()))
    for what, expected, there in (
        ("documents", protocol.documents, documents),
        ("queries", protocol.queries, len(qrels)),
        ("judgements", protocol.judgements, judgements),
    ):
        if expected is not None and expected != there:
            found.append(f"{there:,} {what} instead of {expected:,}")
    if not found and protocol.qrels_sha256 is not None and protocol.qrels_sha256 != qrels_hash(qrels):
        found.append("other judgements than BEIR's")
    return found
