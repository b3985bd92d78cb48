"""Mistakes planted in our own source, each with the test that must turn red."""
