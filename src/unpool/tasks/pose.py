"""Pose of one person by heatmaps: one map a joint, trained to a Gaussian or a disk around it.

Labels are made in pixels of the network's own maps, from joints at their exact place: nothing is rounded. Sources:
Tompson et al. 2014 (arXiv:1411.4280), Newell et al. 2016 (arXiv:1603.06937), Wei et al. 2016 (arXiv:1602.00134), Rafi
et al. 2016 (BMVC).
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted
from unpool.limits import PIXELS, WEIGHT, Weights, check_number, in_words, is_within
from unpool.ops import heatmaps
from unpool.ops.heatmaps import Label
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.task import Explained
from unpool.tasks.explaining import index_named
from unpool.tasks.joints import Joints, map_stride, points_to_image, points_to_maps, share_of_maps
from unpool.tasks.map_losses import Loss, as_scores, map_loss
from unpool.types import Batch, DataInfo, Losses, Prediction, Stages, Term

Output = Tensor | Stages
FOREGROUND = Interval(ge=0.001, le=10_000)
CENTRE = Interval(ge=0.1, le=10_000)  # pixels of the image
LEAST_RADIUS = 0.71  # half the diagonal of a pixel


class Pose(Joints):
    """Heatmaps, their highest pixels refined by a quarter, shares of right joints.

    Args:
        info: names of the joints, those that trade places in a mirror, and limbs.
        label: "gaussian" around a joint, or "disk" of 1 where a pixel is no further than `size`.
        size: deviation or radius, in pixels of the heatmaps, 0.1 to 1000; a radius of at least 0.71, which always
            meets a pixel.
        loss: "mse", "bce" (per-pixel classification) or "softmax" (a distribution over pixels); see `map_losses`.
        foreground: weight of a pixel labelled 1 beside one labelled 0, in the maps of joints, 0.001 to 10,000; not of
            "softmax".
        hidden: what a joint that is not visible asks for: "ignore", no loss, or "zero", an empty map; see `labels`.
        background: whether the network has one more map, 1 less the highest of the others, as CPM's.
        centre: None; or the deviation, in pixels of the image, of a Gaussian in its middle that stands behind the
            image's channels, as CPM's 21.
        stage_weights: of the losses of the network's stages, as many as it has, one where it gives maps once; finite,
            none below 0, not all 0. 1 each where None.
        flip_test: answer outside of training by the mean of image and mirrored image.
        preprocessing: what the images go through.
    """

    takes = ("maps", "heatmaps")

    def __init__(  # noqa: PLR0913, one keyword for each choice that papers differ in
        self,
        info: DataInfo,
        *,
        label: Label = "gaussian",
        size: Annotated[float, PIXELS] = 2.0,
        loss: Loss = "mse",
        foreground: Annotated[float, FOREGROUND] = 1.0,
        hidden: Literal["ignore", "zero"] = "ignore",
        background: bool = False,
        centre: Annotated[float, CENTRE] | None = None,
        stage_weights: Weights | None = None,
        flip_test: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__(info, preprocessing, flip_test=flip_test)
        self.size = check_number("task.size", size, PIXELS)
        self.foreground = check_number("task.foreground", foreground, FOREGROUND)
        self.centre = None if centre is None else check_number("task.centre", centre, CENTRE)
        if label == "disk" and size < LEAST_RADIUS:
            raise RecipeError(
                f"task.size is {size}; a disk of a radius below {LEAST_RADIUS} holds no pixel where its joint lies "
                "between pixels"
            )
        if loss == "softmax" and foreground != 1:
            raise RecipeError(
                f"task.foreground is {foreground}, which task.loss softmax does not know: a distribution has no "
                "background to outweigh; leave it out"
            )
        if loss == "softmax" and (hidden == "zero" or background):
            raise RecipeError(
                "task.loss softmax makes each map a distribution, which is never empty: it goes with hidden ignore and "
                "without background"
            )
        self.label: Label = label
        self.loss_kind: Loss = loss
        self.hidden, self.background = hidden, background
        self.stage_weights = None if stage_weights is None else _checked_weights(stage_weights)

    @property
    def outputs(self) -> int:
        """Maps that the network must have."""
        return len(self.info.keypoints) + self.background

    @property
    def added_channels(self) -> int:
        """Channels that stand behind those of the image."""
        return int(self.centre is not None)

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        """Heatmaps (B, K, h, w), in training of every stage; outside of it the last's, with those of the mirror."""
        image = inputs["image"]
        if model.training:
            return model(self._with_centre(image))
        maps = _last_stage(model(self._with_centre(image)))
        if not self.flip_test:
            return maps
        mirrored = _last_stage(model(self._with_centre(image.flip(-1)))).flip(-1)
        mirrored = heatmaps.shift_columns(mirrored, _overhang(mirrored.shape[-1], image.shape[-1]))
        order = [*self.order, *range(len(self.order), mirrored.shape[1])]
        return (maps + mirrored[:, order]) / 2

    def loss(self, output: Output, batch: Batch) -> Losses:
        """The loss of the maps, or of those of each stage.

        Raises:
            RecipeError: the network gives another number of maps than joints, or of stages than weights.
        """
        if isinstance(output, Stages):
            stages = {f"stage_{number}": maps for number, maps in enumerate(output.heatmaps, start=1)}
        else:
            stages = {"heatmaps": output}
        weights = self.stage_weights or (1.0,) * len(stages)
        if len(weights) != len(stages):
            raise RecipeError(f"task.stage_weights has {len(weights)} numbers and the network {len(stages)} stages")
        return {
            name: self._term(maps, batch)._replace(weight=weight)
            for (name, maps), weight in zip(stages.items(), weights, strict=True)
        }

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """keypoints (B, K, 2) on the image as decoded, and score (B, K), the height of the map there.

        No answer lies on pixels of the maps that show nothing but padding.
        """
        maps, layout = _last_stage(output)[:, : len(self.info.keypoints)].float(), Layout.of(inputs)
        is_padding = share_of_maps(layout.is_valid(), maps.shape[-2:]).to(maps.device) == 0
        maps = as_scores(maps.masked_fill(is_padding, -torch.inf), self.loss_kind)
        if self.label == "disk":
            maps = heatmaps.gather_disks(maps.masked_fill(is_padding, 0), self.size)
        points, score = heatmaps.decode(maps.masked_fill(is_padding, -torch.inf))
        return {"keypoints": points_to_image(points, layout, maps.shape[-2:]), "score": score}

    def explained(self, model: nn.Module, inputs: Batch, target: str | None) -> Explained:
        """The value of a joint's heatmap where the answer has the joint; of the surest where none is named."""
        with torch.no_grad():
            answer = self.answer(model, inputs)
            maps = _last_stage(model(self._with_centre(inputs["image"])))
        names = self.info.keypoints
        joint = int(answer["score"][0].argmax()) if target is None else index_named(target, names, what="joint")
        point = points_to_maps(answer["keypoints"], Layout.of(inputs), maps.shape[-2:])[0, joint].round().int()
        column, row = (min(max(int(at), 0), side - 1) for at, side in zip(point, maps.shape[:1:-1], strict=True))

        def value(image: Tensor) -> Tensor:
            return _last_stage(model(self._with_centre(image)))[:, joint, row, column]

        return Explained(names[joint], value)

    def labels(self, batch: Batch, size_hw: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, K, h, w) what the maps should be, and (B, K) bool of which maps that is known; the background last.

        With hidden "ignore" the background is known only where all joints of the person are visible: a hidden one lies
        somewhere, and there is no background there.
        """
        points, visible = points_to_maps(batch["keypoints"], Layout.of(batch), size_hw), batch["visible"]
        labels = heatmaps.labels(points, size_hw, kind=self.label, size=self.size)
        labels = labels * visible[..., None, None]
        known = torch.ones_like(visible) if self.hidden == "zero" else visible
        if self.background:
            labels = torch.cat([labels, 1 - labels.amax(1, keepdim=True)], dim=1)
            known = torch.cat([known, known.all(1, keepdim=True)], dim=1)
        return labels, known

    def _term(self, maps: Tensor, batch: Batch) -> Term:
        if maps.dim() != 4 or maps.shape[1] != self.outputs:
            raise RecipeError(
                f"the network gives {tuple(maps.shape)} where (B, {self.outputs}, h, w) was due; build one of "
                f"heatmaps with num_classes={self.outputs}"
            )
        labels, known = self.labels(batch, maps.shape[-2:])
        return map_loss(
            maps.float(),
            labels,
            known,
            shown=share_of_maps(Layout.of(batch).is_valid(), maps.shape[-2:]),
            loss=self.loss_kind,
            foreground=self._foreground(labels),
            mass=heatmaps.mass(self.label, self.size),
        )

    def _foreground(self, labels: Tensor) -> Tensor | float:
        """Weight of pixels labelled 1, by map: nearly all of the background's are, and no more than others count."""
        if not self.background or self.foreground == 1:
            return self.foreground
        weights = labels.new_full((labels.shape[1], 1, 1), self.foreground)
        weights[-1] = 1
        return weights

    def _with_centre(self, image: Tensor) -> Tensor:
        if self.centre is None:
            return image
        height, width = image.shape[-2:]
        middle = torch.tensor([[(width - 1) / 2, (height - 1) / 2]], device=image.device)
        centre = heatmaps.gaussians(middle, (height, width), self.centre).to(image.dtype)  # (1, H, W)
        return torch.cat([image, centre.expand(len(image), 1, -1, -1)], dim=1)


def _checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    numbers = [w for w in weights if isinstance(w, int | float) and is_within(w, WEIGHT)]
    if len(numbers) < len(weights) or not any(numbers):
        raise RecipeError(
            f"task.stage_weights is {quoted(list(weights))}; it must be finite numbers {in_words(WEIGHT)}, at least "
            "one above 0"
        )
    return tuple(weights)


def _overhang(map_: int, image: int) -> float:
    """Pixels of the map, one side of it, that reach beyond the image, below 0 where it ends before the image does.

    So much further to the right than in the image's maps is everything in those of its mirror, turned back.
    """
    return map_ - image / map_stride(map_, image)


def _last_stage(output: Output) -> Tensor:
    return output.heatmaps[-1] if isinstance(output, Stages) else output
