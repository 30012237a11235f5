"""The stage on pairs of texts."""
