"""One file per noun of the REST contract; each holds a ``router`` that ``main.py`` puts together."""
