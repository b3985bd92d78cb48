"""Published weights into torch's own cache, and out of it: only when asked for, and only with the right hash."""

import hashlib
import io
import logging
import re
import sys
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from torch import Tensor
from torch.hub import get_dir, load_state_dict_from_url

from unpool.errors import EnvironmentFault

ENDING = ".safetensors"
_HASH = re.compile(r"-([0-9a-f]{8,})\.")  # in the file's name: how its sha256 begins
FAULTS = (OSError, HTTPException)  # what a download ends in that does not get through
_log = logging.getLogger(__name__)


def cached_file(url: str) -> Path:
    """Where the file of an address is kept: `checkpoints` in torch's hub folder, which TORCH_HOME can move."""
    return Path(get_dir()) / "checkpoints" / PurePosixPath(url).name


def fetch(url: str) -> dict[str, Tensor]:
    """The tensors of a published file, downloaded where it is not in the cache yet.

    Raises:
        EnvironmentFault: it cannot be downloaded, or what came or what is in the cache is not what was published.
    """
    file, expected = cached_file(url), expected_hash(url)
    otherwise = f"download it elsewhere and put it there, or give a file of your own: weights=FILE{ENDING}"
    is_new = not file.is_file()
    if is_new:
        _log.info("downloads %s to %s", url, file)
    else:
        refuse_damaged(file, expected, source=url)
    try:
        return _load(url)
    except FAULTS as error:
        what = f"{type(error).__name__}: {error}"
        raise EnvironmentFault(f"{url} cannot be downloaded to {file} ({what}): {otherwise}") from error
    except RuntimeError as error:
        if not is_new or file.is_file():
            raise
        raise EnvironmentFault(
            f"what came from {url} is not what was published ({error}) and was not kept at {file}: {otherwise}"
        ) from error


def refuse_damaged(file: Path, expected: str, *, source: str) -> None:
    """Raises EnvironmentFault where the sha256 of a file does not begin with `expected`."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise EnvironmentFault(
            f"{file} is not what was published at {source}: its sha256 does not begin with {expected}; delete it"
        )


def expected_hash(url: str) -> str:
    """How the sha256 of a published file begins, which the file's name says.

    Raises:
        EnvironmentFault: it does not say so.
    """
    found = _HASH.search(PurePosixPath(url).name)
    if found is None:
        raise EnvironmentFault(f"{url} does not say its sha256, so what comes from it cannot be trusted")
    return found[1]


def _load(url: str) -> dict[str, Tensor]:
    has_terminal = sys.stderr is not None and sys.stderr.isatty()
    with redirect_stdout(io.StringIO()):  # torch.hub prints where results go
        return load_state_dict_from_url(
            url, map_location="cpu", progress=has_terminal, check_hash=True, weights_only=True
        )
