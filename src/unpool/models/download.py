"""Downloads published weights into torch's cache and reads them from it, and checks their sha256."""

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
FAULTS = (OSError, HTTPException)  # what a failed download raises
_log = logging.getLogger(__name__)


def cached_file(url: str) -> Path:
    """Returns the path at which torch caches the file of an address: in torch's hub folder, which TORCH_HOME sets."""
    return Path(get_dir()) / "checkpoints" / PurePosixPath(url).name


def fetch(url: str) -> dict[str, Tensor]:
    """Returns the tensors of a published file by name; downloads it if it is not in the cache.

    Raises:
        EnvironmentFault: the file cannot be downloaded, its name does not contain a sha256, or the downloaded or
            cached file does not have that sha256.
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
            f"the file from {url} is not the published one ({error}) and was not kept at {file}: {otherwise}"
        ) from error


def refuse_damaged(file: Path, expected: str, *, source: str) -> None:
    """Raises if a file is damaged.

    Args:
        file: the file to check.
        expected: the hexadecimal digits with which its sha256 must begin.
        source: address of the published file, for the message.

    Raises:
        EnvironmentFault: the sha256 begins with other digits.
    """
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise EnvironmentFault(
            f"{file} is not the file published at {source}: its sha256 does not begin with {expected}; delete it"
        )


def expected_hash(url: str) -> str:
    """Returns the first digits of a published file's sha256, which its name contains.

    Raises:
        EnvironmentFault: the name contains none.
    """
    match = _HASH.search(PurePosixPath(url).name)
    if match is None:
        raise EnvironmentFault(f"{url} has no sha256 in its name, so its content cannot be trusted")
    return match[1]


def _load(url: str) -> dict[str, Tensor]:
    has_terminal = sys.stderr is not None and sys.stderr.isatty()
    with redirect_stdout(io.StringIO()):  # torch.hub prints where results go
        return load_state_dict_from_url(
            url, map_location="cpu", progress=has_terminal, check_hash=True, weights_only=True
        )
