"""Names that stand for nothing here: told at once, without a minute of retries."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from hf_cocondenser import InputError
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.utils.checkpoint import load_pretraining_checkpoint
from hf_cocondenser.utils.loading import out_of_reach

NOBODY = "http://127.0.0.1:9"  # the discard service, which nothing runs any more


class _NotFound(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[str]:
    """A server that has nothing but is there."""
    server = HTTPServer(("127.0.0.1", 0), _NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)


@pytest.mark.parametrize(
    "load",
    [
        load_tokenizer,
        load_pretraining_checkpoint,
        load_retriever,
        load_documents,
        load_retrieval_data,
        lambda name: finetune(name, "nowhere", "nowhere"),
    ],
)
def test_without_network(load, caplog):
    with (
        caplog.at_level(logging.WARNING, "huggingface_hub"),
        pytest.raises(InputError, match=f"'nobody/nothing'.* {NOBODY} cannot be reached"),
    ):
        load("nobody/nothing")
    assert "Retrying" not in caplog.text


def test_what_may_be_asked_for(answering, monkeypatch, tmp_path):
    assert out_of_reach(tmp_path) is None
    assert out_of_reach(tmp_path / "nothing") == "there is no such file or folder"
    (tmp_path / "cache" / "models--somebody--something").mkdir(parents=True)
    assert out_of_reach("somebody/something") is None
    assert out_of_reach("somebody/something", "dataset") is not None
    monkeypatch.setattr(constants, "ENDPOINT", answering)
    assert out_of_reach("nobody/nothing") is None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in str(out_of_reach("nobody/nothing"))
