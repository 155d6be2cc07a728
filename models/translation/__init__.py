"""Translation: sentences of one language in another, with where each token looked."""
