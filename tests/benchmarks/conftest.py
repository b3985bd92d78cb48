"""Puts the repository's root on the path, where the package `benchmarks` lies."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
