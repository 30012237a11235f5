"""How closely the gradients of sentence-transformers' gradient cache can be compared."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

_IN_DOUBLE = Version(version("sentence-transformers")) >= Version("6.2")
"""Before 6.2 the cache multiplied cached gradients and vectors in float32, whatever the model's precision."""


def cached(rtol: float, atol: float = 1e-12) -> dict[str, float]:
    """Tolerances of `torch.testing.assert_close` for float64 gradients, of which some went through the cache."""
    return {"rtol": rtol, "atol": atol} if _IN_DOUBLE else {"rtol": 1e-5, "atol": 1e-6}
