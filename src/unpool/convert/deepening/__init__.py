"""Deepens networks by layers that change nothing at first."""
