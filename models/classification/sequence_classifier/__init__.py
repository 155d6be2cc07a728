"""Recurrent classifier of texts: a network reads the tokens one by one, and its last state decides.

The network with a single output of Goodfellow, Bengio, Courville, "Deep Learning" (2016), §10.2, Figure 10.5; cells
after Hochreiter and Schmidhuber (1997) and Cho et al. (2014); both directions after Schuster and Paliwal (1997):
each ends where it has read everything, and the two last states stand side by side.

Departure: tokens that are rare in the training split share one vector, that of unknown ones.
"""
