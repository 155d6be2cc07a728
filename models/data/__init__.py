"""Datasets as arrays, numpy only: kinds (readers of uploads), splits, content and the built-in datasets."""
