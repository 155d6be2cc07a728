"""Dataset kinds of the rehearsal families."""
