"""Generation: images out of codes. ``task`` says what may be asked; ``codes`` what a generator takes.

A family declares its codes by name among its assets (``codes.declared``) and exports the part ``generator``, whose
inputs are the codes in that order and whose output ``images`` lies in [0, 1]. What it exports beside it decides what
else it answers: ``encoder`` (``mean``, ``log_variance`` of the latent, which is its one code) and ``likelihood``
(``log_likelihood`` of an image under a latent). Nothing here knows of a family.
"""
