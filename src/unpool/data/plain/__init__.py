"""Data sets of a caller's own: `torch.utils.data.Dataset`, `DataLoader`, lists, iterables of (image, target)."""

from unpool.data.plain.drawing import find_drawing
from unpool.data.plain.first_look import Values, check_looked, look_at
from unpool.data.plain.levels import Levels, find_levels
from unpool.data.plain.normalization import find_normalization
from unpool.data.plain.reader import DatasetReader, drawing_of, is_iterated, is_random, known_besides, read_seeded
from unpool.data.plain.source import Source, unwrapped
from unpool.data.plain.targets import Setting

__all__ = [
    "DatasetReader",
    "Levels",
    "Setting",
    "Source",
    "Values",
    "check_looked",
    "drawing_of",
    "find_drawing",
    "find_levels",
    "find_normalization",
    "is_iterated",
    "is_random",
    "known_besides",
    "look_at",
    "read_seeded",
    "unwrapped",
]
