import errno
import json
import math
from pathlib import Path

import pytest
import torch

from tests.training.toy_run import Loader, Task, make_job, network, prepare, same_bits
from unpool import machine
from unpool.errors import RecipeError
from unpool.machine import cache_folder
from unpool.training import speed
from unpool.training.loop import fit
from unpool.training.speed import (
    allowed_formats,
    allowed_precisions,
    choose,
    has_fast_bf16,
    processor_name,
)

CPU = torch.device("cpu")


@pytest.fixture
def batch():
    return next(Loader().stream(0, 0, 1))


def chosen(model, batch, *, cache=None, precisions=("float32",), memory_formats=("contiguous", "channels_last")):
    return choose(
        model, Task(), batch, prepare=prepare, precisions=precisions, memory_formats=memory_formats, cache=cache
    )


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Puts a processor of the given flags in the place of this machine's."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPUINFO", path)

    def put(flags: str, *, key: str = "flags") -> None:
        path.write_text(f"processor\t: 0\nmodel name\t: X\n{key}\t\t: fpu avx2 {flags} sse\n")

    return put


@pytest.mark.parametrize(
    ("key", "flags", "fast"),
    [
        ("flags", "amx_bf16", True),
        ("flags", "avx512_bf16", True),
        ("flags", "avx512f", False),
        ("Features", "asimd bf16", True),
        ("Features", "asimd", False),
    ],
)
def test_fast_bf16_is_read_from_the_processors_flags(processor, key, flags, fast):
    processor(flags, key=key)
    assert has_fast_bf16(CPU) is fast


@pytest.mark.usefixtures("processor")
def test_unknown_processor_is_taken_as_slow_in_bf16():
    assert has_fast_bf16(CPU) is False


def test_processor_that_is_recorded_is_the_one_that_choices_are_remembered_by(processor):
    processor("avx2")
    assert processor_name(CPU) == machine.processor() == "X"


def test_emulated_bf16_is_refused_with_the_reason_unless_allowed(processor):
    processor("avx512f")
    with pytest.raises(RecipeError, match=r"emulates bfloat16.*13 times slower.*allow_emulated=true"):
        allowed_precisions("bfloat16", CPU)
    assert allowed_precisions("bfloat16", CPU, allow_emulated=True) == ("bfloat16",)


def test_auto_offers_bf16_only_where_it_is_fast(processor):
    processor("avx512f")
    assert allowed_precisions("auto", CPU) == ("float32",)
    processor("amx_bf16")
    assert allowed_precisions("auto", CPU) == ("float32", "bfloat16")


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


GOOD = {"format": 1, "precision": "float32", "memory_format": "contiguous", "seconds_per_step": 0.5, "measured": {}}
DAMAGED = [
    *("", "{", "[]", "null", '{"precision": "x"}', "\x00", "[" * 50_000, " " * 200_000),
    *(json.dumps(GOOD | change) for change in ({"format": 2}, {"precision": "int8"}, {"new": 1}, {"measured": [1]})),
    *(json.dumps(GOOD | {"seconds_per_step": value}) for value in (None, "1", -1.0, math.nan, math.inf, 1e300, True)),
    json.dumps(GOOD | {"measured": {"float32 contiguous": "fast"}}),
    json.dumps({key: value for key, value in GOOD.items() if key != "format"}),
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda text: repr(text[:60]))
def test_damaged_or_newer_memory_is_measured_again_and_said(tmp_path, batch, content, caplog):
    chosen(network(), batch, cache=tmp_path)
    file = next(tmp_path.iterdir())
    good = file.read_text()
    file.write_text(content)
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert f"the speed remembered in {file}" in caplog.text
    assert "measured anew" in caplog.text
    assert json.loads(file.read_text()).keys() == json.loads(good).keys()


def test_folder_in_the_file_of_a_memory_is_no_trouble(tmp_path, batch, caplog):
    chosen(network(), batch, cache=tmp_path)
    file = next(tmp_path.iterdir())
    file.unlink()
    file.mkdir()
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert "cannot be read (Is a directory): it is measured anew" in caplog.text


def test_memory_that_may_not_be_read_is_no_trouble(tmp_path, batch, caplog, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    chosen(network(), batch, cache=tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert "cannot be read (Permission denied): it is measured anew" in caplog.text


def test_memory_that_does_not_exist_yet_is_nothing_to_say(tmp_path, batch, caplog):
    chosen(network(), batch, cache=tmp_path)
    assert caplog.text == ""


def test_cache_that_cannot_be_written_costs_nothing_else(tmp_path, batch):
    (tmp_path / "file").write_text("in the way")
    assert chosen(network(), batch, cache=tmp_path / "file").precision == "float32"


def test_cache_folder_follows_the_users_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("speed") == tmp_path / "unpool" / "speed"


def test_cache_is_never_relative_to_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("speed") == tmp_path / ".cache" / "unpool" / "speed"
    monkeypatch.setenv("HOME", "somewhere")
    assert cache_folder("speed") is None


def test_chosen_settings_train():
    job = make_job(epochs=1, precision="bfloat16", memory_format="channels_last")
    fit(job)
    assert job.model[5].weight.dtype == torch.float32
