"""Scores, numpy only, each with known-answer tests."""
