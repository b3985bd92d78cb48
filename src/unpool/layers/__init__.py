"""Modules of no architecture: what several networks are made of."""
