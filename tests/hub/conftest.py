"""Tiny Condensers with tokenizers that fit them, as pre-training checkpoints on disk."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from tests.families import FAMILIES, VOCABULARY

TEXTS = [
    "The lighthouse keeper wrote letters to the harbour.",
    "Dense retrieval compares the vectors of queries and passages.",
    "",
    "Rain fell on the old harbour all night, and the keeper kept the light burning. " * 8,
]


def train_tokenizer(pad_token_id: int = 0) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer trained on `TEXTS`, its padding token where the family expects it."""
    specials = ["[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    specials.insert(pad_token_id, "[PAD]")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    names = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("cls", "sep", "unk", "mask", "pad")}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def make_model(family: str = "bert", **settings) -> CondenserForPreTraining:
    """A random Condenser of the family, with spread-out weights so that vectors of texts differ."""
    torch.manual_seed(0)
    config = copy.deepcopy(FAMILIES[family])
    config.initializer_range = 0.2
    return CondenserForPreTraining(CondenserConfig(config, **settings)).eval()


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a family to a pre-training checkpoint of it; treat the folder as read-only."""
    made: dict[str, Path] = {}

    def make(family: str = "bert") -> Path:
        if family not in made:
            model = make_model(family)
            folder = tmp_path_factory.mktemp("checkpoints") / family.split()[0]
            model.save_pretrained(folder)
            train_tokenizer(model.config.pad_token_id or 0).save_pretrained(folder)
            made[family] = folder
        return made[family]

    return make


@pytest.fixture
def checkpoint(make_checkpoint: Callable[[str], Path]) -> Path:
    """A BERT pre-training checkpoint; read-only."""
    return make_checkpoint("bert")


def run_without_package(code: str, folder: Path, **environment: str) -> str:
    """Run code in a process that cannot import hf_cocondenser; returns what it printed."""
    code = f"import sys\nsys.modules['hf_cocondenser'] = None\n{code}"
    own = {"HF_HOME": str(folder / "hf"), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=own | environment, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return process.stdout
