"""What the rehearsal tasks learn from."""
