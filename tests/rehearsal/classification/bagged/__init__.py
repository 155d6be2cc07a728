"""Bagging: members trained on bootstrap samples of their own, probabilities averaged (Breiman 1996)."""
