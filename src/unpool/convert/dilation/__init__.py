"""Strides turned into dilations."""
