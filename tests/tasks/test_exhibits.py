"""How each task shows one image in the report, and what it is compared with."""

import pytest
import torch

from unpool.ops.drawing import WRONG
from unpool.task import Baseline
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import SHOWN, Denoising
from unpool.tasks.people import People
from unpool.tasks.pose import Pose
from unpool.tasks.segmentation import Segmentation
from unpool.types import IGNORE, DataInfo

IMAGE = torch.full((3, 4, 6), 90, dtype=torch.uint8)


class Labels:
    def __init__(self, *labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def targets(self, index):
        return {"label": torch.tensor(self.labels[index])}


@pytest.mark.parametrize(("answer", "is_right"), [(0, False), (1, True)])
def test_photograph_is_shown_alone_with_truth_answer_and_whether_it_is_right(answer, is_right):
    task = Classification(DataInfo(classes=("ant", "bee")))
    shown = task.exhibit(IMAGE, {"label": torch.tensor(1)}, {"label": answer, "score": 0.625})
    assert [picture.shape for _, picture in shown.pictures] == [IMAGE.shape]
    assert shown.caption == f"truth: bee, answer: {('ant', 'bee')[answer]} 62.5%"
    assert shown.is_right is is_right


def test_most_frequent_class_of_training_is_what_a_classifier_is_compared_with():
    task = Classification(DataInfo(classes=("ant", "bee", "cow")))
    made = task.baseline(Labels(0, 1, 1, 1, 2), Labels(0, 0, 0, 1, 2), {})
    assert made == Baseline("top1", 0.2, "bee, the most frequent class, as every answer.")


def test_noisy_clean_and_answer_stand_side_by_side_with_their_psnr():
    clean = torch.full((1, 4, 6), 100, dtype=torch.uint8)
    noisy, answer = clean.float() + 25.5, (clean.float() + 2.55) / 255
    shown = Denoising(DataInfo()).exhibit(IMAGE, {"image": noisy, "clean": clean}, {"clean": answer})
    assert [label for label, _ in shown.pictures] == ["noisy, 20.00 dB", "clean", "result, 40.00 dB"]
    assert [int(picture[0, 0, 0]) for _, picture in shown.pictures] == [126, 100, 103]
    assert shown.is_exact


def test_psnr_beside_the_middle_of_a_large_image_is_of_the_whole_one():
    clean = torch.zeros(1, SHOWN + 10, SHOWN + 40, dtype=torch.uint8)
    clean[0, 5, 20] = 255
    noisy = clean.float()
    noisy[..., :5] += 25.5
    shown = Denoising(DataInfo()).exhibit(IMAGE, {"image": noisy, "clean": clean}, {"clean": clean / 255})
    assert {tuple(picture.shape) for _, picture in shown.pictures} == {(3, SHOWN, SHOWN)}
    assert shown.pictures[1][1][:, 0, 0].tolist() == [255, 255, 255]
    assert shown.caption == f"the middle of {SHOWN + 40} x {SHOWN + 10} pixels"
    assert shown.pictures[0][0] == "noisy, 38.57 dB"


def test_denoising_is_compared_with_the_images_as_they_are():
    task = Denoising(DataInfo())
    assert task.baseline(Labels(), Labels(), {"input_psnr": 20.2}).value == 20.2
    assert task.baseline(Labels(), Labels(), {"input_psnr": float("inf")}) is None


def test_map_of_errors_shows_wrong_pixels_and_none_without_a_label():
    task = Segmentation(DataInfo(classes=("sky", "road")))
    truth, answer = torch.zeros(4, 6, dtype=torch.int64), torch.zeros(4, 6, dtype=torch.int64)
    truth[0, :4], answer[1, :5] = IGNORE, 1
    shown = task.exhibit(IMAGE, {"mask": truth}, {"mask": answer})
    label, errors = shown.pictures[-1]
    assert (label, shown.caption) == ("errors", "75.0% of the labelled pixels right")
    assert torch.equal((errors == torch.tensor(WRONG)[:, None, None]).all(0), answer == 1)
    assert task.legend[-1] == ("wrong, on the map of errors", WRONG)
    assert [name for name, _ in task.legend[:-1]] == ["sky", "road"]


def test_pose_is_captioned_with_the_error_of_its_visible_joints():
    task = Pose(DataInfo(keypoints=("left_eye", "nose", "right_eye"), flip_pairs=((0, 2),)))
    target = {"keypoints": torch.zeros(3, 2), "visible": torch.tensor([True, True, False])}
    shown = task.exhibit(IMAGE, target, {"keypoints": [[3.0, 4.0], [0.0, 1.0], [900.0, 0.0]]})
    assert shown.caption == "mean error 3.0 pixels, 2 joints"
    assert [label for label, _ in shown.pictures] == ["image", "truth", "prediction"]
    assert [name for name, _ in task.legend] == ["the person's left", "the person's right", "neither side"]


def test_people_are_counted_in_truth_and_answer():
    task = People(DataInfo(keypoints=("neck", "hip"), limbs=((0, 1),)))
    person = [[1.0, 1.0], [4.0, 3.0]]
    shown = task.exhibit(IMAGE, {"people": torch.tensor([person])}, {"people": [person, person]})
    assert shown.caption == "people: 1 in truth, 2 in the answer"
