"""A neural conversational model: what was said before is the source, what is said next the target.

Vinyals and Le (2015), A Neural Conversational Model, §3: a recurrent network reads the turns and writes the reply,
learnt from conversations alone. The network is ``models/nn/seq2seq``, the same as of translation; several turns are one
source, a mark between them. With no turn of context it is a language model of replies, which a context must beat.
"""
