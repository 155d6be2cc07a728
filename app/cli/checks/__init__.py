"""What ``lectern doctor`` looks at: ``installation`` ``machine`` ``gpu`` ``redis`` ``store`` ``gateway``.

Each check returns what it found; none prints, raises or leaves anything behind.
"""
