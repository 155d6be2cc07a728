"""One file per row of docs/results.md, each with a ``ROW``: what is trained, and what must hold of the result."""
