"""Where the regions are from that an image is given with (`data.proposals`). A new source is one new file here and one
word in PROPOSERS.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpool.data.proposals.files import Files
from unpool.data.proposals.grid import Grid
from unpool.data.proposals.proposer import Proposer
from unpool.data.proposals.selective_search import SelectiveSearch

PROPOSERS: dict[str, type[Proposer]] = {"selective_search": SelectiveSearch, "grid": Grid, "files": Files}


def make_proposer(settings: Mapping[str, Mapping[str, Any]], root: Path | None = None) -> Proposer:
    """The source that `data.proposals` names.

    Args:
        settings: its name, and its options.
        root: folder of the data set, for a source that reads files of it; None where images are of no set.

    Raises:
        RecipeError: an option has a value that the source does not take.
        EnvironmentFault: a package is not installed.
    """
    ((name, options),) = settings.items()
    proposer = PROPOSERS[name](**options)
    proposer.root = root
    proposer.require()
    return proposer
