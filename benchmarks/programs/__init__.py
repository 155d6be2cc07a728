"""What runs in an environment of its own: programs of other libraries that Lectern is measured beside."""
