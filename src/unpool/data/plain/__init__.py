"""Data sets of a caller's own: `torch.utils.data.Dataset`, `DataLoader`, lists, iterables of (image, target)."""

from unpool.data.plain.first_look import Values, check_looked, look_at
from unpool.data.plain.levels import Levels, find_levels
from unpool.data.plain.normalization import find_normalization
from unpool.data.plain.reader import DatasetReader, draws_numbers, is_iterated, is_random
from unpool.data.plain.source import Source, unwrapped
from unpool.data.plain.targets import Setting

__all__ = [
    "DatasetReader",
    "Levels",
    "Setting",
    "Source",
    "Values",
    "check_looked",
    "draws_numbers",
    "find_levels",
    "find_normalization",
    "is_iterated",
    "is_random",
    "look_at",
    "unwrapped",
]
