"""Pose of one person by coordinates: DeepPose (Toshev & Szegedy 2014, arXiv:1312.4659).

x and y of each joint run from -0.5 to 0.5 across the input: the paper's N(y; b) with the input as the box b.
"""

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.regression_losses import NEAR_SIDES, RegressionLoss, check_regression_loss, regression_errors
from unpool.tasks.joints import Joints
from unpool.types import Batch, CoordinateStages, DataInfo, Losses, Prediction, Term

Output = Tensor | CoordinateStages
WHOLE = (1, 1)  # the input as one pixel, from -0.5 to 0.5


class PoseCoordinates(Joints):
    """Squared distance of each visible joint, shares of right joints.

    Args:
        info: names of the joints, those that trade places in a mirror, and limbs.
        loss: of x and y of a joint, added: "mse", their squared distance, as the paper has it; "mae", or "huber", which
            is squared up to a twentieth of the input.
        flip_test: answer outside of training by the mean of image and mirrored image.
        preprocessing: what the images go through.
    """

    takes = ("coordinates",)

    def __init__(
        self,
        info: DataInfo,
        *,
        loss: RegressionLoss = "mse",
        flip_test: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__(info, preprocessing, flip_test=flip_test)
        self.loss_kind: RegressionLoss = check_regression_loss("task.loss", loss)

    @property
    def outputs(self) -> int:
        """Joints of which the network must give coordinates."""
        return len(self.info.keypoints)

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        """Coordinates (B, 2K), in training of every stage; outside of it the last's, with those of the mirror."""
        image = inputs["image"]
        if model.training:
            return model(image)
        coordinates = _last_stage(model(image))
        if not self.flip_test:
            return coordinates
        mirrored = _last_stage(model(image.flip(-1))).unflatten(1, (-1, 2))[:, self.order]
        return (coordinates + (mirrored * mirrored.new_tensor([-1.0, 1.0])).flatten(1)) / 2

    def loss(self, output: Output, batch: Batch) -> Losses:
        """Errors of visible joints, in sides of the image, of the answer or of each stage."""
        if not isinstance(output, CoordinateStages):
            return {"coordinates": self._term(output, batch)}
        stages = enumerate(output.coordinates, start=1)
        return {f"stage_{number}": self._term(coordinates, batch) for number, coordinates in stages}

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """keypoints (B, K, 2) on the image as decoded, and score (B, K), 1 where a joint is given within the image."""
        coordinates = _last_stage(output).float().unflatten(1, (-1, 2))
        inside = (coordinates.abs() <= 0.5).all(2)
        return {"keypoints": Layout.of(inputs).points_to_image(coordinates, WHOLE), "score": inside.float()}

    def _term(self, coordinates: Tensor, batch: Batch) -> Term:
        if coordinates.dim() != 2 or coordinates.shape[1] != 2 * self.outputs:
            raise RecipeError(
                f"the network gives {tuple(coordinates.shape)} where (B, {2 * self.outputs}) was due; build one of "
                f"coordinates with num_classes={self.outputs}"
            )
        target, visible = Layout.of(batch).points_to_input(batch["keypoints"], WHOLE), batch["visible"]
        answered = coordinates.float().unflatten(1, (-1, 2))
        errors = regression_errors(answered, target, self.loss_kind, delta=NEAR_SIDES).sum(2)  # (B, K)
        return Term(torch.where(visible, errors, 0.0).sum(), visible.sum().float())


def _last_stage(output: Output) -> Tensor:
    return output.coordinates[-1] if isinstance(output, CoordinateStages) else output
