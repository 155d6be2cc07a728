"""Speller: an encoder, and a step that is called until the word ends."""
