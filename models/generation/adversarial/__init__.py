"""What families of two networks against one another share: options, learner, convolutional networks, reports.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial Nets", NIPS
(2014), §3 to 5. No family itself: ``gan``, ``dcgan`` and ``infogan`` are, beside this folder.
"""
