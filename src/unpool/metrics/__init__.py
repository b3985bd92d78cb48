"""Metrics: counts over a whole set of images, and the scores computed from them."""
