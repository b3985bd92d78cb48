"""Planted mistakes, and healthy runs beside them, for the catch rate of `unpool check`."""
