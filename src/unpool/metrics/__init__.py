"""Counts over a whole set, and the numbers that are read from them."""
