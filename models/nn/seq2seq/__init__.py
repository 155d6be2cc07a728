"""One sequence for another: encoder, decoder with or without attention, and how they learn and are exported.

``encoder`` · ``decoder`` · ``network`` both with their output · ``spelling`` letters of unknown words · ``graphs`` what
is exported · ``examples`` pairs in batches · ``learning`` the family that tasks build theirs on. Cho et al. (2014),
Sutskever, Vinyals, Le (2014), Bahdanau, Cho, Bengio (2015), Luong, Pham, Manning (2015), Wu et al. (2016).
"""
