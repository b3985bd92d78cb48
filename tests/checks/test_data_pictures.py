"""Pictures against pictures, targets against pictures: each mistake is named, and its healthy twin passes."""

import pytest
import torch
from PIL import Image
from torch import nn

from tests.checks.made import Samples, blobs, drawn, found, setup, striped
from unpool.checks.alignment import look_alignment, look_pairing
from unpool.checks.learnable import look_order, look_sides
from unpool.checks.outlines import outlined
from unpool.checks.pictures_alike import look_constant, look_copies, look_subjects
from unpool.checks.seen import Seen
from unpool.checks.simple_learner import features_of, fit, one_hot
from unpool.checks.source import Source
from unpool.checks.wrong_labels import look_noise


@pytest.mark.parametrize(
    ("copied", "verdict", "cause"),
    [
        (lambda images: images[:0], "pass", ""),
        (lambda images: images[:8], "fail", "data.leak"),
        (lambda images: images[:8].flip(-1) * 0.97, "fail", "data.leak"),
        (lambda images: images[:8].roll(4, -1), "pass", ""),
    ],
)
def test_copies_in_validation_are_found_upright_and_mirrored(copied, verdict, cause):
    train = drawn(60, 1)
    val = torch.cat([drawn(40, 2), copied(train)])
    (finding,) = look_copies(setup(Samples(train, torch.zeros(60).long()), Samples(val, torch.zeros(len(val)).long())))
    assert (finding.verdict, finding.cause) == (verdict, cause)
    assert len(finding.pictures) == (6 if cause else 0)


def test_one_copy_in_two_hundred_is_a_warning():
    train, val = drawn(20, 1), drawn(200, 2)
    val[7] = train[3]
    (finding,) = look_copies(setup(Samples(train, torch.zeros(20).long()), Samples(val, torch.zeros(200).long())))
    assert finding.verdict == "warn"
    assert finding.evidence == ("val, sample 7 is train, sample 3",)
    assert [name for name, _ in finding.pictures] == ["train, sample 3", "val, sample 7"]


def scenes(count, seed):
    """Photographs with details as well as light and shade."""
    generator = torch.Generator().manual_seed(seed)
    details = nn.functional.interpolate(torch.rand(count, 1, 11, 11, generator=generator), (32, 32), mode="bilinear")
    return (0.3 * drawn(count, seed) + 0.6 * details).clamp(0, 1)


@pytest.mark.parametrize(("strength", "causes"), [(0.6, ["data.leak"]), (None, [""])])
def test_scene_taken_again_is_a_warning_that_shows_both_pictures(strength, causes):
    train, val = scenes(60, 1), scenes(30, 2)
    if strength is not None:
        val[4] = 0.4 + strength * (train[9] - 0.5) + 0.01 * drawn(1, 3)[0]
    (finding,) = look_copies(setup(Samples(train, torch.zeros(60).long()), Samples(val, torch.zeros(30).long())))
    assert found(finding) == causes
    if strength is not None:
        assert finding.verdict == "warn"
        assert finding.evidence[0].startswith("val, sample 4 and train, sample 9")
        assert [name for name, _ in finding.pictures] == ["train, sample 9", "val, sample 4"]
        assert torch.equal(finding.pictures[0][1].float().std().round(), finding.pictures[1][1].float().std().round())


def test_scenes_that_are_all_alike_are_not_taken_again():
    base = scenes(4, 1).repeat(16, 1, 1, 1)
    train, val = base + 0.1 * drawn(64, 2), (base + 0.1 * drawn(64, 3))[:32]
    assert found(look_copies(setup(Samples(train, torch.zeros(64).long()), Samples(val, torch.zeros(32).long())))) == [
        ""
    ]


def test_light_and_shade_in_common_are_no_scene_taken_again():
    train, val = scenes(60, 1), scenes(30, 2)
    light = torch.linspace(-1, 1, 32).expand(3, 32, 32)
    train[3], val[5] = (light + 0.6 * one for one in (train[3], val[5]))
    assert found(look_copies(setup(Samples(train, torch.zeros(60).long()), Samples(val, torch.zeros(30).long())))) == [
        ""
    ]


def test_copies_that_a_scan_saw_are_named_and_those_to_be_searched_among_are_none():
    train, val = drawn(60, 1), drawn(40, 2)
    data = Samples(train, torch.zeros(60).long()), Samples(val, torch.zeros(40).long())
    (finding,) = look_copies(setup(*data, facts={"copies": (("a/1.png", "b/2.png", "mirrored"),)}))
    assert finding.cause == "data.leak"
    assert finding.evidence == ("b/2.png is a/1.png (mirrored)",)
    val[:30] = train[:30]
    assert found(look_copies(setup(*data, facts={"enrolled": tuple(range(30))}))) == [""]
    assert found(look_copies(setup(*data, facts={"enrolled": tuple(range(29))}))) == ["data.leak"]


def written(folder, *, kind, name):
    """Photographs as JPEG files, and one picture of a few letters on white."""
    folder.mkdir()
    images = [*scenes(59, 1), torch.full((3, 32, 32), 0.97)]
    images[-1][:, 14:17, 6:26:3] = 0.3
    data = Samples(images, [torch.tensor(0)] * 60)
    data.samples = [(str(folder / f"photo{i}.jpg"), 0) for i in range(59)] + [(str(folder / name), 0)]
    for image, (path, _) in zip(images, data.samples, strict=True):
        pixels = Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy())
        pixels.save(path, format=kind if path.endswith(name) else "JPEG")
    return data


@pytest.mark.parametrize(
    ("kind", "name", "causes"),
    [
        ("GIF", "x1.gif", ["data.constant"]),
        ("PNG", "x1.jpg", ["data.constant"]),
        ("JPEG", "imageNotFound.jpg", ["data.constant"]),
        ("JPEG", "x1.jpg", [""]),
    ],
)
def test_notice_in_the_stead_of_a_photograph_is_named_where_its_file_tells_it(tmp_path, kind, name, causes):
    findings = look_constant(setup(written(tmp_path / "set", kind=kind, name=name)))
    assert found(findings) == causes
    if causes[0]:
        assert findings[0].verdict == "warn"
        assert name in findings[0].evidence[0]
        assert len(findings[0].pictures) == 1


def listed(folder, names, images):
    """A data set that lists its files, and yields pictures in which none is known again, as after a crop."""
    data = Samples(images, torch.zeros(len(images)).long())
    data.samples = [(str(folder / name), 0) for name in names]
    return data


@pytest.mark.parametrize(
    ("names", "verdict", "cause"),
    [
        (["a0", "a1", "a2"], "fail", "data.leak"),
        (["b0", "copy_of_a1"], "fail", "data.leak"),
        (["b0", "b1"], "pass", ""),
        (["missing", "b1"], "pass", ""),
    ],
    ids=["the same files", "a copy of one", "others", "one that is not there"],
)
def test_files_in_both_splits_are_found_though_they_are_augmented(tmp_path, names, verdict, cause):
    for name in ("a0", "a1", "a2", "b0", "b1"):
        (tmp_path / name).write_bytes(name.encode() * 9)
    (tmp_path / "copy_of_a1").write_bytes(b"a1" * 9)
    train = listed(tmp_path, ["a0", "a1", "a2", "gone"], drawn(4, 1))
    (finding,) = look_copies(setup(train, listed(tmp_path, names, drawn(len(names), 2))))
    assert (finding.verdict, finding.cause) == (verdict, cause)


def test_one_file_that_holds_all_samples_of_both_splits_is_no_leak(tmp_path):
    (tmp_path / "set.h5").write_bytes(b"all")
    train, val = (listed(tmp_path, ["set.h5"] * 5, drawn(5, seed)) for seed in (1, 2))
    assert found(look_copies(setup(train, val))) == [""]


@pytest.mark.parametrize(("same", "verdict"), [(0, "pass"), (2, "pass"), (8, "warn"), (40, "fail")])
def test_pictures_that_do_not_differ_are_counted(same, verdict):
    images = drawn(60, 1)
    images[:same] = images[0].clone()
    assert [one.verdict for one in look_constant(setup(Samples(images, torch.zeros(60).long())))] == [verdict]


def videos(folder, *, apart):
    """Frames of 20 videos, named so, divided by video or at random."""
    scenes = drawn(20, 1, size=40)
    generator = torch.Generator().manual_seed(2)
    splits = {"train": [], "val": []}
    for video, scene in enumerate(scenes):
        for frame in range(6):
            top, left = torch.randint(0, 3, (2,), generator=generator).tolist()
            split = ("val" if video % 4 == 0 else "train") if apart else ("val" if frame == 3 else "train")
            path = folder / split / "cat" / f"v{video:02d}_{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(path.name.encode())
            splits[split].append((scene[:, top : top + 32, left : left + 32], str(path)))
    made = []
    for samples in splits.values():
        data = Samples([image for image, _ in samples], [torch.tensor(0)] * len(samples))
        data.samples = [(name, 0) for _, name in samples]
        made.append(data)
    return setup(*made, form="class")


def test_subjects_by_name_count_where_their_pictures_are_near(tmp_path):
    assert found(look_subjects(videos(tmp_path / "a", apart=True))) == [""]
    assert found(look_subjects(videos(tmp_path / "b", apart=False))) == ["data.subject_leak"]


def test_equal_names_of_pictures_that_have_nothing_in_common_are_no_subjects(tmp_path):
    run = videos(tmp_path, apart=False)
    run.val.dataset.images = list(drawn(len(run.val), 9))
    assert found(look_subjects(run)) == [""]


def test_identities_of_strangers_are_not_learned():
    def people(first, seed):
        return Samples(drawn(40, seed), first + torch.arange(40) % 10)

    assert found(look_subjects(setup(people(0, 1), people(10, 2), form="vector"))) == [""]
    assert found(look_subjects(setup(people(0, 1), people(0, 2), form="vector"))) == ["data.subject_leak"]


MOVED = {
    "as they are": (lambda masks: masks, ""),
    "transposed": (lambda masks: masks.mT, "data.mask_misaligned"),
    "mirrored": (lambda masks: masks.flip(-1), "data.mask_misaligned"),
    "shifted": (lambda masks: masks.roll((4, 5), (-2, -1)), "data.mask_misaligned"),
    "a third upside down": (
        lambda masks: torch.where(torch.arange(len(masks))[:, None, None] % 3 == 0, masks.flip(-1, -2), masks),
        "data.mask_size",
    ),
}


@pytest.mark.parametrize("name", MOVED)
def test_masks_that_lie_elsewhere_are_found_by_the_edges_of_pictures(name):
    images, masks = blobs(60, 1)
    change, cause = MOVED[name]
    assert found(look_alignment(setup(Samples(images, change(masks).contiguous()), form="class map"))) == [cause]


@pytest.mark.parametrize(("moved", "cause"), [(0, ""), (6, "data.mask_misaligned")])
def test_masks_with_void_along_their_borders_lie_right(moved, cause):
    images, masks = blobs(60, 1)
    edges = (masks != masks.roll(1, 1)) | (masks != masks.roll(1, 2))
    band = nn.functional.max_pool2d(edges[:, None].float(), 5, 1, 2)[:, 0] > 0
    masks = masks.masked_fill(band, 255).roll(moved, -1)
    assert found(look_alignment(setup(Samples(images, masks), form="class map"))) == [cause]


@pytest.mark.parametrize(("order", "cause"), [(1, "data.target_mismatch"), (0, "")])
def test_masks_of_other_pictures_are_found_and_shown(order, cause):
    images, masks = blobs(60, 1)
    finding = look_pairing(setup(Samples(images, masks.roll(order, 0)), Samples(*blobs(30, 2)), form="class map"))
    assert finding.cause == cause
    assert not order or "the one +1 further" in finding.about
    assert len(finding.pictures) == 6 * order


def test_clean_pictures_of_others_are_found():
    clean = drawn(40, 1)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert found(look_pairing(setup(Samples(noisy, clean), form="picture"))) == [""]
    assert found(look_pairing(setup(Samples(noisy, clean.roll(3, 0)), form="picture"))) == ["data.target_mismatch"]


def discs(count, seed, size=64):
    """Pictures of three discs on a ground, and the middle of each: no edge lies there, but all around."""
    generator = torch.Generator().manual_seed(seed)
    images, points = drawn(count, seed, size=size) * 0.5, torch.randint(8, 56, (count, 3, 2), generator=generator)
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy"), -1)
    is_inside = (grid - points[:, :, None, None]).square().sum(-1) <= 9
    return (images + 0.4 * is_inside.any(1)[:, None]).clamp(0, 1), points.float()


@pytest.mark.parametrize(
    ("change", "cause"),
    [(lambda points: points, ""), (lambda points: points.flip(-1), "data.mask_misaligned")],
    ids=["as they are", "rows first"],
)
def test_joints_lie_in_the_middle_of_edges(change, cause):
    images, points = discs(60, 1)
    assert found(look_alignment(setup(Samples(images, change(points)), form="points"))) == [cause]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda clean: clean, ""),
        (lambda clean: clean.roll((3, 3), (-2, -1)), "data.mask_misaligned"),
        (lambda clean: nn.functional.interpolate(clean, scale_factor=2.0, mode="bilinear"), ""),
        (lambda clean: torch.cat([clean[:20], clean[20:].flip(-1)]).repeat_interleave(2, -1), "data.mask_misaligned"),
    ],
    ids=["as it is", "another exposure", "larger", "larger and mirrored in a half"],
)
def test_picture_to_be_answered_lies_on_the_input_of_whatever_size(change, cause):
    clean = blobs(40, 1)[0]
    noisy = clean + 0.03 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert found(look_alignment(setup(Samples(noisy, change(clean)), form="picture"))) == [cause]


def test_targets_without_a_trace_in_the_pictures_are_not_accused():
    images, masks = drawn(40, 1, size=48), blobs(40, 2)[1]
    run = setup(Samples(images, masks), Samples(drawn(30, 3, size=48), blobs(30, 4)[1]), form="class map")
    assert found(look_alignment(run)) + found(look_pairing(run)) == ["", ""]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda labels: labels, ""),
        (lambda labels: labels.roll(1), "data.target_mismatch"),
        (
            lambda labels: labels[torch.randperm(200, generator=torch.Generator().manual_seed(0))],
            "data.target_mismatch",
        ),
    ],
)
def test_labels_of_neighbours_or_of_anybody_are_told_from_right_ones(change, cause):
    images, labels = striped(200, 1)
    assert found(look_order(setup(Samples(images, change(labels)), Samples(*striped(150, 7)), form="class"))) == [cause]


def test_what_a_simple_learner_cannot_learn_is_not_accused():
    labels = torch.randint(3, (200,), generator=torch.Generator().manual_seed(3))
    run = setup(Samples(drawn(200, 1), labels), Samples(drawn(150, 2), labels[:150]), form="class")
    assert found(look_order(run)) == [""]


def test_wrong_labels_are_listed_the_surest_first():
    images, labels = striped(240, 1)
    wrong = torch.arange(240) % 12 == 5
    noisy = torch.where(wrong, (labels + 1) % 3, labels)
    val = Samples(*striped(150, 7))
    assert found(look_noise(setup(Samples(images, labels), val, form="class"))) == [""]
    finding = look_noise(setup(Samples(images, noisy), val, form="class", classes=("a", "b", "c")))
    assert (finding.verdict, finding.cause) == ("warn", "data.label_noise")
    listed = {int(line.split("sample ")[1].split(":")[0]) for line in finding.evidence}
    right = listed & set(wrong.nonzero().flatten().tolist())
    assert len(right) >= 0.9 * len(listed)
    assert len(right) >= 0.8 * int(wrong.sum())


def people(count, seed, *, exchanged=0.0):
    """A head that says which way somebody looks, and hands of two sides: (N, 4, 2) head, left, right, feet."""
    generator = torch.Generator().manual_seed(seed)
    images, points = 0.4 * drawn(count, seed, size=48), torch.zeros(count, 4, 2)
    for image, joints in zip(images, points, strict=True):
        faces = bool(torch.rand(1, generator=generator) < 0.5)
        x, y = (18 + 10 * torch.rand(2, generator=generator)).tolist()
        joints[:] = torch.tensor([[x, y - 8], [x + 10, y], [x - 10, y], [x, y + 10]])
        if not faces:
            joints[[1, 2]] = joints[[2, 1]]
        for joint, (column, row) in enumerate(joints.round().int().tolist()):
            image[:, row - 2 : row + 3, column - 2 : column + 3] = 1.0 if joint or faces else 0.0
        if torch.rand(1, generator=generator) < exchanged:
            joints[[1, 2]] = joints[[2, 1]]
    return Samples(images, points)


@pytest.mark.parametrize(("exchanged", "cause"), [(0.0, ""), (0.5, "data.left_right")])
def test_left_and_right_exchanged_in_a_part_of_training_are_found(exchanged, cause):
    run = setup(people(160, 1, exchanged=exchanged), people(100, 2), form="points")
    assert found(look_sides(run)) == [cause]


def test_a_sample_is_predicted_from_the_others_as_if_it_had_been_left_out():
    images, labels = striped(40, 1)
    features, filters = features_of(images)
    targets = one_hot(labels, 3)
    whole = fit(features, targets)
    rest = torch.arange(40) != 5
    normed = (features.double() - whole.mean) / whole.deviation
    kernel, centred = normed @ normed.T, targets - targets.mean(0)
    others = kernel[rest][:, rest] + whole.penalty * torch.eye(39, dtype=torch.float64)
    alone = kernel[5, rest] @ torch.linalg.inv(others) @ centred[rest]
    assert torch.allclose(whole.left_out(targets)[5], alone + targets.mean(0), atol=1e-8)
    assert features_of(images[:3], filters)[0].shape == features[:3].shape


def test_a_split_that_is_no_pictures_is_left_alone():
    run = setup([(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))], form="class", model=nn.Conv2d(1, 2, 3))
    assert isinstance(run.seen, Seen)
    table = Samples(torch.rand(80, 7), torch.arange(80) % 2)
    run = setup(table, table, form="class", model=nn.Linear(7, 2))
    verdicts = [look(run).verdict for look in (look_order, look_noise, look_pairing)]
    verdicts += [one.verdict for look in (look_copies, look_constant) for one in look(run)]
    assert set(verdicts) == {"not applicable"}


@pytest.mark.parametrize("first", ["000001", 3, torch.zeros(3, 8, 8)])
def test_samples_that_are_no_files_are_not_taken_for_files(first):
    """A name without its folder, a number or a picture in memory stands where torchvision's folders have a path."""
    data = Samples(drawn(8, 1), torch.zeros(8).long())
    data.samples = [(first, 0)] * 8
    assert Source(data, name="train").files() is None


def test_samples_that_are_files_are(tmp_path):
    data = Samples(drawn(2, 1), torch.zeros(2).long())
    (tmp_path / "a.png").write_bytes(b"")
    data.samples = [(str(tmp_path / "a.png"), 0), (tmp_path / "gone.png", 0)]
    assert Source(data, name="train").files() == [str(tmp_path / "a.png"), str(tmp_path / "gone.png")]


def test_texts_of_four_signs_are_no_boxes():
    texts = torch.randint(0, 32, (30, 4), generator=torch.Generator().manual_seed(0))
    assert outlined(setup(Samples(drawn(30, 1), texts), form="tokens").seen, "tokens") is None
    assert (
        outlined(setup(Samples(drawn(30, 1), texts.float().sort(1).values), form="numbers").seen, "numbers") is not None
    )
