"""Variational autoencoder: images out of a normally distributed latent, and the latent's distribution behind an image.

Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (SGVB A Eq. 6, SGVB B Eq. 7 and 10, Bernoulli and
Gaussian MLPs of appendix C); β after Higgins et al., "beta-VAE", ICLR 2017, Eq. 4; capacity after Burgess et al.,
"Understanding disentangling in beta-VAE" (2018), Eq. 8; importance-weighted bound after Burda, Grosse, Salakhutdinov,
"Importance Weighted Autoencoders", ICLR 2016; the convolutional layers after Burgess et al., appendix A.

Departures: Adam instead of AdaGrad; the log-variance of a Gaussian pixel lies between −6 and 2, as its density has no
bound where pixels are constant; images whose sides are no multiple of what the layers halve are padded and cropped.
"""
