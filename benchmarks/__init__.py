"""Measurements that anyone can rerun; each is one command and prints its machine, versions and spread."""
