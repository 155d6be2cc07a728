"""InfoGAN: adversarial networks whose generator keeps its codes recoverable, so that they come to mean things.

Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel, "InfoGAN: Interpretable Representation Learning by Information
Maximizing Generative Adversarial Nets", NIPS (2016), §4 to 6 and App. C.1: a lower bound L_I (Eq. 5) of the mutual
information between codes and image is raised beside the game (Eq. 6).

Departures: noise is Gaussian instead of uniform; the networks have half the paper's width by default. Q of a
continuous code is a Gaussian of unit variance, as in the authors' program. Q and the trunk that it shares with the
discriminator are fitted to the generator's images with weight 1, and ``information_weight``, the paper's λ, says what
the generator gives for it: at 0, Q still measures the information of a generator that does not care, the control.
"""
