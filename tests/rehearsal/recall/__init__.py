"""Recall: sequences of any length."""
