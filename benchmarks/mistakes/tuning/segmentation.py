"""Mistakes of segmentation in data, augmentation, network, normalisation and loss."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from torchvision import transforms
from torchvision.transforms import functional

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.healthy_maps import (
    MEMBRANES,
    PAIR_BATCHES,
    SCENES,
    STREETS,
    membranes_run,
    scenes_run,
    streets_run,
)
from benchmarks.mistakes.tuning.pieces import Pairs, as_bytes, changed, loader, planted, with_network


def mask_as_picture(folders: Folders) -> Plain:
    """ToTensor also for masks, which divides them by 255, and whole numbers of the result: all 0."""
    images, masks = generated.scenes(160, 21, border=False)
    to_tensor = transforms.ToTensor()
    ids = torch.stack([to_tensor(Image.fromarray(mask.byte().numpy()))[0].long() for mask in masks])
    return changed(scenes_run(folders), train=loader(TensorDataset(images, ids), 8, shuffle=True), augment=None)


def colours_read_as_grey(folders: Folders) -> Plain:
    """Masks with a palette, converted to grey, and all that is no known number left out as void."""
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0, *[224, 224, 192] * 253]
    images, masks = generated.scenes(160, 21)
    ids = []
    for i, mask in enumerate(masks):
        drawn = Image.fromarray(mask.byte().numpy(), "P")
        drawn.putpalette(palette)
        drawn.save(folders.scratch / f"{i:03d}.png")
        read = np.array(Image.open(folders.scratch / f"{i:03d}.png").convert("L")).astype(np.int64)
        read[read > 2] = 255
        ids.append(torch.from_numpy(read))
    return changed(
        scenes_run(folders), train=loader(TensorDataset(images, torch.stack(ids)), 8, shuffle=True), augment=None
    )


def masks_in_jpeg(folders: Folders) -> Plain:
    """Masks stored as JPEG, whose values around each edge are neither black nor white."""
    run = membranes_run(folders)
    images, masks = sets.membranes(folders, range(12), each=5)
    soft = []
    for i, mask in enumerate(masks):
        Image.fromarray(mask[0].numpy()).save(folders.scratch / f"{i}.jpg", quality=30)
        soft.append(functional.to_tensor(Image.open(folders.scratch / f"{i}.jpg").convert("L")))
    return changed(run, train=loader(TensorDataset(images - 0.5, torch.stack(soft)), 4, shuffle=True))


class TurnedFiles(Dataset):
    """Image files turned as their EXIF orientation says, and masks as they are stored."""

    def __init__(self, files: list, masks: Tensor) -> None:
        self.files, self.masks = files, masks

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return functional.to_tensor(ImageOps.exif_transpose(Image.open(self.files[index]))), self.masks[index]


def orientation_of_images_only(folders: Folders) -> Plain:
    """A third of the pictures was taken with the camera upside down."""
    images, masks = generated.scenes(160, 21)
    files = []
    for i, picture in enumerate(as_bytes(images)):
        exif = Image.Exif()
        exif[0x0112] = 3 if i % 3 == 0 else 1
        files.append(folders.scratch / f"{i:03d}.png")
        Image.fromarray(picture).save(files[-1], exif=exif)
    return changed(scenes_run(folders), train=loader(TurnedFiles(files, masks), 8, shuffle=True), augment=None)


def masks_of_x_and_y(folders: Folders) -> Plain:
    """Masks were filled as mask[x, y], which is their mirror along the diagonal."""
    images, masks = generated.scenes(160, 21)
    turned = masks.transpose(1, 2).contiguous()
    return changed(scenes_run(folders), train=loader(Pairs(images, turned), 8, shuffle=True), augment=None)


def lists_in_two_orders(folders: Folders) -> Plain:
    """Images by number, masks by name: 10 before 2."""
    images, masks = generated.scenes(160, 21)
    order = sorted(range(160), key=str)
    return changed(scenes_run(folders), train=loader(Pairs(images, masks[order]), 8, shuffle=True), augment=None)


def mask_left(folders: Folders) -> Plain:
    """A random mirror of the image alone."""

    def augment(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return transforms.RandomHorizontalFlip()(image), mask

    train = Pairs(*generated.scenes(160, 21), augment=augment)
    return changed(scenes_run(folders), train=loader(train, 8, shuffle=True), augment=augment)


def masks_interpolated(folders: Folders) -> Plain:
    """A random scale with the same interpolation for both, then whole numbers."""

    def augment(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        size = int(torch.randint(50, 70, ()))
        both = torch.cat([image, mask[None].float()])
        both = F.interpolate(both[None], (size, size), mode="bilinear")[0, :, 1:49, 1:49]
        return both[:3], both[3].long()

    train = Pairs(*generated.scenes(160, 21, border=False), augment=augment)
    return changed(scenes_run(folders), train=loader(train, 8, shuffle=True), augment=augment)


class DetachedUNet(networks.UNet):
    """Its coarse levels are computed without gradients, as they were while frozen."""

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        with torch.no_grad():
            middle = self.down2(F.max_pool2d(fine, 2))
            coarse = self.down3(F.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([F.interpolate(coarse, middle.shape[2:]), middle], 1))
        return self.last(self.up1(torch.cat([F.interpolate(middle, fine.shape[2:]), fine], 1)))


def encoder_without_gradient(folders: Folders) -> Plain:
    """no_grad is left around the encoder."""
    torch.manual_seed(0)
    return with_network(scenes_run(folders), DetachedUNet(3))


class TransposedUNet(networks.UNet):
    """Enlarges by transposed convolutions of three pixels each two."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.grow2 = nn.ConvTranspose2d(48, 48, 3, 2, 1, 1)
        self.grow1 = nn.ConvTranspose2d(24, 24, 3, 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        middle = self.down2(F.max_pool2d(fine, 2))
        coarse = self.down3(F.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([self.grow2(coarse), middle], 1))
        return self.last(self.up1(torch.cat([self.grow1(middle), fine], 1)))


def kernel_of_three_by_two(folders: Folders) -> Plain:
    """Kernels that the stride does not divide."""
    torch.manual_seed(0)
    return with_network(scenes_run(folders), TransposedUNet(3))


def sigmoid_twice(folders: Folders) -> Plain:
    """A sigmoid at the end, and a loss with its own."""
    return changed(membranes_run(folders), loss=nn.BCEWithLogitsLoss())


def pairs_with_batch_norm(folders: Folders) -> Plain:
    """Batches of two for a network with batch norm, because the memory allows no more."""
    torch.manual_seed(0)
    run = with_network(scenes_run(folders), networks.UNet(3))
    train = Pairs(*generated.scenes(120, 23))
    return changed(run, train=loader(train, 2, shuffle=True), augment=None)


def summed_pixels(folders: Folders) -> Plain:
    """The sum over all pixels for their mean."""
    return changed(scenes_run(folders), loss=nn.CrossEntropyLoss(ignore_index=255, reduction="sum"))


def void_is_ground(folders: Folders) -> Plain:
    """Void becomes class 0 so that the loss runs."""

    def loss(outputs: Tensor, masks: Tensor) -> Tensor:
        return F.cross_entropy(outputs, masks.masked_fill(masks == 255, 0))

    return changed(streets_run(folders), loss=loss)


def weights_by_another_order(folders: Folders) -> Plain:
    """SegNet's weights of its classes in the order of the alphabet, for masks in SegNet's order."""
    by_name = [7.3614, 0.1826, 0.6823, 1.8418, 0.9051, 6.2478, 4.5640, 0.1417, 9.6446, 0.2595, 0.3826]
    return changed(streets_run(folders), loss=nn.CrossEntropyLoss(weight=torch.tensor(by_name), ignore_index=255))


CASES = (
    planted(
        SCENES,
        "masks_divided_by_255",
        "data.label_kind",
        mask_as_picture,
        "kerner-lab/Mars-Bench#56",
        also=("data.empty_class",),
    ),
    planted(
        SCENES,
        "palette_read_as_grey",
        "data.palette",
        colours_read_as_grey,
        "convert('L') of a palette gives its brightness; abreheret/PixelAnnotationTool#35",
        also=("data.empty_class",),
    ),
    planted(MEMBRANES, "masks_saved_as_jpeg", "data.soft_mask", masks_in_jpeg, "romi/plant-3d-vision#140"),
    planted(
        SCENES,
        "images_turned_by_exif",
        "data.mask_size",
        orientation_of_images_only,
        "facebookresearch/detectron2#788",
        also=("data.mask_misaligned",),
    ),
    planted(
        SCENES,
        "masks_along_the_diagonal",
        "data.mask_misaligned",
        masks_of_x_and_y,
        "arrays are [y, x], drawings (x, y)",
    ),
    planted(SCENES, "masks_sorted_by_name", "data.target_mismatch", lists_in_two_orders, "HasnainRaz/SemSegPipeline#9"),
    planted(
        SCENES,
        "mirror_of_the_image_alone",
        "augment.target_left",
        mask_left,
        "two calls of a random transform draw twice",
    ),
    planted(
        SCENES,
        "scale_interpolates_masks",
        "augment.mask_interpolated",
        masks_interpolated,
        "divamgupta/image-segmentation-keras#11",
        also=("data.soft_mask",),
    ),
    planted(
        SCENES,
        "encoder_in_no_grad",
        "network.no_gradient",
        encoder_without_gradient,
        "vturrisi/solo-learn#135 asks about a detach in this way",
    ),
    planted(
        SCENES,
        "three_pixels_each_two",
        "network.checkerboard",
        kernel_of_three_by_two,
        "NVIDIA/pix2pixHD#149; Odena et al. 2016",
        network="U-Net with transposed convolutions",
    ),
    planted(MEMBRANES, "sigmoid_before_bce_with_logits", "network.double_softmax", sigmoid_twice, "hustvl/YOLOP#117"),
    planted(
        PAIR_BATCHES,
        "batches_of_two_with_batch_norm",
        "norm.small_batch",
        pairs_with_batch_norm,
        "Wu and He 2018, figure 1",
        network="U-Net of three levels",
    ),
    planted(
        SCENES,
        "sum_over_pixels",
        "loss.scale",
        summed_pixels,
        "reduction='sum' was the way to ignore empty batches; Adam hides what it does to the rate",
    ),
    planted(
        STREETS,
        "void_becomes_a_class",
        "loss.ignored_counted",
        void_is_ground,
        "an IndexError of value 255 is silenced",
    ),
    planted(
        STREETS,
        "weights_in_alphabetical_order",
        "loss.weights_inverted",
        weights_by_another_order,
        "weights are copied from a table in another order than the ids; SegNet's table is by id",
    ),
)
