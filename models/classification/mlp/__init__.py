"""Multilayer perceptron: layers of affine maps with a nonlinearity between them, softmax at the end.

Goodfellow, Bengio, Courville, "Deep Learning" (2016), chapter 6; dropout and max-norm after Srivastava,
Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", JMLR 15 (2014), §5.1 and appendix B.1.

Departures: dropout divides in training instead of scaling weights at test time (equal in expectation);
the pixel scale is part of the network.
"""
