"""Damages the text of recipes, and writes overrides, right and wrong ones."""

import random

from benchmarks.fuzzing.mutations import as_text, value_of
from benchmarks.fuzzing.verdict import LONG_VALUE
from unpool.recipe.settings import Data, Train

SPECIAL = (
    *("\t", "\n", "\r", "\ufeff", ": ", "- ", "#", "'", '"', "{", "]", "&a ", "*a", "!!python/object:os.x ", "---\n"),
    *("...\n", "%YAML 1.1\n", "<<: ", "? ", "|\n", ">\n", "\0", "\x85", "1e400", "0x10", "2020-13-01", "!!binary x"),
)


def changed_text(text: str, rng: random.Random) -> bytes:
    """A recipe's text with one to four places damaged."""
    for _ in range(rng.randint(1, 4)):
        at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:at] + rng.choice(SPECIAL) + text[at:]
        elif kind == 1:
            text = text[:at] + text[min(end, at + rng.randint(1, 40)) :]
        elif kind == 2:
            text = text[:at] + text[at : at + 60] * rng.choice((2, 3, 40)) + text[at:]
        elif kind == 3:
            lines = text.split("\n")
            rng.shuffle(lines)
            text = "\n".join(lines) if rng.random() < 0.3 else text.replace("  ", rng.choice((" ", "\t", "   ")), 3)
        elif kind == 4:
            text = text[:at] + chr(rng.choice((0, 7, 27, 0x7F, 0x85, 0x2028, 0xFFFE, 0x1F600))) + text[at + 1 :]
        else:
            text = text[:at] + rng.choice("[{") * rng.choice((1, 30, 3000)) + text[at:]
    data = text.encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(data) + 1)
        data = data[:at] + bytes([rng.randrange(128, 256)]) + data[at:]
    return data


def overrides(rng: random.Random) -> list[str]:
    """One to three overrides, right and wrong ones."""
    return [_override(rng) for _ in range(rng.randint(1, 3))]


def _override(rng: random.Random) -> str:
    section = rng.choice(("data", "train", "train", "model", "task", "about", "nothing", ""))
    fields = {"data": Data.model_fields, "train": Train.model_fields}.get(section, ("name", "width", "backbone"))
    key = rng.choice([*fields]) if rng.random() < 0.9 else rng.choice(("x", "learning_rate", "", "a.b", LONG_VALUE))
    value = value_of(rng)
    text = value if isinstance(value, str) else as_text({"": value})[5:-2].strip()
    return f"{section}.{key}{rng.choice(('=', '=', '=', '=', '', ' = ', '=='))}{text}"
