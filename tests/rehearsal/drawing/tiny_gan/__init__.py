"""A generative adversarial network of two layers a side: two optimisers (Goodfellow et al. 2014, Alg. 1)."""
