"""A recurrent cell that writes to and reads from a memory matrix, exported with its loop."""
