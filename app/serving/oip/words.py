"""Words of the protocol that mean something else in Lectern."""

CLASSES = "classification"
"""The extension, and the parameter of an output, by which the largest values come with their labels."""
