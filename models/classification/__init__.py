"""Classification: one label per input. ``task.py`` is what is asked and answered, each folder a family."""
