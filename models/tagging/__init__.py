"""Tagging: a tag for every token of a sentence, alone or as spans."""
