"""Families that prove the extension point: small and laid out like ``models/``, so that the catalogue finds them."""
