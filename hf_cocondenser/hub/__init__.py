"""From a pre-training checkpoint to what others load: export, model cards, publishing."""
