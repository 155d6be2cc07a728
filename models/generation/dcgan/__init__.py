"""Deep convolutional generative adversarial network: both sides are strided convolutions with batch normalisation.

Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
ICLR (2016), §3 and §4.

Departures: kernels are 4 × 4 pixels instead of 5 × 5, so that stride 2 doubles and halves exactly; maps are fewer by
default, for images of 28 × 28 pixels instead of 64 × 64; noise is Gaussian instead of uniform. The scale of the pixels
is part of the network, and what is drawn lies in [0, 1].
"""
