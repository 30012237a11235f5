"""GTR's questions (arXiv 2112.07899) asked of models of one's own: scale, data, stages, domains, lengths."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
