from pathlib import Path

import pytest
import torch

from tests.training.toy_run import Loader, Task, make_job, network, prepare, same_bits
from unpool.errors import RecipeError
from unpool.training import speed
from unpool.training.loop import fit
from unpool.training.speed import allowed_formats, allowed_precisions, cache_folder, choose, has_fast_bf16

CPU = torch.device("cpu")


@pytest.fixture
def batch():
    return next(Loader().stream(0, 0, 1))


def chosen(model, batch, *, cache=None, precisions=("float32",), memory_formats=("contiguous", "channels_last")):
    return choose(
        model, Task(), batch, prepare=prepare, precisions=precisions, memory_formats=memory_formats, cache=cache
    )


def cpuinfo(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: X\nflags\t\t: fpu avx2 {flags} sse\n")
    return path


@pytest.mark.parametrize(("flags", "fast"), [("amx_bf16", True), ("avx512_bf16", True), ("avx512f", False)])
def test_fast_bf16_is_read_from_the_processors_flags(tmp_path, flags, fast):
    assert has_fast_bf16(CPU, cpuinfo=cpuinfo(tmp_path, flags)) is fast


def test_unknown_processor_is_taken_as_slow_in_bf16(tmp_path):
    assert has_fast_bf16(CPU, cpuinfo=tmp_path / "missing") is False


def test_emulated_bf16_is_refused_with_the_reason_unless_allowed(tmp_path):
    slow = cpuinfo(tmp_path, "avx512f")
    with pytest.raises(RecipeError, match=r"emulates bfloat16.*13 times slower.*allow_emulated=true"):
        allowed_precisions("bfloat16", CPU, cpuinfo=slow)
    assert allowed_precisions("bfloat16", CPU, allow_emulated=True, cpuinfo=slow) == ("bfloat16",)


def test_auto_offers_bf16_only_where_it_is_fast(tmp_path):
    assert allowed_precisions("auto", CPU, cpuinfo=cpuinfo(tmp_path, "avx512f")) == ("float32",)
    assert allowed_precisions("auto", CPU, cpuinfo=cpuinfo(tmp_path, "amx_bf16")) == ("float32", "bfloat16")


def test_float16_on_a_processor_and_unknown_names_are_refused():
    with pytest.raises(RecipeError, match="float16, which needs a GPU"):
        allowed_precisions("float16", CPU)
    with pytest.raises(RecipeError, match="'half'; choose auto, float32"):
        allowed_precisions("half", CPU)
    with pytest.raises(RecipeError, match="'nhwc'; choose auto, contiguous"):
        allowed_formats("nhwc")


def test_choice_is_the_fastest_candidate_by_a_clear_margin(monkeypatch, batch):
    times = iter([1.0, 0.97, 0.5, 0.4, 1.0, 0.97])
    monkeypatch.setattr(speed, "_time", lambda *_, **__: next(times))
    found = chosen(network(), batch, precisions=("float32", "bfloat16"))
    assert (found.precision, found.memory_format, found.seconds_per_step) == ("bfloat16", "channels_last", 0.4)
    assert found.measured == {
        "float32 contiguous": 1.0,
        "float32 channels_last": 0.97,
        "bfloat16 contiguous": 0.5,
        "bfloat16 channels_last": 0.4,
    }
    found = chosen(network(), batch)
    assert found.memory_format == "contiguous"


def test_choosing_leaves_the_network_and_the_generator_alone(batch):
    model = network()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    found = chosen(model, batch, precisions=("float32", "bfloat16"))
    assert same_bits(before, dict(model.state_dict()))
    assert torch.equal(torch.get_rng_state(), state)
    assert 0 < found.seconds_per_step < 5
    assert all(weight.grad is None for weight in model.parameters())


def test_choice_is_remembered_by_network_and_shapes(tmp_path, batch, monkeypatch):
    first = chosen(network(), batch, cache=tmp_path)
    monkeypatch.setattr(speed, "_time", lambda *_, **__: pytest.fail("measured again"))
    assert chosen(network(seed=5), batch, cache=tmp_path) == first
    monkeypatch.setattr(speed, "_time", lambda *_, **__: 3.0)
    smaller = {key: value[:2] for key, value in batch.items()}
    assert chosen(network(), smaller, cache=tmp_path).seconds_per_step == 3.0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"precision": "x"}', "\x00"])
def test_damaged_memory_is_measured_again(tmp_path, batch, content):
    chosen(network(), batch, cache=tmp_path)
    file = next(tmp_path.iterdir())
    file.write_text(content)
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert '"precision": "float32"' in file.read_text()


def test_cache_that_cannot_be_written_costs_nothing_else(tmp_path, batch):
    (tmp_path / "file").write_text("in the way")
    assert chosen(network(), batch, cache=tmp_path / "file").precision == "float32"


def test_cache_folder_follows_the_users_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "unpool" / "speed"


def test_chosen_settings_train():
    job = make_job(epochs=1, precision="bfloat16", memory_format="channels_last")
    fit(job)
    assert job.model[5].weight.dtype == torch.float32
