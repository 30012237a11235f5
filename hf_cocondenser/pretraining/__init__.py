"""Pre-training: arguments, start, gradient cache, trainer, run."""
