"""Samples of a scanned reader that are decoded each time they are asked for."""

from collections.abc import Sequence

import torch

from unpool.data.contents import Watch
from unpool.data.image_file import Unreadable
from unpool.data.measure import MeasuringReader
from unpool.data.plain import drawing_of, is_random
from unpool.errors import DataError
from unpool.types import Reader, Sample, Samples


def draws_itself(samples: Samples) -> bool:
    """Whether samples are read of a caller's own code, which may draw numbers."""
    while hasattr(samples, "samples"):
        samples = samples.samples  # type: ignore[attr-defined]
    return isinstance(samples, StreamedSamples) and not isinstance(samples.reader, MeasuringReader)


class StreamedSamples:
    """Those of the reader that the scan kept.

    Args:
        reader: gives them.
        kept: the position of each in the reader.
        names: of each.
        sizes_hw: of each.
        watch: compares the files of each with what they were in the scan; None for a reader that names no files.
    """

    def __init__(
        self,
        reader: Reader,
        kept: Sequence[int],
        *,
        names: Sequence[str],
        sizes_hw: Sequence[tuple[int, int]],
        watch: Watch | None = None,
    ) -> None:
        self.gives = reader.gives
        self.info = reader.info
        self.names = names
        self.sizes_hw = sizes_hw
        self.reader = reader
        self._kept = torch.tensor(kept, dtype=torch.int64)
        self._watch = watch

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises:
            Unreadable: a file is damaged, or the system cannot read it.
            Changed: a file is not what it was in the scan, or is gone.
        """
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        try:
            sample = self.reader[int(self._kept[index])]
        except OSError as error:
            self._require_unchanged(index)
            raise Unreadable(self.names[index], f"cannot read ({error.strerror or error})") from error
        except DataError:
            self._require_unchanged(index)
            raise
        self._require_unchanged(index)  # after reading: what was read is what was there
        size = self.sizes_hw[index]
        if is_random(self.reader) or drawing_of(self.reader):
            size = sample["image"].shape[-2], sample["image"].shape[-1]
        elif tuple(sample["image"].shape[-2:]) != size:
            raise DataError(f"{self.names[index]}: no longer {size} (height, width); it was changed while in use")
        return {**sample, "index": torch.tensor(index), "size_hw": torch.tensor(size)}

    def targets(self, index: int) -> Sample:
        """The targets of one sample; raises as a whole sample does."""
        if not isinstance(self.reader, MeasuringReader):
            return self.reader[int(self._kept[index])]
        try:
            return self.reader.targets(int(self._kept[index]))
        finally:
            self._require_unchanged(index)

    def _require_unchanged(self, index: int) -> None:
        if self._watch is not None and isinstance(self.reader, MeasuringReader):
            self._watch.check(index, self.reader.files(int(self._kept[index])))
