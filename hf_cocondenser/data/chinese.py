"""Chinese words by jieba (the extra `zh`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hf_cocondenser.errors import InputError


def load_segmenter() -> Callable[[str], list[str]]:
    """Return a function that cuts Chinese text into words.

    Raises:
        InputError: jieba is not installed.
    """
    try:
        import jieba
    except ImportError:
        raise InputError("Chinese words need jieba: pip install 'hf-cocondenser[zh]'.") from None
    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.initialize()
    return segmenter.lcut
