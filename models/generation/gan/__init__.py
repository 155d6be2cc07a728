"""Generative adversarial network of fully connected layers: a generator learns to deceive a discriminator.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial Nets", NIPS
(2014), §3, algorithm 1, and §5.

Departures: noise is Gaussian instead of uniform; the discriminator has leaky rectified units instead of maxout; both
sides learn by Adam instead of momentum. The generator raises log D(G(z)), as §3 of the paper recommends, unless the
training options say ``minimax``. By default the discriminator is kept flat at real images (Mescheder, Geiger, Nowozin
2018, Eq. 9): without it the generator collapses on MNIST within ten epochs. The scale of the pixels is part of the
network, and what is drawn lies in [0, 1].
"""
