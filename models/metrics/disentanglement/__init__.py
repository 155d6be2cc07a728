"""Scores of disentanglement: does each dimension of a code stand for one of the factors behind the images?

One module per score; all take codes (examples, dimensions) and factors (examples, factors), the class of each, and a
random generator, and read nothing else. ``scores`` computes all of them, ``baselines`` gives the codes to compare with.
Settings follow Locatello et al. (2019), "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
Representations", where they say them. scikit-learn is loaded when the first score is computed: a gateway has none.
"""
