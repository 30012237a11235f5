"""Fine-tuning of retrievers: the loss, hard negatives, and the two rounds."""
