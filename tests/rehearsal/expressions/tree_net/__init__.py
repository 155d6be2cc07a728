"""A recursive network: a state per node, computed from the states of its children (Socher et al. 2011)."""
