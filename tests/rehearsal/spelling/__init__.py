"""Spelling: two graphs and a loop."""
