"""Recurrent language model: each token is predicted from a state that has read all before it.

Mikolov, Karafiát, Burget, Černocký, Khudanpur, "Recurrent neural network based language model", Interspeech 2010, §2;
dropout on what is not recurrent after Zaremba, Sutskever, Vinyals, "Recurrent Neural Network Regularization" (2014),
§3.1; tied embeddings after Press and Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017, §2;
gradients through the last steps alone, with the state carried on, after Werbos (1990) and Goodfellow, Bengio,
Courville, "Deep Learning" (2016), §10.2.2.

Departures: the whole vocabulary is predicted by one softmax, without classes of words; each epoch begins the streams
at other places of the text.
"""
