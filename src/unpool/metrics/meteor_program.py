"""METEOR by its authors' program, which needs Java and the package pycocoevalcap, that ships it."""

import logging
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from unpool.metrics.sentences import Words

_log = logging.getLogger(__name__)


def missing_for_meteor() -> str:
    """What is not installed of the two that METEOR needs, with the way to install it; empty where it can be computed.

    >>> isinstance(missing_for_meteor(), str)
    True
    """
    if shutil.which("java") is None:
        return "java is not on the PATH: install a Java runtime"
    if find_spec("pycocoevalcap") is None:
        return "the package pycocoevalcap is not installed: pip install 'unpool[meteor]'"
    return ""


def meteor(sentences: Sequence[Words], references: Sequence[Sequence[Words]]) -> float | None:
    """METEOR of a corpus, 0 to 1; None where Java or pycocoevalcap is missing, see `missing_for_meteor`.

    None with a warning where the program fails, such as for lack of the 2 GiB of memory that it takes.

    Args:
        sentences: one an image.
        references: some of each image.

    Source: Denkowski & Lavie 2014, "Meteor universal", version 1.5.

    >>> meteor([], []) is None
    True
    """
    if not sentences or missing_for_meteor():
        return None
    from pycocoevalcap.meteor.meteor import Meteor  # pyright: ignore[reportMissingImports]

    answers = {i: [" ".join(sentence)] for i, sentence in enumerate(sentences)}
    known = {i: [" ".join(one) for one in each] for i, each in enumerate(references)}
    try:
        return float(Meteor().compute_score(known, answers)[0])
    except (OSError, ValueError) as error:  # a broken pipe, or a line of its that is no number
        _log.warning("METEOR is left out, its program failed (%s): see whether java starts with -Xmx2G", error)
        return None
