"""Files, loading, progress, processes, steps."""
