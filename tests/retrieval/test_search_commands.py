"""`search`, `evaluate` and `compare` from the command line."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

from hf_cocondenser import RetrievalData
from hf_cocondenser.cli.main import main
from hf_cocondenser.retrieval.runs import read_run
from hf_cocondenser.retrieval.search import search_corpus
from tests.launch import torchrun


def test_search_prints_documents(retriever, beir_folder, capsys):
    assert (
        main(
            [
                "search",
                str(retriever),
                "--corpus",
                str(beir_folder),
                "--query",
                "which whales sing",
                "--k",
                "2",
                "--hybrid",
            ]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "? which whales sing"
    assert lines[1].split()[0] == "1." and lines[3].split()[0] == "2."
    assert "d1" in lines[1] + lines[3]  # BM25's first


@pytest.mark.parametrize("kind", ["dictionary", "titles", "rows", "datasets", "judged", "data"])
def test_search_documents_in_memory(retriever, kind):
    texts = {"w": "Whales They sing.", "b": "Bread is baked."}
    rows = [
        {"_id": "w", "title": "Whales", "text": "They sing."},
        {"_id": "b", "title": "", "text": "Bread is baked."},
    ]
    judged = RetrievalData.from_dicts(texts, {"q": "bread"}, {"q": ["b"]})
    if kind == "data":
        found = search_corpus(str(retriever), data=judged)
        assert set(found.run["q"]) == {"w", "b"}
        return
    titled = {row["_id"]: {"title": row["title"], "text": row["text"]} for row in rows}
    corpus = {
        "dictionary": texts,
        "titles": titled,
        "rows": rows,
        "datasets": Dataset.from_list(rows),
        "judged": judged,
    }
    found = search_corpus(str(retriever), corpus[kind], queries=["bread"])
    assert set(found.run["1"]) == {"w", "b"} and found.corpus == texts


def test_search_own_documents(retriever, tmp_path, capsys):
    (tmp_path / "docs.jsonl").write_text(
        json.dumps({"_id": "w", "title": "Whales", "text": "They sing.\n\nThey dive."})
        + "\n"
        + json.dumps({"_id": "b", "title": "", "text": "Bread is baked."})
    )
    (tmp_path / "questions.txt").write_text("bread\nwhales\n")
    run_file = tmp_path / "out.trec"
    arguments = [
        "--corpus",
        str(tmp_path / "docs.jsonl"),
        "--queries",
        str(tmp_path / "questions.txt"),
        "--output",
        str(run_file),
    ]
    assert main(["search", str(retriever), *arguments]) == 0
    run = read_run(run_file)
    assert set(run) == {"1", "2"} and set(run["1"]) == {"w", "b"}
    (tmp_path / "questions.tsv").write_text("q1\tbread\nq2\twhales\n")
    arguments[3] = str(tmp_path / "questions.tsv")
    assert main(["search", str(retriever), *arguments]) == 0
    assert set(read_run(run_file)) == {"q1", "q2"}


def test_search_refuses_first_what_would_come_to_nothing(retriever, beir_folder, tmp_path, capsys):
    command = ["search", str(retriever), "--corpus", str(beir_folder), "--query", "whales"]
    for extra, words in (
        (["--output", str(tmp_path / "nowhere" / "run.trec")], "there is no folder"),
        (["--output", str(tmp_path)], "is a folder"),
        (["--index-parameters", "nprobe=4"], "name an index too"),
        (["--split", "dev"], "Nothing uses the split 'dev' without a judged collection"),
        (["--bm25-language", "german"], "Nothing uses the language 'german' of BM25 without BM25"),
    ):
        assert main([*command, *extra, "--cache-dir", str(tmp_path / "cache")]) == 2
        assert words in capsys.readouterr().err and not (tmp_path / "cache").exists()
    evaluate = ["evaluate", str(retriever), "--data", str(beir_folder), "--output-dir", str(tmp_path / "out")]
    for extra, words in (
        (["--index-parameters", "nprobe=4"], "name an index too"),
        (["--no-bm25", "--bm25-language", "german"], "Nothing uses the language 'german'"),
        (["--cache-dir", str(tmp_path / "out" / "cache")], "would lie in the output folder"),
        (["--cache-dir", str(tmp_path / "out"), "--overwrite"], "would lie in the output folder"),
    ):
        assert main([*evaluate, *extra]) == 2
        assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_ids_that_no_run_can_hold_are_refused_before_the_search(retriever, write_beir, tmp_path, capsys):
    folder = write_beir(tmp_path / "blank", corpus={"d 1": ("", "whales")})
    command = ["search", str(retriever), "--corpus", str(folder), "--query", "whales"]
    output = ["--cache-dir", str(tmp_path / "cache"), "--output", str(tmp_path / "run.trec")]
    assert main([*command, *output]) == 2
    assert "'d 1' is empty or holds white space" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists() and not (tmp_path / "run.trec").exists()
    assert main(command) == 0  # to be read, they are fine


def test_only_the_data_sets_own_queries_are_documents(retriever, write_beir, tmp_path):
    texts = {"1": "which whales sing", "2": "what is bread", "3": "what sings"}
    folder = write_beir(
        tmp_path / "quora",
        corpus={name: ("", text) for name, text in texts.items()},
        queries=texts,
        qrels=[("1", "3", 1)],
    )
    (tmp_path / "typed.txt").write_text("which whales sing\n")
    typed = {"queries_file": tmp_path / "typed.txt"}
    for options, found in (({}, {"2", "3"}), ({"queries": ["sing \udcff"]}, set(texts)), (typed, set(texts))):
        searched = search_corpus(retriever, data=folder, hybrid=True, **options)
        assert set(searched.run["1"]) == found
    assert search_corpus(retriever, folder, queries=["sing \udcff"]).queries == {"1": "sing \ufffd"}


def test_search_a_judged_collection_and_compare(retriever, beir_folder, tmp_path, capsys):
    cache = ["--cache-dir", str(tmp_path / "cache")]
    assert main(["search", str(retriever), "--corpus", str(beir_folder), *cache]) == 0  # only encodes
    assert (tmp_path / "cache" / "embeddings" / "shard-00000.npy").is_file()
    for name, extra in (("exact", []), ("flat", ["--index", "Flat"])):
        output = ["--output", str(tmp_path / f"{name}.trec")]
        assert main(["search", str(retriever), "--data", str(beir_folder), *cache, *output, *extra]) == 0
    exact = read_run(tmp_path / "exact.trec")
    assert set(exact) == {"q1", "q2", "q3", "q4"} and len(exact["q1"]) == 7
    for query, hits in read_run(tmp_path / "flat.trec").items():
        assert hits == pytest.approx(exact[query], abs=1e-4)
    runs = [str(tmp_path / "exact.trec"), str(tmp_path / "flat.trec")]
    assert main(["compare", *runs, "--data", str(beir_folder), "--measures", "nDCG@10", "MAP"]) == 0
    assert "Against exact" in capsys.readouterr().out


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_search_with_a_shipped_checkpoint(beir_folder, tmp_path):
    command = ["search", "cocondenser-tiny", "--data", str(beir_folder), "--precision", "float32"]
    together = ["--cache-dir", str(tmp_path / "cache"), "--output", str(tmp_path / "two.trec")]
    torchrun(2, ["-m", "hf_cocondenser", *command, *together])
    assert main([*command, "--output", str(tmp_path / "one.trec")]) == 0
    one, two = (read_run(tmp_path / f"{name}.trec") for name in ("one", "two"))
    assert two.keys() == one.keys()
    for query, hits in one.items():
        assert two[query] == pytest.approx(hits, abs=1e-4)


def test_evaluate(retriever, beir_folder, tmp_path, capsys):
    output = ["--output-dir", str(tmp_path / "out")]
    assert main(["evaluate", str(retriever), "--data", str(beir_folder), *output, "--name", "tiny"]) == 0
    assert "tiny (dot)" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "{model}", "--query", "x"], "Name the documents"),
        (["search", "{model}", "--corpus", "{data}"], "There is no query"),
        (["search", "{model}", "--corpus", "{data}", "--query", "x", "--k", "0"], "at least one"),
        (["search", "{model}", "--corpus", "nowhere", "--query", "x"], "nowhere"),
        (["search", "{model}", "--corpus", "{data}", "--queries", "nowhere.txt"], "does not exist"),
        (["search", "{model}", "--corpus", "{data}", "--query", "x", "--index", "Flatland"], "Flatland"),
        (["search", "{data}", "--corpus", "{data}", "--query", "x"], "not a retriever"),
        (["evaluate", "{model}", "--data", "nowhere", "--output-dir", "{out}"], "nowhere"),
        (
            ["evaluate", "{model}", "--data", "{data}", "--output-dir", "{out}", "--similarity", "cosine"],
            "--force",
        ),
        (["compare", "--data", "{data}"], "RUNS is missing"),
        (["compare", "nowhere.trec", "--data", "{data}"], "not a run file"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(retriever, beir_folder, tmp_path, capsys, arguments, words):
    places = {"{model}": str(retriever), "{data}": str(beir_folder), "{out}": str(tmp_path / "out")}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(error) == 1 and words in error[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"qrels": [("q1", "d1", 0), ("q2", "d6", -1)]}, "No 'test' judgement of 'odd' is above 0"),
        ({"corpus": [("d1", ("", "one")), ("d1", ("", "one"))]}, "corpus.jsonl' has the id 'd1' twice"),
        ({"queries": [("q1", "one"), ("q1", "one")]}, "queries.jsonl' has the id 'q1' twice"),
    ],
)
def test_data_that_cannot_be_measured_on(retriever, write_beir, tmp_path, capsys, broken, said):
    folder = write_beir(tmp_path / "odd", **broken)
    out = tmp_path / "out"
    assert main(["evaluate", str(retriever), "--data", str(folder), "--output-dir", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1 and said in error.splitlines()[-1]
    assert not out.exists()
    if "corpus" in broken:
        assert main(["search", str(retriever), "--corpus", str(folder), "--query", "one"]) == 2
        assert said in capsys.readouterr().err
