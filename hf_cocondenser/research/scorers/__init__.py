"""Other ways to score a passage than one vector's dot product, as baselines on the same backbone, data and measures."""
