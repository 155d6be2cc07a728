"""Conversation: what is said next."""
