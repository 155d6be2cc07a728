"""Convolutional network: feature maps by kernels shared over all positions, pooled, then a multilayer perceptron.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 86
(1998), §II and §III (LeNet-5); Goodfellow, Bengio, Courville, "Deep Learning" (2016), chapter 9; batch normalisation
after Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", ICML (2015), §3.2.

Departures: LeNet-5 by configuration has every map of C3 see all six of S2 (Table I of the paper leaves some out),
pools without trainable coefficients, and ends in softmax with negative log-likelihood instead of Euclidean RBF units.
The pixel scale is part of the network. Batch normalisation goes before the nonlinearity, as in the paper, and in
place of the bias; at one value per channel, where a batch has no variance, it uses the running statistics.
"""
