"""Classifiers turned into networks that slide over larger images."""
