"""The public scripts: where they come from, how they are started, the inserted line, and the mistakes planted in them.

Their text is no part of this project: a script is read from a folder, and what stands here are places in it.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.public_scripts.trees import write_streets, write_textures

REPORT = "report.json"
LINE = (
    "import json, unpool; report = json.dumps(unpool.check({}).to_json()); "
    f"open('{REPORT}', 'w').write(report); raise SystemExit"
)


class Change(NamedTuple):
    """An exchange in the text of a script: `old` stands in it exactly once."""

    old: str
    new: str


class Mistake(NamedTuple):
    """One mistake as people make it.

    Attributes:
        name: unique; a statement.
        cause: identifier of benchmarks/mistakes/causes.txt.
        why: how it comes about.
        changes: in the text.
        spoil: what is done to the tree of data, given its root.
        also: other causes that are as right an answer.
    """

    name: str
    cause: str
    why: str
    changes: Sequence[Change] = ()
    spoil: Callable[[Path], None] | None = None
    also: tuple[str, ...] = ()


class Script(NamedTuple):
    """A training script as its authors publish it.

    Attributes:
        name: folder below that of all scripts.
        file: its name; other files beside it are what it imports.
        repository, revision, sha256: what was read when the places were written down.
        words: arguments that it is started with.
        write: writes the tree that it reads, given the folder it runs in.
        before: the line before which the inserted one stands, found exactly once.
        arguments: of `unpool.check`, the text between its brackets.
        mistakes: planted, one at a time.
        encoder: weights that the script loads by its library, made at random where they cannot be downloaded.
    """

    name: str
    file: str
    repository: str
    revision: str
    sha256: str
    words: tuple[str, ...]
    write: Callable[[Path], None]
    before: str
    arguments: str
    mistakes: tuple[Mistake, ...]
    encoder: str = ""

    @property
    def line(self) -> str:
        """The inserted line, at the depth of the one that it stands before."""
        depth = len(self.before) - len(self.before.lstrip())
        return " " * depth + LINE.format(self.arguments)


def _textures_and_device(folder: Path) -> None:
    """The tree, and the file of settings by which newer versions of the library are told that there is no GPU."""
    write_textures(folder / "data", val_name="validation")
    (folder / "device.yaml").write_text("device: cpu\n", encoding="utf-8")


def _without_a_class(root: Path) -> None:
    shutil.rmtree(root / "data" / "val" / "bricks")


TORCHVISION = Script(
    name="torchvision",
    file="train.py",
    repository="pytorch/vision: references/classification",
    revision="v0.21.0",
    sha256="50e351e18f825fe8c87ba1cf0182c93b66f7351dab4588d20acdd5962a1076b9",
    words=(
        *("--data-path", "data", "--device", "cpu", "--model", "resnet18", "--workers", "2"),
        *("--val-resize-size", "72", "--val-crop-size", "64", "--train-crop-size", "64"),
    ),
    write=lambda folder: write_textures(folder / "data"),
    before='    print("Start training")',
    arguments=(
        "model=model, train=data_loader, val=data_loader_test, loss=criterion, optimizer=optimizer, "
        "schedule=lr_scheduler, epochs=args.epochs, classes=dataset.classes, "
        "evaluate=lambda net, data: evaluate(net, criterion, data, device=device)"
    ),
    mistakes=(
        Mistake(
            "optimizer_has_the_head_only",
            "optim.missing_parameters",
            "the line of a fine-tuning is kept where the network is trained from its start",
            [Change("set_weight_decay(\n        model,", "set_weight_decay(\n        model.fc,")],
        ),
        Mistake(
            "softmax_before_cross_entropy",
            "network.double_softmax",
            "the network is to answer probabilities",
            [Change("    model.to(device)\n", "    model = nn.Sequential(model, nn.Softmax(dim=1)).to(device)\n")],
        ),
        Mistake(
            "validation_reads_train",
            "data.leak",
            "a line was copied and only half of it changed",
            [Change('os.path.join(args.data_path, "val")', 'os.path.join(args.data_path, "train")')],
        ),
        Mistake(
            "sampler_goes_in_order",
            "optim.not_shuffled",
            "the sampler of validation stands at training; folders come class by class",
            [Change("torch.utils.data.RandomSampler(dataset)", "torch.utils.data.SequentialSampler(dataset)")],
        ),
        Mistake(
            "validation_lacks_a_folder",
            "data.class_one_split",
            "a class has no picture in validation, and folders are numbered by those that are there",
            spoil=_without_a_class,
        ),
    ),
)

TIMM = Script(
    name="timm",
    file="train.py",
    repository="huggingface/pytorch-image-models",
    revision="2aabaef039d918d453b58714ab84562609981112",
    sha256="3a3746720652e9f85f953d1e7ba84ded0bc914b510d509713658d7c3126ae496",
    words=(
        *("--data-dir", "data", "--model", "resnet18", "--num-classes", "6", "--input-size", "3", "64", "64"),
        *("--batch-size", "32", "--workers", "2", "--config", "device.yaml"),
    ),
    write=_textures_and_device,
    before="        for epoch in range(start_epoch, num_epochs):",
    arguments=(
        "model=model, train=loader_train, val=loader_eval, loss=train_loss_fn, optimizer=optimizer, "
        "epochs=num_epochs, "
        "evaluate=lambda net, data: validate(net, data, validate_loss_fn, args, device=device)['top1']"
    ),
    mistakes=(
        Mistake(
            "rate_by_the_batch_not_its_ratio",
            "optim.rate_high",
            "the rate is multiplied by the batch, not by the batch as a part of 256",
            [Change("args.lr_base * batch_ratio", "args.lr_base * global_batch_size")],
        ),
        Mistake(
            "validation_is_not_normalised",
            "data.normalization",
            "mean and deviation were given to one of two loaders",
            [
                Change(
                    "interpolation=data_config['interpolation'],\n        mean=data_config['mean'],\n"
                    "        std=data_config['std'],",
                    "interpolation=data_config['interpolation'],\n        mean=(0, 0, 0),\n        std=(1, 1, 1),",
                )
            ],
        ),
        Mistake(
            "validation_is_augmented",
            "augment.on_validation",
            "the second loader was copied from the first",
            [Change("is_training=False,\n        use_prefetcher", "is_training=True,\n        use_prefetcher")],
        ),
        Mistake(
            "scores_are_averaged_over_batches",
            "metric.averaged_batches",
            "the size of a batch is not given to the mean, and the last batch is smaller",
            [Change("top1_m.update(acc1.item(), output.size(0))", "top1_m.update(acc1.item())")],
        ),
        Mistake(
            "body_is_frozen",
            "norm.frozen",
            "the lines of a fine-tuning are kept where the network starts from random weights",
            [
                Change(
                    "    model.to(device=device)\n",
                    "    model.to(device=device)\n"
                    "    model.requires_grad_(False).get_classifier().requires_grad_(True)\n",
                )
            ],
        ),
    ),
)

BUILDINGS = Script(
    name="segmentation_models",
    file="binary_segmentation_buildings.py",
    repository="qubvel-org/segmentation_models.pytorch: examples",
    revision="37595b93fe753e8098ba0d64f2aaa9ed37d5df94",
    sha256="9e722a65f9ec2f9e18abb624d56c5fd28a5e9c965574890394c197b19938ba2b",
    words=(),
    write=lambda folder: write_streets(folder / "data" / "CamVid"),
    before="history = train_model(",
    arguments=(
        "model=model, train=train_dataloader, val=valid_dataloader, loss=loss_fn, optimizer=optimizer, "
        "schedule=scheduler, epochs=EPOCHS, "
        "evaluate=lambda net, data: evaluate_model(net, output_dir, data, loss_fn, device)[1]"
    ),
    encoder="resnet34",
    mistakes=(
        Mistake(
            "masks_in_another_order",
            "data.target_mismatch",
            "images and masks are listed on their own, and only one list is sorted",
            [
                Change(
                    "os.path.join(masks_dir, image_id) for image_id in self.ids",
                    "os.path.join(masks_dir, image_id) for image_id in sorted(self.ids, reverse=True)",
                )
            ],
        ),
        Mistake(
            "bytes_are_not_divided",
            "data.value_range",
            "the division was thought to stand elsewhere",
            [Change(".permute(2, 0, 1) / 255.0", ".permute(2, 0, 1)")],
        ),
        Mistake(
            "sigmoid_before_dice_of_logits",
            "network.double_softmax",
            "the network is to answer probabilities, and the loss is left as it was",
            [Change("mask = self.model(image)\n", "mask = self.model(image).sigmoid()\n")],
        ),
        Mistake(
            "optimizer_has_the_decoder_only",
            "optim.missing_parameters",
            "an encoder that was frozen once is to be trained again, and the optimiser was forgotten",
            [Change("torch.optim.Adam(model.parameters()", "torch.optim.Adam(model.model.decoder.parameters()")],
        ),
        Mistake(
            "images_are_mirrored_alone",
            "data.mask_misaligned",
            "a mirror was added where the image is read, and the mask is read below",
            [
                Change(
                    "image = cv2.resize(image, self.INPUT_IMAGE_RESHAPE)",
                    "image = cv2.flip(cv2.resize(image, self.INPUT_IMAGE_RESHAPE), 1)",
                )
            ],
            also=("augment.target_left",),
        ),
    ),
)

SCRIPTS = (TORCHVISION, TIMM, BUILDINGS)
