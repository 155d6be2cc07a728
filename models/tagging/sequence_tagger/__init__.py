"""Sequence taggers: an encoder over the words of a sentence and a decoder over its tags, each by configuration.

Huang, Xu, Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging" (2015): the encoders of §2.1 and §2.2, the CRF of
§2.3 over them (§2.4, §2.5), spelling and context features joined to the output directly (§4.3). With ``encoder`` none
it is the CRF of Lafferty, McCallum, Pereira (2001) over those features, with ``convolution`` the window network of
Collobert et al. (2011), §3.2. Characters are read after Ma and Hovy (2016), §2.1, or Lample et al. (2016), §4.1.

Departures: Adam instead of plain gradient descent; affixes and capitals can also enter the encoder as vectors; words
that occur once are replaced by the unknown word in half of the steps, so that its vector is learnt (Lample et
al., §4.2); tags of spans are learnt in BIOES.
Any sequence of tags may be learnt from, and only legal ones are decoded.
"""
