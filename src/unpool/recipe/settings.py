"""The keys of a recipe: one class per section, every key with its kind, range and default.

Values are not converted: a string is no number, `true` is no integer; NaN and infinity are refused. Further keys of
`data`, `model` and `task` are options of the reader, network and task named there; `unpool.recipe.options` checks them
against the tables.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from unpool.limits import Seed
from unpool.recipe.train_section import Count, Section, Train

FORMAT: Literal[1] = 1  # of recipes; a newer version of Unpool may write a larger one
COLOURS = frozenset({"mean", "std", "color_order", "value_range"})  # keys of `data` that trained weights prescribe
RGB_MEAN, RGB_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on the range 0..1
GREY_MEAN, GREY_STD = (0.449,), (0.226,)  # the three above, averaged

Size = Annotated[int, Field(ge=1, le=65_536)]
Band = Annotated[int, Field(ge=1, le=65_535)]
Byte = Annotated[int, Field(ge=0, le=255)]
FileValue = Annotated[float, Field(ge=-1e12, le=1e12)]
NetworkValue = Annotated[float, Field(ge=-1e6, le=1e6)]  # of a channel, before mean and std
Deviation = Annotated[float, Field(ge=1e-6, le=1e6)]
Name = Annotated[str, Field(max_length=1000)]
FilePath = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]  # 4096: PATH_MAX of Linux
Augmentation = Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)]


def _no_bool(value: Any) -> Any:
    """`true` equals 1, and a Literal compares by equality."""
    if isinstance(value, bool):
        raise PydanticCustomError("literal_error", "a number, not a truth value")
    return value


class _OpenSection(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        """The further keys: options of the reader, network or task."""
        return dict(self.model_extra or {})


class Data(_OpenSection):
    """The data: its reader, preprocessing, augmentation, noise and proposals.

    Attributes:
        reader: the format of the data.
        root: the folder to read, absolute once loaded; None for generated data.
        size: (height, width) of the network's input; None keeps the size of the images, or brings them to `shorter`.
        shorter, longest: in place of `size`, pixels of the shorter side to which each image is resized at its aspect,
            and the most that its longer side gets, such as 600 and 1000; a batch is padded to its largest image with
            the mean colour.
        train_size: (height, width) of the training crops; None for `size`.
        rule: "stretch" resizes to `size`; "cover" resizes until both sides reach `size / crop`, then crops the centre;
            "fit" shows the whole image at its own aspect, between bars of the mean colour.
        crop: share of the resized image that "cover" keeps.
        channels: 1 for grey, 3 for RGB, any other number for images of as many bands.
        bands: of each image, counted from 1 with alpha, one a channel, such as [4, 3, 2]; None for all but alpha.
        range: the values [black, white] of images of more than 8 bits, signed values or floating point; None where the
            files say them, or the largest value of the training images shall.
        background: the value, or [red, green, blue], of 0 to 255, on which transparent pixels of images are laid; None
            drops alpha, so that the colour hidden under them is read, and tells of it.
        max_pixels: of an image or a mask; a larger one is refused by its header, before any memory is taken for it.
            Decoding takes 10 to 30 bytes for each pixel.
        color_order: of the network's channels; foreign weights may expect "bgr".
        value_range: to which 0..255 is scaled before mean and std; foreign weights may expect [0, 255].
        normalize: by "channel", with mean and std; by "location", with `mean_image` and std; by "image", each to zero
            mean and unit deviation.
        mean, std: per channel, in `color_order` and on `value_range`; if left out, those of ImageNet, and of the
            training images where there are not 1 or 3 channels, or where both are [].
        mean_image: a .npy file of (channels, height, width), in `color_order` and on `value_range`; None for the mean
            of the training images.
        multiple: height and width of the network's input are padded up to a multiple of this, by mirroring; under
            `shorter` with the mean colour.
        flip_pairs: names of the joints that trade places in a mirror, in pairs; empty for none, None for those that the
            reader knows, or that are left and right by their names.
        allow_duplicates: whether a run goes on where many validation images are copies of training images, which it
            lists all the same.
        memory: whether decoded images are kept in memory; "auto" decides by their size and the free memory.
        verify: "decode" decodes every image that is not kept in memory once before training; "headers" reads headers
            only, and a training image that cannot be decoded later is replaced by another one.
        workers: processes that read and augment; 0 for a thread; "auto" by the machine.
        augment: (name, options) of each augmentation of training images, in order.
        augment_on: "loader" augments in the processes that read; "device" moves pixels where the network is trained, a
            whole batch at a time, by the same numbers: for images that have one size as decoded, and augmentations that
            neither bend nor join them. Pixels may differ by a level. It relieves the processor beside a GPU.
        repeat: how often each training image is used in an epoch, each time with another augmentation.
        order: name and options of the order in which an epoch uses the training images.
        noise: name and options of the noise added to every image, in evaluation too; None adds none.
        noise_seed: seed of the noise in evaluation; in training it is the run's seed.
        proposals: name and options of what proposes the regions of each image to a network that classifies them, as
            R-CNN and Fast R-CNN do; None for other networks.
    """

    reader: Name
    root: FilePath | None = None
    size: tuple[Size, Size] | None = None
    shorter: Size | None = None
    longest: Size | None = None
    train_size: tuple[Size, Size] | None = None
    rule: Literal["stretch", "cover", "fit"] = "stretch"
    crop: Annotated[float, Field(ge=0.01, le=1)] = 0.875
    channels: Annotated[int, Field(ge=1, le=1024)] = 3
    bands: Annotated[tuple[Band, ...], Field(min_length=1, max_length=1024)] | None = None
    range: tuple[FileValue, FileValue] | None = None
    background: Byte | tuple[Byte, Byte, Byte] | None = None
    max_pixels: Annotated[int, Field(ge=1, le=10_000_000_000)] = 100_000_000
    color_order: Literal["rgb", "bgr"] = "rgb"
    value_range: tuple[NetworkValue, NetworkValue] = (0.0, 1.0)
    normalize: Literal["channel", "location", "image"] = "channel"
    mean: tuple[NetworkValue, ...] = ()
    std: tuple[Deviation, ...] = ()
    mean_image: Annotated[FilePath, Field(pattern=r"\.npy$")] | None = None
    multiple: Annotated[int, Field(ge=1, le=4096)] = 1
    flip_pairs: tuple[tuple[str, str], ...] | None = None
    allow_duplicates: bool = False
    memory: Literal["auto"] | bool = "auto"
    verify: Literal["decode", "headers"] = "decode"
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=256)] = "auto"
    augment: tuple[Augmentation, ...] = ()
    augment_on: Literal["loader", "device"] = "loader"
    repeat: Count = 1
    order: Augmentation = Field(default_factory=lambda: {"shuffled": {}})
    noise: Augmentation | None = None
    noise_seed: Seed = 0
    proposals: Augmentation | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        self._agree_on_files()
        is_counted = not (self.mean or self.std)  # left out, there would be ImageNet's
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels and not is_counted:
                raise ValueError(
                    f"{name} has {len(values)} numbers and channels is {self.channels}; give one number a channel"
                )
        low, high = self.value_range
        if high - low < 0.001:
            raise ValueError(
                f"value_range is {[low, high]}; expected two numbers, the lower one first, at least 0.001 apart"
            )
        if self.normalize != "location" and self.mean_image is not None:
            raise ValueError(f"mean_image needs normalize 'location', which is {self.normalize!r}: leave one out")
        if self.normalize == "location" and (self.size is None or self.train_size is not None):
            raise ValueError("a mean image needs images of its size: set size to it, and leave train_size out")
        self._agree_on_sides()
        self._agree_on_device()
        by_aspect = self.order.get("grouped", {}).get("by") == "aspect"
        if by_aspect and self.keeps_size and self.train_size is None:
            raise ValueError(
                "order grouped by aspect joins images of unequal sizes, and no size is set: set size, such as "
                "[224, 224], or order={grouped: {by: size}}"
            )
        return self

    def _agree_on_sides(self) -> None:
        if (self.shorter is None) != (self.longest is None):
            raise ValueError(
                f"shorter is {self.shorter} and longest {self.longest}; set both, such as 600 and 1000: pixels of the "
                "shorter side of each image, and the most that the longer one gets"
            )
        if self.shorter is not None and self.longest is not None and self.shorter > self.longest:
            raise ValueError(f"shorter is {self.shorter} and longest {self.longest}; expected shorter at most longest")
        if self.shorter is not None and self.size is not None:
            raise ValueError(
                f"shorter is {self.shorter} and size {list(self.size)}, and both say how large images get: leave one "
                "out, such as by size: null"
            )

    def _agree_on_device(self) -> None:
        if self.augment_on == "loader":
            return
        for key, why in (("noise", "is added to finished images"), ("shorter", "gives each image a size of its own")):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"augment_on is device, and {key} {why}, which the loader does: set augment_on to loader, or leave "
                    f"{key} out"
                )

    def _agree_on_files(self) -> None:
        if self.bands is not None and len(self.bands) != self.channels and (len(self.bands), self.channels) != (1, 3):
            raise ValueError(
                f"bands names {len(self.bands)} and channels is {self.channels}; name one a channel, or set "
                f"channels to {len(self.bands)}"
            )
        if self.range is not None and self.range[1] - self.range[0] < max(1e-12, 1e-6 * max(map(abs, self.range))):
            raise ValueError(
                f"range is {list(self.range)}; expected [black, white], the lower one first, apart by a millionth of "
                "the larger one and by 1e-12 at least: values are of single precision"
            )
        if isinstance(self.background, tuple) and self.channels not in (1, 3):
            raise ValueError(
                f"background is {list(self.background)}, a colour, and channels is {self.channels}; give one value"
            )
        if self.color_order == "bgr" and self.channels not in (1, 3):
            raise ValueError(f"color_order bgr is of colours and channels is {self.channels}; order them by bands")
        jitter = dict(self.steps).get("color_jitter", {})
        if self.channels not in (1, 3, 6) and (jitter.get("saturation") or jitter.get("hue")):
            raise ValueError(
                f"augment has color_jitter with saturation or hue, which RGB has, and channels is {self.channels}; "
                "leave both out"
            )
        if self.channels != 3 and dict(self.steps).get("pca_color", {"axes": ()}).get("axes", "imagenet") == "imagenet":
            raise ValueError(
                f"augment has pca_color with axes of ImageNet, which are of RGB, and channels is {self.channels}; set "
                "its axes to training"
            )

    @property
    def keeps_size(self) -> bool:
        """Whether the network sees images as large as they are."""
        return self.size is None and self.shorter is None

    @property
    def steps(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """(name, options) of each augmentation, in order."""
        return tuple(pair for step in self.augment for pair in step.items())


def spell_out(tree: dict[str, Any]) -> dict[str, Any]:
    """Returns a recipe's tree with the short forms of `data` and `model` in the long form that the classes here expect.

    mean and std get their defaults by the channels, their order and range; `flip` and `flip:` in augment become
    `flip: {}`, and the same in noise, order, proposals and the initial weights of `model`.

    Args:
        tree: values of a YAML document; what is no mapping is returned unchanged.
    """
    model, data = tree.get("model"), tree.get("data")
    if isinstance(model, dict) and "init" in model:
        tree = {**tree, "model": {**model, "init": _step(model["init"])}}
    if not isinstance(data, dict):
        return tree
    filled = {**_default_colours(data), **data}
    if isinstance(filled.get("augment"), list):
        filled["augment"] = [_step(step) for step in filled["augment"]]
    for key in {"noise", "order", "proposals"} & set(filled):
        filled[key] = _step(filled[key])
    return {**tree, "data": filled}


def _default_colours(data: dict[str, Any]) -> dict[str, Any]:
    """ImageNet's mean and std in the order and on the range that the section names; a wrong range is refused later."""
    if data.get("channels", 3) not in (1, 3):
        return {}  # counted in the training images
    mean, std = (GREY_MEAN, GREY_STD) if data.get("channels") == 1 else (RGB_MEAN, RGB_STD)
    if data.get("color_order") == "bgr":
        mean, std = mean[::-1], std[::-1]
    ends = data.get("value_range", (0.0, 1.0))
    is_range = isinstance(ends, list | tuple) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    low, high = ends if is_range else (0.0, 1.0)
    if (low, high) == (0, 1) or not low < high:
        return {"mean": mean, "std": std}
    return {"mean": tuple(low + m * (high - low) for m in mean), "std": tuple(s * (high - low) for s in std)}


def _step(step: Any) -> Any:
    if isinstance(step, str):
        return {step: {}}
    if isinstance(step, dict):
        return {name: {} if options is None else options for name, options in step.items()}
    return step


class Model(_OpenSection):
    """The network: a row of `MODELS`, and options of the row.

    Attributes:
        name: a network that `unpool models` lists, or timm/ and a name of timm's.
        backbone: a classifier that `unpool models` lists, or one of timm's, for a network composed of it and a decoder;
            None for the published one.
        weights: initial weights: "imagenet", "voc", "efficientnet_lite0", "hed_vgg16", or a .safetensors or .pth file,
            absolute once loaded; None draws them.
        frozen: parts that are not trained and keep their batch norm statistics: "backbone" for all but the head, or
            names of modules, such as backbone.stages.0.
        new_head: whether the last layer, as far as its shape depends on the classes, is drawn and not loaded.
        init: name and options of the distribution of initial weights; None for that of the network's source. Loaded
            weights stay as they are.
        sync_batch_norm: whether batch norm takes its statistics from the batch of all processes, where several train.
    """

    name: Name
    backbone: Name | None = None
    weights: FilePath | None = None
    frozen: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    new_head: bool = False
    init: Augmentation | None = None
    sync_batch_norm: bool = False

    @property
    def described(self) -> str:
        """The network, with its backbone where it has one, such as "unet on resnet34"."""
        return " on ".join(filter(None, (self.name, self.backbone)))


class Task(_OpenSection):
    """The task: a row of `TASKS`, and options of the row.

    Attributes:
        name: what the network is to learn.
    """

    name: Name


class Recipe(Section):
    """All settings of a run.

    Attributes:
        format: version of the file's format.
        about: one line that describes the run.
    """

    format: Annotated[Literal[1], BeforeValidator(_no_bool)] = FORMAT
    about: Annotated[str, Field(max_length=10_000)]
    data: Data
    model: Model
    task: Task
    train: Train
