"""The look at one sample: files hashed, image decoded where that is not known to work, targets checked."""

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.content_cache import ContentCache, Stamp
from unpool.data.contents import Changed, Content, ContentReader, Contents
from unpool.data.findings import Findings
from unpool.data.image_file import printable
from unpool.data.label_counts import count_sample
from unpool.data.likeness import Likeness, hashes_of
from unpool.data.measure import MeasuringReader
from unpool.data.plain import drawing_of, read_seeded
from unpool.data.range_of_set import DecodingReader
from unpool.data.remarks import collected
from unpool.errors import DataError
from unpool.ops.targets import class_faults
from unpool.types import DataInfo, Fault, Reader, Sample

Size = tuple[int, int]
Verify = Literal["decode", "headers"]
_log = logging.getLogger(__name__)


class Binding(NamedTuple):
    """How a scan binds the contents of files to a run.

    Attributes:
        verify: whether images of a set that is not held are decoded once; "headers" leaves that to the run.
        cache: what is known of contents from earlier scans; None knows nothing.
        recorded: what data.json says of the set where a run is resumed: all is hashed anew, and samples that the run
            left out are left out again.
    """

    verify: Verify = "decode"
    cache: ContentCache | None = None
    recorded: Mapping[str, Any] | None = None


class Look(NamedTuple):
    """What was seen of a sample; of a set that is not held, `sample` may lack the image.

    Attributes:
        likeness: hashes by which copies are found; None of an image that was never decoded.
        remarks: what its decoding found odd.
        checksum: of the values of a sample that no file is known of; empty where files are, or none can be.
    """

    size_hw: Size
    sample: Sample
    counts: dict[str, np.ndarray]
    likeness: Likeness | None = None
    remarks: Sequence[str] = ()
    files: Sequence[Content] = ()
    checksum: tuple[str, ...] = ()


@dataclass
class Looking:
    """Called with the position of a sample, in threads, gives its `Look`.

    Attributes:
        in_memory: samples are held, so that each is decoded.
        sizes_hw: of each sample, by its header; empty for a reader that does not measure.
        contents: of the files of the samples added; None of a reader that names none.
    """

    reader: Reader
    binding: Binding
    _: KW_ONLY
    in_memory: bool = False
    sizes_hw: Mapping[int, Size] = field(default_factory=dict)
    contents: Contents | None = field(init=False, default=None)
    _forms: dict[str, str] = field(init=False, default_factory=dict)
    _decoded: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._cache = self.binding.cache or ContentCache(None)
        is_anew, is_tolerant = self.binding.recorded is not None, self.binding.verify == "headers"
        self._content = ContentReader(self._cache, anew=is_anew, tolerant=is_tolerant)
        self._shared: list[Content] = []
        if isinstance(self.reader, MeasuringReader) and self.reader.root is not None:
            self._shared = [self._content.of(path) for path in self.reader.set_files]
            self.contents = Contents(self.reader.root, self._shared)

    def candidates(self, findings: Findings) -> list[int]:
        """Positions of the samples to look at; those that the resumed run left out stand in `findings`."""
        left_out = (self.binding.recorded or {}).get("left_out", {})
        for name in set(self.reader.names) & set(left_out):
            findings.add(Fault(*left_out[name]), name)
        return [index for index, name in enumerate(self.reader.names) if name not in left_out]

    def __call__(self, index: int) -> Look:
        reader = self.reader
        if not isinstance(reader, MeasuringReader):
            return self.whole(index)
        if self.contents is None:
            return self.whole(index) if self.in_memory else self._targets(reader, index)
        files = [self._content.of(path) for path in reader.files(index)]
        sha256, fact = self._identity(files, index), self._fact
        known = _from_bytes(self._cache.recall(sha256, fact))
        is_decoded = self.in_memory or (known is None and self.binding.verify == "decode")
        look = self.whole(index, known) if is_decoded else self._targets(reader, index, known)
        for content in files:
            if content.sha256 and Stamp.of(content.path) != content.stamp:
                raise Changed(f"{printable(content.path)} was changed while it was read; wait until it is whole")
        if known is None and is_decoded:
            self._decoded += 1
            self._cache.remember(sha256, fact, _to_bytes(look))
        return look._replace(files=files)

    def whole(self, index: int, known: "_Known | None" = None) -> Look:
        """Decodes the sample; `known` is what a decoding of the same content found."""
        with collected() as remarks:
            sample = read_seeded(self.reader, index)
        image = sample["image"]
        if image.dtype != torch.uint8 or image.ndim != 3:
            raise DataError(f"image is {image.dtype} {tuple(image.shape)}; a reader gives uint8 (C, H, W)")
        size = int(image.shape[-2]), int(image.shape[-1])
        _check_targets(sample, self.reader.info, size)
        counts = count_sample(sample, len(self.reader.info.classes))
        likeness = hashes_of(image) if known is None else known.likeness
        has_no_files = not isinstance(self.reader, MeasuringReader) and drawing_of(self.reader) != "private"
        return Look(size, sample, counts, likeness, remarks, checksum=_checksum(sample) if has_no_files else ())

    def check_forms(self, look: Look, index: int) -> Look:
        """The look, where its values are of the kinds of the samples before.

        A list of boxes that is empty is as easily of another kind as it would spoil those it is stored with.
        """
        for key, value in look.sample.items():
            form = f"{value.dtype} of {value.dim()} axes"
            if self._forms.setdefault(key, form) != form:
                raise DataError(
                    f"{key} is {form}, in samples before {self._forms[key]}; give all alike, also where one is empty"
                )
        return look

    def add_files(self, files: Sequence[Content]) -> None:
        """Adds the files of the next sample that is kept."""
        if self.contents is not None:
            self.contents.add(files)

    def report(self, time_s: float) -> None:
        """Logs what was decoded of a set that is not held."""
        if not self.in_memory and self._decoded:
            _log.info("decoded %d images before training in %.0f s, to be sure of them", self._decoded, time_s)

    def _targets(self, reader: MeasuringReader, index: int, known: "_Known | None" = None) -> Look:
        with collected() as remarks:
            targets, size = reader.targets(index), self.sizes_hw[index]
        _check_targets(targets, reader.info, size)
        counts = count_sample(targets, len(reader.info.classes))
        if known is None:
            return Look(size, targets, counts, None, remarks)
        return Look(size, targets, counts, known.likeness, known.remarks)

    def _identity(self, files: Sequence[Content], index: int) -> bytes:
        """Of the content that a sample is decoded from, and of the part of it, where samples share files."""
        part = self.reader.names[index]
        if files and isinstance(self.reader, MeasuringReader):
            part = part.removeprefix(printable(files[0].path.relative_to(self.reader.root or "")))
        whole = files if files and not part else (*files, *self._shared)  # annotations say which part
        sums = b"".join(content.sha256 or b"" for content in whole)
        return sums + f"{part} {self.sizes_hw.get(index)}".encode()

    @cached_property
    def _fact(self) -> str:
        """What decides, beside the content, whether a sample is decoded."""
        decoding = self.reader.decoding if isinstance(self.reader, DecodingReader) else None
        return f"decodes {type(self.reader).__name__} {decoding} unpool {version('unpool')} pillow {version('pillow')}"


class _Known(NamedTuple):
    """What the decoding of a content found, as it is remembered."""

    likeness: Likeness
    remarks: list[str]


def _to_bytes(look: Look) -> bytes:
    return json.dumps([look.likeness, list(look.remarks)]).encode()


def _from_bytes(value: bytes | None) -> _Known | None:
    if value is None:
        return None
    likeness, remarks = json.loads(value)
    return _Known(Likeness(*likeness), remarks)


def _checksum(sample: Sample) -> tuple[str, ...]:
    total = 0
    for key in sorted(sample):
        total = zlib.crc32(sample[key].contiguous().reshape(-1).view(torch.uint8).numpy().data, total)
    return (f"{total:08x}",)


def _check_targets(sample: Sample, info: DataInfo, size: Size) -> None:
    """Every value is a tensor, every class target in range, and the mask covers the image."""
    for key, value in sample.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{key} is a {type(value).__name__}; a reader gives tensors")
    mask = sample.get("mask")
    if mask is not None and (mask.dtype != torch.uint8 or tuple(mask.shape) != size):
        raise DataError(f"mask is {mask.dtype} {tuple(mask.shape)}; expected uint8 {size}, the size of its image").of(
            "data.mask_size"
        )
    if faults := class_faults(sample, len(info.classes)):
        raise DataError(f"{faults}; correct the file or the list of classes").of("data.label_range")
