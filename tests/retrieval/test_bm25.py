"""BM25: the formula, the tokens, and hits that are none."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.bm25 import BM25Index, guess_language

CORPUS = {
    "a": "the cats were sleeping",
    "b": "a cat and a dog and a dog",
    "c": "",
    "d": "birds sing",
}


def test_scores_are_lucenes():
    """score = sum of idf * tf / (tf + k1 (1 - b + b length / mean length)), idf = ln(1 + (N - n + .5) / (n + .5))."""
    index = BM25Index.build(CORPUS, language="none", k1=0.9, b=0.4)
    lengths = {"a": 4, "b": 5, "c": 0, "d": 2}  # one-letter words are no tokens
    idf = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))
    norm = 0.9 * (1 - 0.4 + 0.4 * lengths["b"] / (sum(lengths.values()) / 4))
    assert index.search({"q": "dog"}, 10) == {"q": {"b": pytest.approx(idf * 2 / (2 + norm), rel=1e-5)}}


def test_english_stems_and_stop_words():
    index = BM25Index.build(CORPUS)
    assert set(index.search({"q": "sleep cat"}, 10)["q"]) == {"a", "b"}
    assert index.search({"q": "the and were"}, 10)["q"].keys() <= {"a"}  # "were" is no stop word of Lucene
    assert index.variant == "BM25 (bm25s lucene k1=0.9 b=0.4, English stemming)"


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    BM25Index.build(CORPUS, show_progress=True).search({"q": "cat"}, 2, show_progress=True)
    assert ("BM25S Retrieve" in capsys.readouterr().err) == terminal


def test_queries_without_a_known_word_have_no_hits():
    index = BM25Index.build(CORPUS)
    run = index.search({"unknown": "xylophone", "empty": "", "stop": "the", "known": "cat"}, 10)
    assert [len(hits) for hits in run.values()] == [0, 0, 0, 2]
    assert index.search({"unknown": "xylophone"}, 10) == {"unknown": {}}


def test_a_query_does_not_change_the_index():
    index = BM25Index.build(CORPUS)
    before = index.search({"q": "cats"}, 3)
    index.search({"new": "zebra crossing catting"}, 3)
    assert index.search({"q": "cats"}, 3) == before


def test_more_hits_asked_than_documents():
    assert len(BM25Index.build(CORPUS).search({"q": "cat dog bird"}, 1000)["q"]) == 3


def test_equal_scores_keep_the_corpus_order_wherever_the_list_is_cut(monkeypatch):
    corpus = {f"d{i}": "cat dog" if i % 3 else "cat" for i in range(400)}
    index = BM25Index.build(corpus, language="none")
    expected = [f"d{i}" for i in range(400) if i % 3 == 0]
    for k in (1, 5, 100, 134):
        assert list(index.search({"q": "cat"}, k)["q"]) == expected[:k]
    assert list(index.search({"q": "cat"}, 140)["q"]) == expected + [f"d{i}" for i in range(400) if i % 3][:6]


def test_the_query_itself_is_left_out_and_replaced_by_the_next():
    corpus = {f"d{i}": "cat dog" for i in range(9)}
    index = BM25Index.build(corpus, language="none")
    found = index.search({"d1": "cat", "other": "cat"}, 3, exclude_same_id=True)
    assert [list(hits) for hits in found.values()] == [["d0", "d2", "d3"], ["d0", "d1", "d2"]]
    assert len(index.search({"d1": "cat"}, 100, exclude_same_id=True)["d1"]) == 8


def test_compiled_search_is_the_same(monkeypatch):
    pytest.importorskip("numba", reason="numba is not installed")
    words = ["cat", "dog", "bird", "fish", "cow"]
    corpus = {f"d{i}": " ".join(words[(i * j) % 5] for j in range(1, 2 + i % 7)) for i in range(300)}
    index = BM25Index.build(corpus, language="none")
    queries = {f"q{i}": f"{words[i % 5]} {words[i % 3]} zebra" for i in range(15)}
    plain = index.search(queries, 20)
    monkeypatch.setattr("hf_cocondenser.retrieval.bm25._WORTH_COMPILING", 1)
    compiled = index.search(queries, 20)
    for query, hits in plain.items():
        assert list(compiled[query]) == list(hits)
        assert compiled[query] == pytest.approx(hits)


def test_the_language_is_guessed_from_the_letters():
    assert guess_language(["北京是中国的首都"]) == "cjk"
    assert guess_language(["Peking (北京) is the capital"]) == "english"


@pytest.mark.parametrize(
    ("language", "documents", "query", "found"),
    [
        ("hindi", ["किताब मेज पर रखी है", "कुत्ता बगीचे में सो रहा है"], "किताब", "d0"),
        ("tamil", ["பூனை மேசையில் தூங்குகிறது", "நாய் தோட்டத்தில் ஓடுகிறது"], "பூனை", "d0"),
        ("none", ["বিড়াল ঘুমায়", "কুকুর দৌড়ায়"], "কুকুর", "d1"),
        ("nepali", ["किताब टेबुलमा छ", "कुकुर बगैंचामा छ"], "किताब", "d0"),
        ("german", [unicodedata.normalize("NFD", "Der Käse schmeckt"), "Das Brot ist trocken"], "Käse", "d0"),
        ("arabic", ["كِتَابٌ جَدِيدٌ", "قطة تنام"], "كتاب جديد", "d0"),
        ("auto", ["שָׁלוֹם עוֹלָם", "לחם"], "שלום", "d0"),
        ("auto", ["แมวนอนหลับ", "สุนัขวิ่ง"], "สุนัข", "d1"),
    ],
)
def test_words_with_marks_are_found(language, documents, query, found):
    index = BM25Index.build({f"d{i}": text for i, text in enumerate(documents)}, language=language)
    assert list(index.search({"q": query}, 5)["q"]) == [found]


JAX = """
from pathlib import Path
def top_k(scores, k):
    raise SystemExit("JAX was started")
"""
ORDERS = {
    "jax is imported later": "from hf_cocondenser.retrieval.bm25 import BM25Index; import jax.lax",
    "jax is imported first": "import jax.lax; from hf_cocondenser.retrieval.bm25 import BM25Index",
    "jax is there and nobody imports it": "from hf_cocondenser import retrieval; BM25Index = retrieval.BM25Index",
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_jax_is_not_started(order, tmp_path):
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("")
    (tmp_path / "jax" / "lax.py").write_text(JAX)
    then = "; import sys; before = 'jax' in sys.modules"
    search = "; assert BM25Index.build({'a': 'whales sing'}).search({'q': 'whales'})['q'].keys() == {'a'}"
    after = "; assert ('jax' in sys.modules) == before == %r" % ("import jax" in ORDERS[order])
    path = os.pathsep.join([str(tmp_path), *sys.path, str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", ORDERS[order] + then + search + after],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_chinese_is_found_and_named():
    corpus = {"a": "范廷颂枢机，是越南罗马天主教枢机。", "b": "北京是中国的首都。"}
    index = BM25Index.build(corpus)
    assert list(index.search({"q": "中国首都在哪里"}, 10)["q"]) == ["b"]
    assert "CJK character bigrams" in index.variant


def test_own_tokens():
    index = BM25Index.build({"a": "x-y", "b": "y-z"}, tokenize=lambda text: text.split("-"))
    assert list(index.search({"q": "x"}, 10)["q"]) == ["a"]


def test_refused():
    with pytest.raises(InputError, match="corpus is empty"):
        BM25Index.build({})
    with pytest.raises(InputError, match="holds a word"):
        BM25Index.build({"a": "", "b": "!"})
    with pytest.raises(InputError, match="language 'klingon'"):
        BM25Index.build(CORPUS, language="klingon")


def test_scifact_figure(shared_data):
    from hf_cocondenser.evaluation.measures import evaluate_run
    from hf_cocondenser.retrieval.collections.loading import load_retrieval_data

    data = load_retrieval_data(shared_data / "scifact")
    run = BM25Index.build(data.corpus).search(data.queries, 100)
    assert 0.665 <= evaluate_run(data.qrels, run)[0]["nDCG@10"] <= 0.690
