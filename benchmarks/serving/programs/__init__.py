"""Programs that the benchmark starts: what is served beside Lectern. Nothing imports them."""
