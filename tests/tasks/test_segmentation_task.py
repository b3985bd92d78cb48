import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.tasks.segmentation import Segmentation
from unpool.training.step import total_loss
from unpool.types import IGNORE, Auxiliary, DataInfo

INFO = DataInfo(classes=("ground", "square", "disc"), palette=((0, 0, 0), (255, 0, 0), (0, 255, 0)))


def batch_of(mask, *, image_hw=None, size_hw=None):
    sizes = [tuple(one.shape) for one in mask]
    return {
        "image": torch.zeros(len(mask), 3, *(image_hw or sizes[0])),
        "mask": mask,
        "size_hw": torch.tensor(size_hw or sizes),
        "index": torch.arange(len(mask)) + 10,
    }


def random_mask(*shape):
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0))


def test_segmentation_loss_is_that_of_the_mean_reduction():
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 3, 6, 7), random_mask(2, 6, 7)
    mask[0, 0] = IGNORE
    weights = [1.0, 2.0, 0.5]
    term = Segmentation(INFO, class_weights=weights).loss(logits, batch_of(mask))["cross_entropy"]
    expected = nn.functional.cross_entropy(logits, mask, torch.tensor(weights), ignore_index=IGNORE)
    assert (term.sum / term.count).item() == pytest.approx(expected.item(), rel=1e-5)


def test_segmentation_loss_accumulates_like_one_large_batch():
    torch.manual_seed(0)
    logits, mask = torch.randn(4, 3, 6, 7), random_mask(4, 6, 7)
    mask[1] = IGNORE
    task = Segmentation(INFO, class_weights=[1.0, 2.0, 0.5])
    whole = task.loss(logits, batch_of(mask))["cross_entropy"]
    parts = [task.loss(logits[i : i + 1], batch_of(mask[i : i + 1]))["cross_entropy"] for i in range(4)]
    total, count = sum(part.sum for part in parts), sum(part.count for part in parts)
    assert (total / count).item() == pytest.approx((whole.sum / whole.count).item(), rel=1e-5)


def test_segmentation_loss_of_auxiliary_heads_is_added_with_its_weight():
    torch.manual_seed(0)
    main, other, mask = *torch.randn(2, 2, 3, 6, 7), random_mask(2, 6, 7)
    mask[0, 0] = IGNORE
    terms = Segmentation(INFO, class_weights=[1.0, 2.0, 0.5]).loss(Auxiliary(main, (other,)), batch_of(mask))
    weights = torch.tensor([1.0, 2.0, 0.5])
    each = [nn.functional.cross_entropy(part, mask, weights, ignore_index=IGNORE) for part in (main, other)]
    assert list(terms) == ["cross_entropy", "auxiliary_1"]
    assert total_loss(terms).item() == pytest.approx((each[0] + 0.4 * each[1]).item(), rel=1e-5)


def test_segmentation_loss_refuses_auxiliary_scores_of_another_size():
    output = Auxiliary(torch.zeros(1, 3, 8, 8), (torch.zeros(1, 3, 4, 4),))
    with pytest.raises(RecipeError, match=r"scores are \(4, 4\), the mask is \(8, 8\)"):
        Segmentation(INFO).loss(output, batch_of(random_mask(1, 8, 8)))


@pytest.mark.parametrize("limit", [1000, 10])
def test_segmentation_leaves_auxiliary_heads_out_of_what_is_no_training(monkeypatch, limit):
    class Heads(nn.Module):
        def forward(self, image):
            return Auxiliary(image, (-image,))

    monkeypatch.setattr("unpool.tasks.segmentation.LIMIT", limit)
    task, batch = Segmentation(INFO), batch_of(random_mask(2, 4, 4))
    batch["image"] = torch.randn(2, 3, 4, 4)
    training = task.forward(Heads().train(), batch)
    assert isinstance(training, Auxiliary)
    found = task.forward(Heads().eval(), batch)
    assert torch.equal(found, batch["image"])
    assert torch.equal(task.decode(training, batch)["mask"], task.decode(found, batch)["mask"])


def test_segmentation_loss_of_all_ignored_masks_is_zero():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    term = Segmentation(INFO).loss(logits, batch_of(torch.full((2, 4, 4), IGNORE)))["cross_entropy"]
    (term.sum / term.count).backward()
    assert (term.sum / term.count).item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_segmentation_loss_refuses_scores_of_another_size_than_the_image():
    with pytest.raises(RecipeError, match=r"scores are \(4, 4\), the mask is \(8, 8\) .*upsample to the input size"):
        Segmentation(INFO).loss(torch.zeros(1, 3, 4, 4), batch_of(random_mask(1, 8, 8)))


def test_segmentation_loss_refuses_training_masks_of_another_size():
    batch = batch_of(random_mask(1, 8, 8), image_hw=(4, 4), size_hw=[(30, 30)])
    with pytest.raises(RecipeError, match="must agree"):
        Segmentation(INFO).loss(torch.zeros(1, 3, 4, 4), batch)


def test_segmentation_loss_refuses_another_number_of_classes():
    with pytest.raises(RecipeError, match=r"\(1, 5, 4, 4\) where \(B, 3, H, W\) was due.*num_classes=3"):
        Segmentation(INFO).loss(torch.zeros(1, 5, 4, 4), batch_of(random_mask(1, 4, 4)))


def test_segmentation_loss_names_the_sample_with_a_pixel_of_no_class():
    mask = random_mask(2, 4, 4)
    mask[1, 2, 2] = 3
    with pytest.raises(DataError, match=r"sample 11: mask \[3\], allowed are"):
        Segmentation(INFO).loss(torch.zeros(2, 3, 4, 4), batch_of(mask))
    with pytest.raises(DataError, match=r"sample 11: mask \[3\], allowed are"):
        Segmentation(INFO).loss(torch.zeros(2, 3, 4, 4), batch_of(list(mask)))


def test_segmentation_predicts_at_the_size_of_the_mask_resizing_scores_not_classes():
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 0, 0, 0] = 3.0  # left: ground by far
    logits[0, 2, 0, 1] = 1.0  # right: disc by little
    prediction = Segmentation(INFO).decode(logits, batch_of(random_mask(1, 1, 8), image_hw=(1, 2)))
    # bilinear scores at the 8 centres: ground 3 3 2.625 1.875 1.125 .375 0 0, disc 0 0 .125 .375 .625 .875 1 1
    assert prediction["mask"].tolist() == [[[0, 0, 0, 0, 0, 2, 2, 2]]]
    assert prediction["score"][0, 0, 0].item() == pytest.approx(torch.tensor([3.0, 0, 0]).softmax(0)[0].item())


def test_of_equal_classes_of_a_pixel_the_lower_is_answered():
    scores = torch.zeros(1, 3, 4, 4)
    scores[0, 1:, 2:] = 1.0
    answer = Segmentation(DataInfo(classes=("a", "b", "c"))).decode(scores, {"image": torch.zeros(1, 3, 4, 4)})
    assert answer["mask"][0].tolist() == [[0] * 4] * 2 + [[1] * 4] * 2


def test_segmentation_predicts_at_the_size_of_the_file_where_there_is_no_mask():
    batch = {"image": torch.zeros(2, 3, 4, 4), "size_hw": torch.tensor([[8, 6], [4, 10]])}
    prediction = Segmentation(INFO).decode(torch.randn(2, 3, 4, 4), batch)
    assert [tuple(mask.shape) for mask in prediction["mask"]] == [(8, 6), (4, 10)]
    assert [tuple(score.shape) for score in prediction["score"]] == [(8, 6), (4, 10)]


def test_masks_of_many_sizes_are_scored_one_by_one_as_in_a_batch():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4)
    masks = [random_mask(8, 6), random_mask(5, 9)]
    task = Segmentation(INFO)
    both = task.loss(logits, batch_of(masks, image_hw=(4, 4)))["cross_entropy"]
    each = [task.loss(logits[i : i + 1], batch_of(masks[i][None], image_hw=(4, 4)))["cross_entropy"] for i in range(2)]
    assert both.sum.item() == pytest.approx(sum(term.sum.item() for term in each), rel=1e-6)
    assert both.count.item() == 8 * 6 + 5 * 9
    metric = task.metric()
    metric.update(task.decode(logits, batch_of(masks, image_hw=(4, 4))), batch_of(masks, image_hw=(4, 4)))
    assert metric.confusion.counts.sum() == 8 * 6 + 5 * 9


def test_padding_up_to_a_multiple_is_cut_off_the_scores():
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 3, 8, 8), random_mask(1, 5, 7)
    padded = batch_of(mask, image_hw=(8, 8)) | {"valid_xyxy": torch.tensor([[0.0, 0, 7, 5]])}
    found = Segmentation(INFO).loss(logits, padded)["cross_entropy"]
    expected = Segmentation(INFO).loss(logits[..., :5, :7], batch_of(mask))["cross_entropy"]
    assert found.sum.item() == pytest.approx(expected.sum.item(), rel=1e-6)


def test_padding_of_a_resized_image_is_cut_off_before_scores_are_resized():
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 3, 8, 8), random_mask(1, 10, 14)
    padded = batch_of(mask, image_hw=(8, 8)) | {"valid_xyxy": torch.tensor([[0.0, 0, 7, 5]])}
    found = Segmentation(INFO).decode(logits, padded)
    expected = Segmentation(INFO).decode(logits[..., :5, :7], batch_of(mask, image_hw=(5, 7)))
    assert torch.equal(found["mask"], expected["mask"])


def test_images_of_several_sizes_in_one_batch_count_as_one_by_one_without_their_padding():
    torch.manual_seed(0)
    sizes, task = [(5, 7), (8, 3)], Segmentation(INFO)
    logits, masks = torch.randn(2, 3, 8, 8), [random_mask(*size) for size in sizes]
    valid = torch.tensor([[0.0, 0, width, height] for height, width in sizes])
    batch = batch_of(masks, image_hw=(8, 8)) | {"valid_xyxy": valid}
    together, answer = task.loss(logits, batch)["cross_entropy"], task.decode(logits, batch)
    noise = logits.clone()
    noise[0, :, 5:], noise[0, :, :, 7:], noise[1, :, :, 3:] = 99, 99, 99
    assert task.loss(noise, batch)["cross_entropy"].sum == together.sum
    for i, (height, width) in enumerate(sizes):
        alone = batch_of(masks[i][None], image_hw=(height, width))
        part = logits[i : i + 1, :, :height, :width]
        assert torch.equal(answer["mask"][i], task.decode(part, alone)["mask"][0])
        together = together._replace(sum=together.sum - task.loss(part, alone)["cross_entropy"].sum)
    assert abs(together.sum.item()) < 1e-4
    assert together.count.item() == 5 * 7 + 8 * 3


@pytest.mark.parametrize("band", [2**24, 60])
def test_scores_beside_a_fitted_image_do_not_enter_its_answer(monkeypatch, band):
    monkeypatch.setattr("unpool.tasks.segmentation.BAND", band)
    layout = Preprocessing(size_hw=(16, 16), rule="fit").layout((30, 19))
    logits = torch.full((1, 3, 16, 16), -50.0)
    logits[:, 2] = 50.0  # bars are discs
    logits[:, :2] = torch.where(layout.is_valid(), torch.rand(1, 2, 16, 16) + 60, logits[:, :2])
    batch = {"image": torch.zeros(1, 3, 16, 16), "valid_xyxy": layout.valid_xyxy, "size_hw": layout.size_hw}
    answer = Segmentation(INFO).decode(logits, batch)
    assert answer["mask"].shape == (1, 30, 19)
    assert answer["mask"].max() < 2
    expected = layout.maps_to_image(logits)[0].argmax(0)
    assert (answer["mask"][0] == expected).float().mean() > 0.99


class Masks(list):
    def targets(self, index):
        return self[index]


def test_median_weights_are_counted_in_the_training_set():
    masks = [torch.tensor([60 * [0] + 30 * [1] + 10 * [IGNORE]]), torch.tensor([10 * [2] + 10 * [IGNORE]])]
    samples = Masks({"mask": mask.to(torch.uint8)} for mask in masks)
    median = Segmentation(INFO, class_weights="median", samples=samples).class_weights
    root = Segmentation(INFO, class_weights="sqrt_median", samples=samples).class_weights
    assert median is not None
    assert root is not None
    frequencies = [60 / 90, 30 / 90, 1.0]
    assert median.tolist() == pytest.approx([(2 / 3) / f for f in frequencies])
    assert root.tolist() == pytest.approx([((2 / 3) / f) ** 0.5 for f in frequencies])
    assert Segmentation(INFO, class_weights="natural", samples=samples).class_weights is None


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(RecipeError, match=r"'mean'.*natural, median, sqrt_median or 3 numbers"):
        Segmentation(INFO, class_weights="mean")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="counted in the training set: give samples"):
        Segmentation(INFO, class_weights="median")
    with pytest.raises(RecipeError, match="2 to 255 classes"):
        Segmentation(DataInfo(classes=("one",)))
    with pytest.raises(RecipeError, match="auxiliary_weight is inf"):
        Segmentation(INFO, auxiliary_weight=float("inf"))
    with pytest.raises(RecipeError, match="cover cuts borders off"):
        Segmentation(INFO, preprocessing=Preprocessing(size_hw=(8, 8), rule="cover"))


def test_segmentation_draws_in_the_palette_of_the_data():
    drawn = Segmentation(INFO).draw(torch.zeros(3, 4, 4, dtype=torch.uint8), {"mask": torch.ones(4, 4)})
    assert drawn[:, 2, 2].tolist() == [128, 0, 0]


@pytest.fixture
def one_thread():
    """A team of threads for so small a network mostly waits for its slowest member."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_segmentation_learns_to_tell_squares_from_discs():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    task = Segmentation(INFO, class_weights=[0.5, 1.0, 1.0])
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 12, 7, padding=3),
        nn.ReLU(),
        nn.Conv2d(12, 3, 7, padding=3),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(60):
        batch = shapes(6, generator)
        (term,) = task.loss(task.forward(network, batch), batch).values()
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        optimizer.step()
    metric = task.metric()
    with torch.inference_mode():
        batch = shapes(32, generator)
        metric.update(task.decode(task.forward(network, batch), batch), batch)
    assert metric.compute()["mean_iou"] > 0.8


def shapes(number, generator):
    """Squares and discs of about one area and any colour on a darker ground, 24 x 24."""
    image = torch.rand(number, 3, 24, 24, generator=generator) * 0.2
    mask = torch.zeros(number, 24, 24, dtype=torch.int64)
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    for i in range(number):
        for kind, left in ((1, 0), (2, 12)) if i % 2 else ((2, 0), (1, 12)):
            centre_y, centre_x = 5 + torch.rand(2, generator=generator) * torch.tensor([13.0, 2.0])
            dy, dx = (y - centre_y).abs(), (x - centre_x - left).abs()
            inside = torch.maximum(dy, dx) < 3 if kind == 1 else dy**2 + dx**2 < 5**2
            mask[i][inside] = kind
            image[i][:, inside] += 0.4 + 0.4 * torch.rand(3, 1, generator=generator)
    return {"image": image, "mask": mask}


def test_evaluation_takes_a_large_image_in_tiles_and_training_takes_it_whole(monkeypatch):
    monkeypatch.setattr("unpool.tasks.segmentation.LIMIT", 1000)
    widths = []

    class Seen(nn.Conv2d):
        def forward(self, image):
            widths.append(image.shape[-1])
            return super().forward(image)

    torch.manual_seed(0)
    network, batch = Seen(3, 3, 3, padding=1).eval(), {"image": torch.randn(1, 3, 16, 1100)}
    task = Segmentation(INFO)
    with torch.no_grad():
        tiles = task.forward(network, batch)
        seen = list(widths)
        whole = task.forward(network.train(), batch)
    assert max(seen) <= 1024
    assert widths[-1] == 1100
    torch.testing.assert_close(tiles, whole)


def test_evaluation_counts_the_pixels_of_a_whole_batch_in_one_pass(monkeypatch):
    monkeypatch.setattr("unpool.tasks.segmentation.LIMIT", 700)
    counts = []

    class Seen(nn.Conv2d):
        def forward(self, image):
            counts.append(len(image))
            return super().forward(image)

    torch.manual_seed(0)
    network, batch = Seen(3, 3, 3, padding=1).eval(), {"image": torch.randn(5, 3, 16, 20)}
    with torch.no_grad():
        parts = Segmentation(INFO).forward(network, batch)
        torch.testing.assert_close(parts, nn.Conv2d.forward(network, batch["image"]))
        assert counts == [2, 2, 1]
        Segmentation(INFO).forward(network.train(), batch)
    assert counts[3:] == [5]


class Largest(TorchDispatchMode):
    """Numbers in the largest floating tensor that any operation gives and that is no view of `known`."""

    def __init__(self, known):
        super().__init__()
        self.known = known.untyped_storage().data_ptr()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            is_float = isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
            if is_float and tensor.untyped_storage().data_ptr() != self.known:
                self.numbers = max(self.numbers, tensor.numel())
        return result


@pytest.mark.parametrize("mask_hw", [(40, 30), (80, 50)])
@pytest.mark.parametrize("is_list", [False, True])
def test_large_scores_are_measured_in_bands_as_at_once(monkeypatch, mask_hw, is_list):
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 3, 40, 30), random_mask(2, *mask_hw)
    mask[0, 3:9] = IGNORE
    batch = batch_of(list(mask) if is_list else mask, image_hw=(40, 30))
    task = Segmentation(INFO, class_weights=[1.0, 2.0, 0.5])
    (whole,), answer = task.loss(logits, batch).values(), task.decode(logits, batch)
    monkeypatch.setattr("unpool.tasks.segmentation.BAND", 1200)
    with Largest(logits) as largest:
        (bands,), parts = task.loss(logits, batch).values(), task.decode(logits, batch)
    assert largest.numbers <= max(1200, mask.numel())  # the score of each pixel is part of the answer
    assert bands.sum.item() == pytest.approx(whole.sum.item(), rel=1e-5)
    assert bands.count.item() == pytest.approx(whole.count.item(), rel=1e-6)
    for found, expected in zip(parts["mask"], answer["mask"], strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(parts["score"], answer["score"], strict=True):
        torch.testing.assert_close(found, expected)


def test_gamma_that_the_loss_does_not_read_is_refused():
    with pytest.raises(RecipeError, match=r"task\.focal_gamma is 5\.0, which task\.loss cross_entropy does not read"):
        Segmentation(INFO, focal_gamma=5.0)
    assert Segmentation(INFO, loss="focal", focal_gamma=5.0).focal_gamma == 5
