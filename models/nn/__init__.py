"""Blocks that several families share, each with the equation it implements."""
