"""A recurrent encoder reads the source, a recurrent decoder writes the target and looks back at what was read.

Cho et al. (2014), Learning Phrase Representations using RNN Encoder-Decoder; Sutskever, Vinyals, Le (2014), Sequence to
Sequence Learning with Neural Networks; Bahdanau, Cho, Bengio (2015), Neural Machine Translation by Jointly Learning to
Align and Translate; Luong, Pham, Manning (2015), Effective Approaches to Attention-based Neural Machine Translation;
Wu et al. (2016), Google's Neural Machine Translation System. All of them are configurations of one network, which is
``models/nn/seq2seq``; departures stand there, beside the equations.
"""
