"""Mistakes of classification in data and augmentation."""

from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image, ImageFile
from torch import Tensor, nn
from torch.utils.data import TensorDataset, random_split
from torchvision import transforms

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.healthy_classes import (
    BERRIES,
    BERRY_MEAN,
    BERRY_STD,
    CIFAR,
    DIGITS,
    INSECTS,
    LITE0,
    SCARCE,
    TEXTURES,
    berries_run,
    cifar_run,
    digits_run,
    insects_run,
    scarce_run,
    textures_run,
)
from benchmarks.mistakes.tuning.pieces import Pairs, as_bytes, changed, loader, normalizer, planted, with_network


def one_based(folders: Folders) -> Plain:
    """Labels 1..4 of a table, and an output more so that it runs."""
    run = textures_run(folders)
    images, labels = generated.textures(400, 1)
    val_images, val_labels = generated.textures(150, 2)
    torch.manual_seed(0)
    return changed(
        with_network(run, networks.SmallNet(5)),
        train=loader(TensorDataset(images, labels + 1), 32, shuffle=True),
        val=loader(TensorDataset(val_images, val_labels + 1), 32),
    )


def truncated_files(folders: Folders) -> Plain:
    """A folder of JPEG files, some cut off by a broken copy, read with Pillow's leave to do so."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    for split, count, seed in (("train", 240, 1), ("val", 100, 2)):
        images, labels = generated.textures(count, seed)
        for i, (picture, label) in enumerate(zip(as_bytes(images), labels.tolist(), strict=True)):
            path = folders.scratch / split / generated.TEXTURES[label] / f"{i:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, quality=92)
            if i % 15 == 4:
                path.write_bytes(path.read_bytes()[:-300])
    train = torchvision.datasets.ImageFolder(str(folders.scratch / "train"), transforms.ToTensor())
    val = torchvision.datasets.ImageFolder(str(folders.scratch / "val"), transforms.ToTensor())
    return changed(textures_run(folders), train=loader(train, 32, shuffle=True), val=loader(val, 32))


def classes_numbered_apart(folders: Folders) -> Plain:
    """A folder of validation without one of the classes, numbered by what lies in it."""
    for split, count, seed in (("train", 240, 1), ("val", 120, 2)):
        images, labels = generated.textures(count, seed)
        for i, (picture, label) in enumerate(zip(as_bytes(images), labels.tolist(), strict=True)):
            if split == "train" or generated.TEXTURES[label] != "dots":
                path = folders.scratch / split / generated.TEXTURES[label] / f"{i:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    train = torchvision.datasets.ImageFolder(str(folders.scratch / "train"), transforms.ToTensor())
    val = torchvision.datasets.ImageFolder(str(folders.scratch / "val"), transforms.ToTensor())
    return changed(textures_run(folders), train=loader(train, 32, shuffle=True), val=loader(val, 32))


def class_without_samples(folders: Folders) -> Plain:
    """A list of five classes of which the last was never collected."""
    torch.manual_seed(0)
    run = with_network(textures_run(folders), networks.SmallNet(5))
    return changed(run, classes=[*generated.TEXTURES, "waves"])


def augmented_before_split(folders: Folders) -> Plain:
    """Mirrored copies written beside the originals, then a random split of all."""
    images, labels = generated.textures(275, 1)
    brighter = (images.flip(-1) * 1.08).clamp(0, 1)
    everything = TensorDataset(torch.cat([images, brighter]), labels.repeat(2))
    train, val = random_split(everything, [400, 150], torch.Generator().manual_seed(0))
    return changed(textures_run(folders), train=loader(train, 32, shuffle=True), val=loader(val, 32))


def bgr_in_validation(folders: Folders) -> Plain:
    """Validation read by OpenCV, which has blue first, training by Pillow."""
    images, labels = generated.berries(120, 4)
    val = Pairs(np.ascontiguousarray(as_bytes(images)[..., ::-1]), labels, normalizer(BERRY_MEAN, BERRY_STD))
    return changed(berries_run(folders), val=val)


def validation_not_normalised(folders: Folders) -> Plain:
    """Mean and deviation are applied in training only."""
    images, labels = generated.berries(120, 4)
    return changed(berries_run(folders), val=Pairs(as_bytes(images), labels, normalizer((0, 0, 0), (1, 1, 1))))


def bytes_for_trained_weights(folders: Folders) -> Plain:
    """Pictures from 0 to 255 for weights that expect 0 to 1 before mean and deviation."""
    run = insects_run(folders)
    to_floats = transforms.Compose([transforms.Resize(80), transforms.CenterCrop(72), transforms.PILToTensor()])

    def prepare(picture: Image.Image) -> Tensor:
        return LITE0(to_floats(picture).float())

    root = sets.folder(folders, "hymenoptera")
    train, val = (torchvision.datasets.ImageFolder(str(root / split), prepare) for split in ("train", "val"))
    return changed(run, train=loader(train, 8, shuffle=True), val=loader(val, 16))


def deviation_of_another_network(folders: Folders) -> Plain:
    """The mean and deviation that every tutorial has, for weights that were trained with 127 and 128."""
    run = insects_run(folders)
    steps = [transforms.Resize(80), transforms.CenterCrop(72), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    root = sets.folder(folders, "hymenoptera")
    train, val = (
        torchvision.datasets.ImageFolder(str(root / split), transforms.Compose(steps)) for split in ("train", "val")
    )
    return changed(run, train=loader(train, 8, shuffle=True), val=loader(val, 16))


def flipped_labels(folders: Folders) -> Plain:
    """One label of ten belongs to another digit, as crowds label."""
    run = digits_run(folders)
    images, labels = sets.digits(folders, "train", 800)
    generator = torch.Generator().manual_seed(5)
    wrong = torch.rand(800, generator=generator) < 0.1
    shift = torch.randint(1, 10, (800,), generator=generator)
    labels = torch.where(wrong, (labels + shift) % 10, labels)
    prepare = transforms.Normalize([0.13], [0.31])
    return changed(run, train=loader(Pairs(images, labels, prepare), 32, shuffle=True))


def rare_class_not_weighted(folders: Folders) -> Plain:
    """As many steps, and a loss that does not know how rare one of the two is."""
    return changed(scarce_run(folders), loss=nn.CrossEntropyLoss())


class OneImage(Pairs):
    """Reads the file list at a fixed index that was left from trying."""

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image = self.images[0]
        return (image if self.prepare is None else self.prepare(image)), self.targets[index]


def index_not_used(folders: Folders) -> Plain:
    """Every sample has the first image."""
    return changed(textures_run(folders), train=loader(OneImage(*generated.textures(400, 1)), 32, shuffle=True))


def filtered_one_list(folders: Folders) -> Plain:
    """An image was taken out of the list of images and not out of the labels: all behind it are off by one."""
    images, labels = generated.textures(401, 1)
    return changed(textures_run(folders), train=loader(TensorDataset(images[1:], labels[:-1]), 32, shuffle=True))


def mirrored_digits(folders: Folders) -> Plain:
    """The augmentation of photographs, taken over for digits."""
    run = digits_run(folders)
    turn = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()])

    def augment(image: Tensor, label: Any) -> tuple[Tensor, Any]:
        return turn(image), label

    train = Pairs(*sets.digits(folders, "train", 800), prepare=transforms.Normalize([0.13], [0.31]), augment=augment)
    return changed(run, train=loader(train, 32, shuffle=True), augment=augment)


def crops_of_nothing(folders: Folders) -> Plain:
    """Crops of a fiftieth of the picture, most of it erased as well."""
    run = cifar_run(folders)
    ruin = transforms.Compose(
        [
            transforms.RandomResizedCrop(32, (0.005, 0.03)),
            transforms.RandomErasing(0.9, (0.5, 0.8)),
            transforms.GaussianBlur(5, 3.0),
        ]
    )

    def augment(image: Tensor, label: Any) -> tuple[Tensor, Any]:
        return ruin(image), label

    prepare = normalizer((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    train = Pairs(*sets.cifar(folders, "data_batch_1"), prepare=prepare, augment=augment)
    return changed(run, train=loader(train, 25, shuffle=True), augment=augment)


def validation_shares_transform(folders: Folders) -> Plain:
    """One set with random changes, split in two parts afterwards."""
    spoil = transforms.Compose(
        [transforms.RandomResizedCrop(32, (0.3, 1.0)), transforms.RandomErasing(0.5), transforms.RandomRotation(20)]
    )

    def augment(image: Tensor, label: Any) -> tuple[Tensor, Any]:
        return spoil(image), label

    everything = Pairs(*generated.berries(440, 3), augment=augment)
    train, val = random_split(everything, [320, 120], torch.Generator().manual_seed(0))
    return changed(
        berries_run(folders), train=loader(train, 32, shuffle=True), val=loader(val, 40), augment=augment, predict=None
    )


def merged_sources(folders: Folders) -> Plain:
    """Training pictures of a bright camera, validation of a dark and blurred one."""
    images, labels = generated.berries(120, 4)
    dark = transforms.functional.gaussian_blur(images, [7, 7], [2.0, 2.0]) * 0.35
    val = Pairs(as_bytes(dark), labels, normalizer(BERRY_MEAN, BERRY_STD))
    return changed(berries_run(folders), val=val)


CASES = (
    planted(
        TEXTURES,
        "labels_from_one",
        "data.label_range",
        one_based,
        "tables of Matlab count from 1; an output more hides it",
        also=("network.output_size",),
    ),
    planted(
        TEXTURES,
        "truncated_files_are_read",
        "data.unreadable",
        truncated_files,
        "LOAD_TRUNCATED_IMAGES is the usual answer to Pillow's OSError: image file is truncated",
    ),
    planted(
        TEXTURES,
        "validation_numbers_its_classes",
        "data.class_one_split",
        classes_numbered_apart,
        "ImageFolder numbers the folders that it sees; pytorch/vision#714 is about its order",
    ),
    planted(
        TEXTURES,
        "fifth_class_has_no_picture",
        "data.empty_class",
        class_without_samples,
        "classes are listed before they are collected",
        also=("network.output_size",),
    ),
    planted(
        TEXTURES,
        "mirrored_before_the_split",
        "data.leak",
        augmented_before_split,
        "robinreni96/Font_Recognition-DeepFont#2",
    ),
    planted(
        BERRIES, "validation_read_by_opencv", "data.channel_order", bgr_in_validation, "udacity/sdc-issue-reports#623"
    ),
    planted(
        BERRIES,
        "validation_without_normalise",
        "data.normalization",
        validation_not_normalised,
        "two transforms are written by hand, and one is forgotten",
    ),
    planted(
        BERRIES,
        "validation_of_a_dark_camera",
        "data.split_shift",
        merged_sources,
        "data of another site are kept for validation",
    ),
    planted(
        INSECTS,
        "bytes_for_imagenet_weights",
        "data.value_range",
        bytes_for_trained_weights,
        "PILToTensor in place of ToTensor; UofT-DSI/deep_learning#89 has the reverse",
    ),
    planted(
        INSECTS,
        "mean_of_another_network",
        "data.normalization",
        deviation_of_another_network,
        "ImageNet's numbers are taken for every network; the lite ones were trained with 127 and 128",
    ),
    planted(
        DIGITS, "tenth_of_labels_wrong", "data.label_noise", flipped_labels, "Northcutt et al. 2021, arXiv:2103.14749"
    ),
    planted(
        SCARCE,
        "rare_class_without_weight",
        "data.imbalance",
        rare_class_not_weighted,
        "ultralytics/yolov3#249 adds the weights",
    ),
    planted(
        TEXTURES, "always_the_first_image", "data.constant", index_not_used, "an index left from trying one sample"
    ),
    planted(
        TEXTURES, "labels_off_by_one_sample", "data.target_mismatch", filtered_one_list, "one of two lists is filtered"
    ),
    planted(DIGITS, "digits_mirrored", "augment.changes_meaning", mirrored_digits, "chrischute/real-nvp#5"),
    planted(
        CIFAR,
        "crops_of_a_fiftieth",
        "augment.too_strong",
        crops_of_nothing,
        "the scale of RandomResizedCrop is an area, taken as a side",
    ),
    planted(
        BERRIES,
        "validation_augmented_too",
        "augment.on_validation",
        validation_shares_transform,
        "udacity/deep-learning-v2-pytorch#132",
    ),
)
