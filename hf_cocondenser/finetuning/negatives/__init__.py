"""Hard negatives: BM25's, a retriever's, a cross-encoder's judgement of them."""
