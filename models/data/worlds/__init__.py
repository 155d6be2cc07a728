"""Generated worlds whose answers are known: what recurrent layers are shown to learn and not to learn. Torch-free."""
