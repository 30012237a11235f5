"""Documents -> spans -> masked batches."""

from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import load_tokenizer, tokenizer_hash, train_wordpiece
from hf_cocondenser.utils.lazy import submodules

__all__ = [
    "CondenserCollator",
    "SpanDataset",
    "SpanOptions",
    "load_documents",
    "load_tokenizer",
    "prepare_spans",
    "tokenizer_hash",
    "train_wordpiece",
]

__getattr__ = submodules(__name__)
