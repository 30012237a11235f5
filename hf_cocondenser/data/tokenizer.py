"""Tokenizers: loading one from wherever it lies, telling two apart, training a WordPiece vocabulary."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerBase

from hf_cocondenser.errors import InputError
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.loading import loading, require_words

TOKENIZER_FOLDER = "tokenizer"  # inside a span folder
_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a Hub model, a checkpoint folder or a span folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    folder = Path(checkpoint_path(source))
    if (folder / TOKENIZER_FOLDER).is_dir():
        folder = folder / TOKENIZER_FOLDER
    with loading("The tokenizer of", source):
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder) if folder.exists() else str(source))
        except Exception:
            if _is_damaged(folder / "tokenizer.json"):
                raise ValueError("its tokenizer.json is damaged") from None
            raise
    require_words(tokenizer, source)
    return tokenizer


def _is_damaged(file: Path) -> bool:
    if not file.is_file():
        return False
    try:
        Tokenizer.from_file(str(file))
    except Exception:  # the library has no narrower one
        return True
    return False


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of what the tokenizer does to text: its vocabulary and rules, not its name or lengths.

    Raises:
        InputError: it is not a fast tokenizer.
    """
    if not tokenizer.is_fast:
        raise InputError(f"'{tokenizer.name_or_path}' is not a fast tokenizer (tokenizer.json); a fast one is needed.")
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode("utf-8")).hexdigest()[:16]


def train_wordpiece(texts: Iterable[str], vocab_size: int, *, min_frequency: int = 2) -> PreTrainedTokenizerBase:
    """Train an uncased WordPiece tokenizer, saved and loaded as BERT's.

    The same texts give the same vocabulary: the library numbers the pieces inside words in a random order, and breaks ties
    between merges by these numbers, so a first reading finds these pieces and the second has them in order.

    Args:
        texts: the corpus; read twice, so an iterator is kept in memory.
        vocab_size: tokens, the five special ones included; fewer where the corpus does not give so many.
        min_frequency: pieces met less often are not made.

    Raises:
        InputError: the vocabulary is too small, or the corpus has no words.
    """
    if vocab_size < 100:
        raise InputError(f"A vocabulary of {vocab_size} tokens is too small; ask for at least 100.")
    texts = list(texts) if isinstance(texts, Iterator) else texts
    characters = _vocabulary(texts, 0, min_frequency, _SPECIAL_TOKENS).keys() - {*_SPECIAL_TOKENS}
    if not characters:
        raise InputError("A tokenizer cannot be trained: the corpus has no words.")
    first = [*_SPECIAL_TOKENS, *sorted(characters, key=lambda piece: (len(piece), piece))]
    return BertTokenizerFast(vocab=_vocabulary(texts, vocab_size, min_frequency, first), do_lower_case=True)


def _vocabulary(texts: Iterable[str], size: int, min_frequency: int, first: list[str]) -> dict[str, int]:
    """Pieces and their ids, `first` the first; where `size` leaves no room for merges, only what words are made of."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=first, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab()
