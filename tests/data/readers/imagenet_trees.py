"""Small sets in the layouts of ImageNet: a line of the words file a synset, images of 8 pixels."""

from pathlib import Path

from tests.data.readers.files import encoded, pixels, written

WORDS = {
    "n01440764": "tench, Tinca tinca",
    "n02012849": "crane",
    "n02110341": "dalmatian, coach dog",
    "n03126707": "crane",
}
TREE = (
    *("n00001740 n00015388", "n00001740 n03126707", "n00015388 n01440764", "n00015388 n02012849"),
    *("n00015388 n02083346", "n02083346 n02110341"),
)
KIT = {"n02110341": 1, "n03126707": 2, "n01440764": 3, "n02012849": 4}  # an order of its own
SHOWN = ("n01440764", "n03126707", "n02110341")  # by the three validation images


def image(path: Path, seed: int) -> Path:
    return written(path, encoded(pixels(8, 9, 3, seed=seed), "JPEG"))


def words(root: Path, name: str = "synset_words.txt") -> Path:
    return written(root / name, "".join(f"{one} {text}\n" for one, text in WORDS.items()).encode())


def train(folder: Path) -> None:
    for seed, synset in enumerate(("n02110341", "n01440764", "n01440764", "n03126707")):
        image(folder / "train" / synset / f"{synset}_{seed}.JPEG", seed)


def flat(folder: Path) -> None:
    for number in range(3):
        image(folder / "val" / f"ILSVRC2012_val_{number + 1:08d}.JPEG", 10 + number)


def solution(root: Path) -> Path:
    rows = [f"ILSVRC2012_val_{i + 1:08d},{one} 85 1 499 272 {one} 1 2 3 4 " for i, one in enumerate(SHOWN)]
    text = "\n".join(["ImageId,PredictionString", *reversed(rows)])
    return written(root / "LOC_val_solution.csv", text.encode())


def indexed(root: Path) -> Path:
    order = sorted(WORDS)
    lines = [f"ILSVRC2012_val_{i + 1:08d}.JPEG {order.index(one)}\n" for i, one in enumerate(SHOWN)]
    return written(root / "val.txt", "".join(lines).encode())


def truth(folder: Path) -> Path:
    written(folder / "map_clsloc.txt", "".join(f"{one} {number} name\n" for one, number in KIT.items()).encode())
    text = "".join(f"{KIT[one]}\n" for one in SHOWN)
    return written(folder / "ILSVRC2012_validation_ground_truth.txt", text.encode())


def tree(root: Path, *more: str) -> Path:
    return written(root / "wordnet.is_a.txt", "\n".join([*TREE, *more]).encode())


def imagenet(root: Path) -> Path:
    """As Kaggle has it."""
    ordered = sorted(WORDS.items())
    written(root / "LOC_synset_mapping.txt", "".join(f"{one} {text}\n" for one, text in ordered).encode())
    train(root / "ILSVRC/Data/CLS-LOC")
    flat(root / "ILSVRC/Data/CLS-LOC")
    solution(root)
    return root
