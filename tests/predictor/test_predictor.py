import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unpool.errors import DataError, ModelFileError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor
from unpool.predictor.images import read_image
from unpool.tasks import Classification, Segmentation
from unpool.tasks.people import People
from unpool.tasks.pose import Pose
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.types import GREY, RGB, CoordinateStages, DataInfo, FieldStages, Stages

INFO = DataInfo(classes=("dark", "bright", "red"))
PLAIN = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)


class Threshold(nn.Module):
    """Scores that can be read off the image: dark, bright or red, pixel by pixel."""

    stride = 8

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))
        self.sizes: list[tuple[int, int]] = []

    def forward(self, image):
        self.sizes.append((image.shape[-2], image.shape[-1]))
        red, green, blue = image.unbind(1)
        return torch.stack((1 - green - red, green + blue - 1, red - green), 1) * self.gain


class Pooled(Threshold):
    def forward(self, image):
        return super().forward(image).mean((2, 3))


def picture(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def predictor_of(preprocessing=PLAIN, model=None, **limits):
    task = Segmentation(INFO, preprocessing=preprocessing)
    return Predictor(model or Threshold(), preprocessing, INFO, task, **limits)


def expected_mask(image):
    red, green, blue = (image.float() / 255).unbind(0)
    return torch.stack((1 - green - red, green + blue - 1, red - green)).argmax(0).to(torch.uint8)


def test_mask_has_the_size_of_the_image_and_the_class_of_each_pixel():
    image = picture(33, 47)
    (answer,) = predictor_of()(image)
    assert torch.equal(answer["mask"], expected_mask(image))
    assert answer["mask"].dtype == torch.uint8
    assert answer["score"].shape == (33, 47)


@pytest.mark.parametrize("preprocessing", [PLAIN, Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, multiple=16)])
def test_large_image_in_tiles_gives_the_mask_of_one_pass(preprocessing):
    image = picture(75, 101)
    model = Threshold()
    (answer,) = predictor_of(preprocessing, model, limit=1024, tile=30, overlap=8)(image)
    assert torch.equal(answer["mask"], expected_mask(image))
    assert max(height * width for height, width in model.sizes) <= 1024


class OnGrid(Threshold):
    """Scores that depend on where a pixel lies in blocks of 48, as those of a network whose maps are of that stride."""

    def forward(self, image):
        height, width = image.shape[-2:]
        assert height % 48 == width % 48 == 0
        blocks = nn.functional.avg_pool2d(image, 48).repeat_interleave(48, 2).repeat_interleave(48, 3)
        return super().forward((image + blocks) / 2)


@pytest.mark.parametrize("normalization", ["channel", "image"])
def test_large_image_padded_to_a_multiple_gives_the_mask_of_one_pass_in_tiles(normalization):
    image = picture(331, 250)
    image[:, 100:] //= 3
    chosen = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, multiple=48, normalization=normalization)
    model = OnGrid()
    (whole,) = predictor_of(chosen, model)(image)
    assert model.sizes == [(336, 288)]
    (tiles,) = predictor_of(chosen, model, limit=1024, tile=100, overlap=8)(image)
    assert len(model.sizes) > 4
    assert torch.equal(tiles["mask"], whole["mask"])
    assert torch.allclose(tiles["score"], whole["score"], atol=1e-5)


def test_mask_of_a_fitted_image_has_its_size_and_nothing_of_the_bars():
    image = torch.full((3, 90, 40), 255, dtype=torch.uint8)
    fitted = Preprocessing(size_hw=(64, 64), rule="fit", mean=(0.0,) * 3, std=(1.0,) * 3)  # bars are dark
    for limit in (10_000, 2_000):
        (answer,) = predictor_of(fitted, limit=limit)(image)
        assert answer["mask"].shape == (90, 40)
        assert answer["mask"].eq(1).all()


def test_mask_of_a_shortened_image_has_its_size_and_nothing_of_what_it_is_padded_by():
    image = torch.full((3, 90, 40), 255, dtype=torch.uint8)
    shortened = Preprocessing(shorter=30, longest=60, multiple=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    for limit in (10_000, 2_000):
        model = Threshold()
        predictor = predictor_of(shortened, model, limit=limit)
        (answer,) = predictor(image)
        assert answer["mask"].shape == (90, 40)
        assert answer["mask"].eq(1).all()
        assert model.sizes == [(64, 32)]  # of 60 x 26
    assert "images whose sides are 30 and at most 60" in repr(predictor)


def test_resized_image_is_answered_at_its_own_size_in_bands_as_at_once():
    image = picture(90, 61)
    small = Preprocessing(size_hw=(24, 40), mean=(0.0,) * 3, std=(1.0,) * 3)
    model = Threshold()
    (once,) = predictor_of(small, model)(image)
    (bands,) = predictor_of(small, model, limit=1000)(image)
    assert once["mask"].shape == (90, 61)
    assert model.sizes == [(24, 40)] * 2
    assert torch.equal(once["mask"], bands["mask"])
    assert torch.allclose(once["score"], bands["score"], atol=1e-5)
    whole = nn.functional.interpolate(
        model(small.normalize(small.resize(image))[None]), (90, 61), mode="bilinear"
    ).argmax(1)[0]
    assert torch.equal(once["mask"], whole.to(torch.uint8))


def test_padding_up_to_a_multiple_leaves_no_trace_in_the_answer():
    image = picture(33, 47)
    model = Threshold()
    padded = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, multiple=32)
    (answer,) = predictor_of(padded, model)(image)
    assert model.sizes == [(64, 64)]
    assert torch.equal(answer["mask"], expected_mask(image))


def test_every_kind_of_image_gets_the_same_answer_in_order(tmp_path):
    image = picture(20, 30)
    values = image.permute(1, 2, 0).numpy()
    path = tmp_path / "x.png"
    Image.fromarray(values).save(path)
    kinds = [str(path), path, Image.fromarray(values), values, image, Image.fromarray(values).convert("RGBA")]
    answers = predictor_of()([*kinds, picture(5, 6)])
    assert all(torch.equal(answer["mask"], expected_mask(image)) for answer in answers[:-1])
    assert answers[-1]["mask"].shape == (5, 6)


def test_classification_answers_with_names_and_probabilities():
    model = Pooled()
    predictor = Predictor(model, PLAIN, INFO, Classification(INFO))
    bright, red = torch.full((3, 9, 9), 255, dtype=torch.uint8), torch.zeros(3, 9, 9, dtype=torch.uint8)
    red[0] = 255
    answers = predictor([bright, red])
    assert [answer["class"] for answer in answers] == ["bright", "red"]
    assert answers[1]["top_labels"][0] == answers[1]["label"] == 2
    assert sum(answers[0]["top_scores"]) == pytest.approx(1.0, abs=1e-5)
    assert answers[0]["score"] == answers[0]["top_scores"][0]


def test_predictor_restores_the_mode_of_every_module():
    model = nn.Sequential(Threshold(), nn.Dropout(0.9))
    model[0].eval()
    image = picture(8, 8)
    first, second = predictor_of(model=model)([image, image])
    assert torch.equal(first["score"], second["score"])
    assert model.training
    assert model[1].training
    assert not model[0].training


def test_masks_of_images_without_their_borders_are_refused():
    with pytest.raises(RecipeError, match="cover cuts borders off"):
        predictor_of(Preprocessing(size_hw=(8, 8), rule="cover"))


def test_scores_that_are_not_finite_are_an_error():
    model = Threshold()
    model.gain.data.fill_(float("nan"))
    with pytest.raises(ModelFileError, match="not finite"):
        predictor_of(model=model)(picture(8, 8))


class Given(nn.Module):
    """Answers the same for every image."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, image):
        return self.output


JOINTS = DataInfo(keypoints=("a", "b"), limbs=((0, 1),))
MAPS, FIELDS, PLACES = torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 4)


class Normed(Classification):
    """Answers depend on the other images of the batch where its norm trains, which one image alone has not."""

    def __init__(self, info):
        super().__init__(info)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, model, inputs):
        return self.norm(super().forward(model, inputs))


def test_task_answers_in_evaluation_mode_and_its_mode_is_restored():
    task = Normed(INFO)
    answer = Predictor(Pooled(), PLAIN, INFO, task).predict(picture(8, 8))
    assert sum(answer["top_scores"]) == pytest.approx(1)
    assert task.norm.training


class Written(Classification):
    """Writes its answer itself, and would turn NaN into a class."""

    def answer(self, model, inputs):
        return self.decode(model(inputs["image"])["logits"].nan_to_num(), inputs)


class Named(Pooled):
    def forward(self, image):
        return {"logits": super().forward(image), "names": ["a"]}


def test_network_that_is_not_finite_is_an_error_whoever_asks_it():
    model = Named()
    predictor = Predictor(model, PLAIN, INFO, Written(INFO))
    assert predictor.predict(picture(8, 8))["class"] in INFO.classes
    model.gain.data.fill_(torch.nan)
    with pytest.raises(ModelFileError, match="not finite"):
        predictor.predict(picture(8, 8))
    assert not model._forward_hooks


@pytest.mark.parametrize("wrong", ["nan", "inf"])
@pytest.mark.parametrize(
    ("task", "output"),
    [
        (Pose(JOINTS), lambda broken: Stages((MAPS[:, :2], MAPS[:, :2] + broken))),
        (PoseCoordinates(JOINTS), lambda broken: PLACES + broken),
        (PoseCoordinates(JOINTS), lambda broken: CoordinateStages((PLACES, PLACES + broken))),
        (People(JOINTS), lambda broken: FieldStages((FIELDS,), (MAPS + broken,))),
        (People(JOINTS), lambda broken: FieldStages((FIELDS + broken,), (MAPS,))),
    ],
)
def test_poses_that_are_not_finite_are_an_error_and_not_an_answer(task, output, wrong):
    assert Predictor(Given(output(0.0)), PLAIN, JOINTS, task).predict(picture(8, 8))["joints"] == ["a", "b"]
    with pytest.raises(ModelFileError, match="not finite"):
        Predictor(Given(output(float(wrong))), PLAIN, JOINTS, task).predict(picture(8, 8))


def test_grey_is_repeated_and_colour_becomes_luma():
    grey = torch.randint(0, 256, (7, 9), dtype=torch.uint8)
    assert torch.equal(read_image(grey, RGB), grey.expand(3, 7, 9))
    assert torch.equal(read_image(grey.numpy()[..., None], GREY), grey[None])
    red = torch.zeros(3, 2, 2, dtype=torch.uint8)
    red[0] = 255
    assert read_image(red, GREY).unique().tolist() == [76]  # 255 * 0.299, ITU-R 601


def test_exif_orientation_of_a_pil_image_is_applied():
    image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    image.getexif()[0x0112] = 6
    assert read_image(image, RGB).shape == (3, 6, 4)


@pytest.mark.parametrize(
    ("image", "error", "says"),
    [
        (np.zeros((4, 4, 3)), TypeError, "float64: expected uint8"),
        (torch.zeros(3, 4, 4), TypeError, r"torch\.float32: expected uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"\(2, 4, 4, 3\): expected one image"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), ValueError, r"\(2, 4, 4\): expected one image"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"\(0, 4, 3\)"),
        (Image.new("F", (4, 4)), DataError, "mode F"),
        (3.5, TypeError, "float is no image"),
    ],
)
def test_what_is_no_image_is_refused_with_what_is(image, error, says):
    with pytest.raises(error, match=says):
        read_image(image, RGB)
