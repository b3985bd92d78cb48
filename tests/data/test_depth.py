"""Black and white of images of more than 8 bits: from the file, the set or the user; never guessed unsaid."""

import io
import logging
import shutil

import cv2
import numpy as np
import pytest
import tifffile
import torch

from tests.data.encoding import chunk, png
from tests.data.tiffs import LONG, tiff
from unpool.data.decode import decode_image, read_pixels
from unpool.data.image_file import Unusable
from unpool.data.readers.folder import Folder
from unpool.data.readers.image_pairs import ImagePairs
from unpool.data.readers.images import Images
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.types import GREY, RGB, Decoding

RAMP = np.tile(np.linspace(0, 1, 64), (16, 1))
EIGHT = np.rint(RAMP * 255)


def to(most: float, kind: str = "uint16") -> np.ndarray:
    return np.rint(RAMP * most).astype(kind)


def by_opencv(values: np.ndarray, form: str = ".png") -> bytes:
    return cv2.imencode(form, values)[1].tobytes()


def by_tifffile(values: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def by_hand(values: np.ndarray, significant: int) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(64, 16, depth=16, colour=0, rows=rows, extra=chunk(b"sBIT", bytes([significant])))


def by_numpy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def pgm(most: int, form: int = 5) -> bytes:
    values = to(most)
    body = values.astype(">u2").tobytes() if form == 5 else " ".join(map(str, values.ravel())).encode()
    return b"P%d\n# a ramp\n64 16\n%d\n" % (form, most) + body


def replicated(bits: int) -> np.ndarray:
    """n bits brought to 16 as the PNG specification recommends."""
    values = to(2**bits - 1)
    return (values << (16 - bits)) | (values >> (2 * bits - 16))


STATED = {
    "12 bits packed": tiff(to(4095), bits=12, photometric=1),
    "10 bits packed, big-endian, deflated": tiff(to(1023), bits=10, photometric=1, order=">", deflate=True),
    "14 bits packed, white is zero": tiff(16383 - to(16383), bits=14, photometric=0),
    "MaxSampleValue of 12 bits": tiff(to(4095), bits=16, photometric=1, more=[(281, LONG, [4095])]),
    "SMaxSampleValue of 8 bits": tiff(to(255), bits=16, photometric=1, more=[(341, LONG, [255])]),
    "PNG with sBIT 12, scaled": by_hand(replicated(12), 12),
    "PNG with sBIT 12, as they are": by_hand(to(4095), 12),
    "PNG with sBIT 10, scaled by 65535 / 1023": by_hand(np.rint(to(1023) * (65535 / 1023)).astype("uint16"), 10),
    "PNG with sBIT 10, of more shades": by_hand(to(65535), 10),
    "PNG with sBIT 16": by_hand(to(65535), 16),
    "PGM of 12 bits": pgm(4095),
    "PGM of 1000 shades as text": pgm(1000, form=2),
    "PGM of 16 bits": pgm(65535),
}
UNSTATED = {
    "12 bits in a PNG": by_opencv(to(4095)),
    "10 bits in a TIFF": by_tifffile(to(1023)),
    "8 bits in 16, TIFF": by_tifffile(to(255)),
    "8 bits in 32, signed": by_tifffile(to(255, "int32")),
    "8 bits in 16, signed, big-endian": by_tifffile(to(255, "int16"), byteorder=">"),
    "16 bits in a PNG": by_opencv(to(65535)),
    "16 bits in 32, tiles": by_tifffile(to(65535, "uint32"), tile=(16, 16)),
    "12 bits, white is zero": by_tifffile(4095 - to(4095), photometric="miniswhite"),
    "12 bits saved by NumPy": by_numpy(to(4095)),
    "12 bits saved by NumPy in Fortran's order, big-endian": by_numpy(np.asfortranarray(to(4095)).astype(">u2")),
    "a MaxSampleValue that is a statistic": tiff(to(4095), bits=16, photometric=1, more=[(281, LONG, [3000])]),
    "12 bits of one colour channel in RGB, PNG": by_opencv(np.repeat(to(4095)[..., None], 3, 2)),
}


@pytest.mark.parametrize("data", STATED.values(), ids=STATED)
def test_file_that_says_its_range_is_read_by_it(data, caplog):
    with caplog.at_level(logging.WARNING):
        decoded = decode_image(data, Decoding(channels=1, set_range=(0, 65535)))
    assert np.abs(decoded[0].numpy() - EIGHT).max() <= 1
    assert not caplog.records


@pytest.mark.parametrize("data", UNSTATED.values(), ids=UNSTATED)
def test_file_alone_is_read_by_its_own_values_and_a_warning_says_so(data, caplog):
    decoded = decode_image(data, GREY, name="x.tif")
    assert np.abs(decoded[0].numpy() - EIGHT).max() <= 1
    assert "x.tif" in caplog.text
    assert "data.range=[black, white]" in caplog.text


@pytest.mark.parametrize("data", [*UNSTATED.values(), *STATED.values()], ids=[*UNSTATED, *STATED])
def test_range_of_the_user_overrules_all(data):
    shade = read_pixels(data, Decoding(channels=1, range=(0, 30_000))).shade
    assert shade is not None
    assert {*shade.range} == {0, 30_000}
    assert "as data.range says" in shade.sentence


@pytest.mark.parametrize("kind", ["float32", "float16", "float64", "int16", "int32"])
@pytest.mark.parametrize("write", [by_tifffile, by_numpy])
def test_fractions_and_negative_values_need_a_range(kind, write):
    data = write((RAMP * 400 - 100).astype(kind))
    with pytest.raises(Unusable, match=r"a\.tif: .*set data\.range=\[black, white\]"):
        decode_image(data, GREY, name="a.tif")
    decoded = decode_image(data, Decoding(channels=1, range=(-100, 300)))
    assert np.abs(decoded[0].numpy() - EIGHT).max() <= 1


def split(root, train: dict[str, bytes], val: dict[str, bytes]):
    for name, files in (("train", train), ("val", val or train)):
        for file, data in files.items():
            for label in ("a", "b"):
                (root / name / label).mkdir(parents=True, exist_ok=True)
                (root / name / label / file).write_bytes(data)
    return root


@pytest.mark.parametrize("memory", [True, False])
def test_set_has_one_range_from_its_largest_value(tmp_path, memory, caplog):
    dark = by_opencv(to(900))
    split(tmp_path, {"dark.png": dark, "light.png": by_opencv(to(4071))}, {})
    reader = Folder(tmp_path, "train", decoding=GREY)
    samples = scan(reader, memory=memory).samples
    assert reader.decoding.set_range == (0, 4095)
    assert int(samples[0]["image"].max()) == round(900 / 4095 * 255)
    assert int(samples[1]["image"].max()) == round(4071 / 4095 * 255)
    assert "read as 0 to 4095" in caplog.text
    assert "to 4071 here" in caplog.text
    assert "4 files, first train/a/dark.png" in caplog.text


def test_values_beyond_the_range_of_training_are_counted_and_named(tmp_path, caplog):
    split(tmp_path, {"1.png": by_opencv(to(4000))}, {"1.png": by_opencv(to(5000)), "2.png": by_opencv(to(4095))})
    val = Folder(tmp_path, "val", decoding=Decoding(channels=1, set_range=(0, 4095)))
    notes = scan(val).manifest["notes"]
    beyond = [note for note in notes if "values beyond 0 to 4095 are cut off" in note["note"]]
    assert [(note["count"], note["first"]) for note in beyond] == [(2, "val/a/1.png")]
    assert val.decoding.set_range == (0, 4095)


def test_values_beyond_a_stated_range_are_counted_too(tmp_path):
    data = tiff(to(9000), bits=16, photometric=1, more=[(281, LONG, [4095])])
    split(tmp_path, {"1.tif": data}, {})
    notes = str(scan(Folder(tmp_path, "train", decoding=GREY)).manifest["notes"])
    assert "values beyond 0 to 4095 are cut off" in notes


def test_files_of_8_bits_keep_their_own_range_beside_deep_ones(tmp_path, caplog):
    split(tmp_path, {"8.png": by_opencv(to(255, "uint8")), "12.png": by_opencv(to(4095))}, {})
    samples = scan(Folder(tmp_path, "train", decoding=GREY)).samples
    assert samples[0]["image"].equal(samples[1]["image"])
    assert "2 other images say their range themselves, or have 8 bits" in caplog.text


def test_files_far_below_the_range_of_the_others_are_named(tmp_path, caplog):
    split(tmp_path, {"8in16.png": by_opencv(to(255)), "16.png": by_opencv(to(65535))}, {})
    scan(Folder(tmp_path, "train", decoding=GREY))
    assert "values stay below 4095.94, where white is 65535" in caplog.text
    assert "2 files, first train/a/8in16.png" in caplog.text


def test_set_of_fractions_is_refused_whole_with_the_option(tmp_path):
    split(tmp_path, {"1.tif": by_tifffile(RAMP.astype("float32"))}, {})
    with pytest.raises(DataError, match=r"2 of 2 samples cannot be used:\n.*1\.tif: image has 32-bit float values"):
        scan(Folder(tmp_path, "train", decoding=GREY), memory=False)


@pytest.mark.parametrize("memory", [True, False])
def test_bands_are_chosen_or_refused_before_training(tmp_path, memory):
    values = np.stack([to(255, "uint8") // (band + 1) for band in range(4)])
    split(tmp_path, {"1.tif": by_tifffile(values, photometric="minisblack", planarconfig="separate")}, {})
    with pytest.raises(DataError, match=r"1\.tif: image has 4 bands and data\.channels is 3: choose data\.bands="):
        scan(Folder(tmp_path, "train"), memory=memory)
    with pytest.raises(DataError, match=r"image has 4 bands and data\.bands asks for number 5, counted from 1"):
        scan(Folder(tmp_path, "train", decoding=Decoding(bands=(5, 1, 2))), memory=memory)
    reader = Folder(tmp_path, "train", decoding=Decoding(bands=(4, 3, 1)))
    image = scan(reader, memory=memory).samples[0]["image"]
    assert np.array_equal(image.numpy(), values[[3, 2, 0]])


@pytest.mark.parametrize("kind", ["uint8", "bool", "uint16"])
def test_bands_saved_by_numpy_come_last(tmp_path, kind):
    rng = np.random.default_rng(0)
    values = rng.integers(0, {"bool": 2, "uint8": 256, "uint16": 65536}[kind], (12, 9, 6)).astype(kind)
    for number, array in enumerate((values, np.asfortranarray(values))):
        np.save(tmp_path / f"{number}.npy", array)
        decoded = decode_image(tmp_path / f"{number}.npy", Decoding(channels=6, set_range=(0, 65535)))
        full = {"bool": 1, "uint8": 255, "uint16": 65535}[kind]
        assert np.array_equal(decoded.numpy(), np.rint(values.transpose(2, 0, 1) * (255 / full)).astype(np.uint8))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((5, 64, 48), np.uint8), r"shape \(5, 64, 48\); expected \(H, W, C\), its bands last"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"shape \(2, 8, 8, 3\)"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.zeros((8, 8), np.complex64), "holds complex64"),
        (np.array([[{}, {}]], dtype=object), "holds object"),
        (np.zeros((8, 8, 4), np.uint8), "image has 4 bands and data.channels is 3"),
    ],
)
def test_array_that_is_no_image_is_refused_with_its_shape_or_kind(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(Unusable, match=rf"a\.npy: .*{reason}"):
        decode_image(tmp_path / "a.npy", RGB)


def test_other_readers_take_the_range_of_their_set_too(tmp_path):
    for folder in ("noisy", "clean"):
        (tmp_path / "pairs" / "train" / folder).mkdir(parents=True)
        (tmp_path / "pairs" / "train" / folder / "1.png").write_bytes(by_opencv(to(4095)))
    (tmp_path / "pairs" / "val").mkdir()
    shutil.copytree(tmp_path / "pairs" / "train", tmp_path / "pairs" / "val", dirs_exist_ok=True)
    clean = tmp_path / "pairs" / "train" / "clean"
    for reader in (Images(clean, "val", val_share=1.0), ImagePairs(tmp_path / "pairs", "train")):
        sample = scan(reader, memory=False).samples[0]
        assert all(int(sample[key].max()) == 255 for key in reader.gives)
        assert reader.decoding.set_range == (0, 4095)


def test_16_bit_colours_with_alpha_keep_all_their_bits():
    values = np.random.default_rng(0).integers(0, 4096, (9, 13, 4)).astype(np.uint16)
    values[0, 0] = 4095
    decoded = decode_image(by_opencv(values), RGB)
    expected = np.rint(values[..., [2, 1, 0]] * (255 / 4095)).astype(np.uint8)
    assert torch.equal(decoded, torch.from_numpy(expected.transpose(2, 0, 1).copy()))


@pytest.mark.parametrize("most", [1000, 65535])
def test_colour_maps_of_16_bits_are_read_whole(most):
    values = np.random.default_rng(0).integers(0, most + 1, (9, 13, 3))
    head = b"P%d\n13 9\n%d\n"
    texts = head % (3, most) + " ".join(map(str, values.ravel())).encode()
    expected = torch.from_numpy(np.rint(values * (255 / most)).astype(np.uint8).transpose(2, 0, 1).copy())
    for data in (head % (6, most) + values.astype(">u2").tobytes(), texts):
        assert torch.equal(decode_image(data, RGB), expected)
