# Lectern takes the server out of this package and uses none of its Python.
