"""Convolutional networks without silent mistakes."""

__version__ = "0.1.0"
