"""Expressions: input that is a tree."""
