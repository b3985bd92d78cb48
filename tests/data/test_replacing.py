"""An image that cannot be read is replaced by a rule of seed, epoch and position, whoever reads it."""

import pytest
import torch

from tests.data.loading import Numbers, plain
from unpool.data.contents import Changed
from unpool.data.image_file import Unreadable
from unpool.data.loader import Loader
from unpool.data.order import Sequential
from unpool.data.replacing import Replacing
from unpool.errors import EnvironmentFault
from unpool.types import Sample


class Damaged(Numbers):
    """Some numbers cannot be read."""

    def __init__(self, *bad: int, size: int = 23, error: type[Exception] | None = None) -> None:
        super().__init__(size)
        self.bad, self.error = bad, error

    def __getitem__(self, index: int) -> Sample:
        if index in self.bad:
            raise self.error("changed") if self.error else Unreadable(self.names[index], "damaged PNG file: short")
        return super().__getitem__(index)


def replacing(samples: Numbers, *, seed: int = 0, groups: list[int] | None = None) -> Replacing:
    return Replacing(samples, seed=seed, groups=torch.tensor(groups or [0] * len(samples)))


def streamed(samples: Replacing, *, workers: int, epoch: int = 0, position: int = 0, batch: int = 4) -> list[dict]:
    loader = Loader(samples, plain, order=Sequential(len(samples), batch=batch), workers=workers)
    try:
        return list(loader.stream(epoch, position, 3))
    finally:
        loader.close()


def equal(one: list[dict], other: list[dict]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(a[key].equal(b[key]) for key in a) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 4))])
def test_replacements_are_the_same_for_every_number_of_workers(workers):
    alone = streamed(replacing(Damaged(3, 4, 11)), workers=0)
    assert sum(int((batch["replaced"] >= 0).sum()) for batch in alone if "replaced" in batch) == 9
    assert equal(streamed(replacing(Damaged(3, 4, 11)), workers=workers), alone)


def test_replacements_do_not_depend_on_where_a_run_begins_or_how_batches_are_cut():
    samples = replacing(Damaged(3, 4, 11))
    whole = streamed(samples, workers=0)
    assert equal(streamed(samples, workers=0, epoch=1, position=2), whole[8:])
    fine = torch.cat([batch["index"] for batch in streamed(samples, workers=0, batch=1)])
    assert fine.equal(torch.cat([batch["index"] for batch in whole]))


def test_replaced_sample_is_named_and_the_rest_are_themselves():
    batches = streamed(replacing(Damaged(5)), workers=0)
    for step, batch in enumerate(batches):
        first = step % 6 * 4
        asked = batch.get("replaced", torch.full_like(batch["index"], -1))
        for slot, (position, index) in enumerate(zip(asked.tolist(), batch["index"].tolist(), strict=True)):
            assert position == (5 if first + slot == 5 else -1)
            assert (index == first + slot) == (position == -1)
            assert int(batch["image"][slot, 0, -1, 0]) == index


def test_seed_and_epoch_draw_another_replacement():
    by = [int(replacing(Damaged(5), seed=seed).read(5, epoch)["index"]) for seed in range(8) for epoch in range(8)]
    assert 5 not in by
    assert len(set(by[:8])) > 3
    assert len(set(by[::8])) > 3


def test_replacement_is_of_the_same_group_and_can_be_read_itself():
    groups = [i % 3 for i in range(23)]
    bad = [i for i in range(23) if i % 3 == 1 and i != 13]
    samples = replacing(Damaged(*bad), groups=groups)
    assert {int(samples.read(i, epoch)["index"]) for i in bad for epoch in range(5)} == {13}


def test_group_without_another_readable_sample_is_an_error_that_names_the_file():
    for bad, groups in (((5,), [i == 5 for i in range(23)]), (range(23), [0] * 23)):
        samples = replacing(Damaged(*bad), groups=list(map(int, groups)))
        with pytest.raises(Unreadable, match=r"number/5\.png: damaged PNG file: short"):
            samples.read(5, 0)


def test_changed_file_is_never_replaced():
    samples = replacing(Damaged(5, error=Changed))
    with pytest.raises(Changed):
        samples.read(5, 0)


def test_each_unreadable_image_is_reported_once_with_its_reason(caplog):
    streamed(replacing(Damaged(3, 11)), workers=0)
    lines = [line for line in caplog.messages if "cannot be read" in line]
    assert len(lines) == 2
    assert lines[0].startswith("number/3.png cannot be read (damaged PNG file: short): replaced by number/")


def test_image_that_the_machine_cannot_open_is_not_replaced():
    class Exhausted(Numbers):
        def __getitem__(self, index: int) -> Sample:
            if index == 0:
                raise Unreadable(self.names[index], "cannot read (Too many open files)")
            return super().__getitem__(index)

    with pytest.raises(EnvironmentFault, match=r"raise `ulimit -n`"):
        replacing(Exhausted(5)).read(0, 0)
