import pytest
import torch

from tests.training.toy_run import Loader, Task, make_job, network, prepare, same_bits
from unpool import machine
from unpool.errors import RecipeError
from unpool.training import speed
from unpool.training.loop import fit
from unpool.training.remembered_speed import processor_name
from unpool.training.speed import allowed_formats, allowed_precisions, choose, has_fast_bf16

CPU = torch.device("cpu")
FLOAT = {"precision": "float32", "memory_format": "contiguous"}


@pytest.fixture(autouse=True)
def _whole_timing(monkeypatch):
    monkeypatch.setattr(speed, "ENOUGH_S", 5.0)
    monkeypatch.setattr(speed, "SAMPLE_S", 0.02)


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


FOUR = ("float32 contiguous", "float32 channels_last", "bfloat16 contiguous", "bfloat16 channels_last")


@pytest.fixture
def scripted(monkeypatch):
    """Puts times of a script, by candidate, in the place of those measured; returns the order of the samples."""
    order = []
    monkeypatch.setattr(machine, "is_busy", lambda: False)

    def put(times: dict[str, list[float]], *, first: float | dict[str, float] = 0.1) -> list[str]:
        left = {name: iter(values) for name, values in times.items()}

        def sample(timer):
            order.append(timer.name)
            return next(left[timer.name])

        monkeypatch.setattr(speed.Timer, "sample", sample)
        monkeypatch.setattr(speed.Timer, "warm_up", lambda it: first[it.name] if isinstance(first, dict) else first)
        order.clear()
        return order

    return put


def timed(batch, **settings):
    return chosen(network(), batch, precisions=("float32", "bfloat16"), **settings)


def test_choice_is_the_fastest_candidate_by_a_clear_margin(scripted, batch):
    scripted(dict(zip(FOUR, ([0.8] * 7, [0.75] * 7, [0.6] * 7, [0.5] * 7), strict=True)))
    found = timed(batch)
    assert (found.precision, found.memory_format, found.seconds_per_step) == ("bfloat16", "channels_last", 0.5)
    assert found.measured == dict(zip(FOUR, (0.8, 0.75, 0.6, 0.5), strict=True))
    scripted(dict(zip(FOUR, ([0.8] * 7, [0.75] * 7, [0.74] * 7, [0.73] * 7), strict=True)))
    assert timed(batch)[:3] == ("float32", "contiguous", 0.8)


def test_candidates_alternate_and_the_order_turns_from_round_to_round(scripted, batch):
    order = scripted({name: [0.1] * 7 for name in FOUR})
    timed(batch)
    assert order == [*FOUR, *FOUR[::-1]] * 3 + [*FOUR]


def test_what_slows_a_round_down_or_one_step_of_it_changes_no_choice(scripted, batch):
    slow, fast = (
        [1.0, 3.0, 9.0, 1.0, 1.2, 1.0, 1.0],
        [0.6, 1.8, 5.4, 99.0, 0.7, 0.6, 0.6],
    )  # of every round 0.6, one step disturbed
    scripted(dict(zip(FOUR, (slow, [10.0] * 7, fast, [10.0] * 7), strict=True)))
    found = timed(batch)
    assert (found.precision, found.memory_format, found.seconds_per_step) == ("bfloat16", "contiguous", 0.7)


def test_candidate_that_is_faster_only_where_others_were_disturbed_is_left(scripted, batch):
    scripted(dict(zip(FOUR, ([1.0, *[1.35] * 6], [9.0] * 7, [0.95] * 7, [9.0] * 7), strict=True)))
    assert timed(batch)[:2] == ("float32", "contiguous")


def test_times_that_differ_among_themselves_ask_for_a_wide_margin(scripted, batch):
    unsteady = [0.2, *[0.5] * 6]
    for factor, precision in ((0.6, "float32"), (0.4, "bfloat16")):
        scripted(dict(zip(FOUR, (unsteady, [9.0] * 7, [factor * one for one in unsteady], [9.0] * 7), strict=True)))
        assert timed(batch).precision == precision


def test_busy_machine_asks_for_a_wide_margin(scripted, batch, monkeypatch):
    monkeypatch.setattr(machine, "is_busy", lambda: True)
    for factor, precision in ((0.6, "float32"), (0.4, "bfloat16")):
        scripted(dict(zip(FOUR, ([0.5] * 7, [9.0] * 7, [factor * 0.5] * 7, [9.0] * 7), strict=True)))
        assert timed(batch).precision == precision


def test_single_candidate_is_timed_twice(scripted, batch):
    order = scripted({"float32 contiguous": [0.3, 0.5]})
    assert chosen(network(), batch, memory_formats=("contiguous",)).seconds_per_step == 0.4
    assert len(order) == 2


def test_hopeless_candidate_is_timed_once(scripted, batch):
    order = scripted(dict(zip(FOUR, ([0.5] * 7, [0.5] * 7, [1.0], [1.1]), strict=True)))
    found = timed(batch)
    assert found.measured["bfloat16 contiguous"] == 1.0
    assert [order.count(name) for name in FOUR] == [7, 7, 1, 1]


def test_steps_of_seconds_are_timed_in_turns_after_the_warm_up(scripted, batch):
    times = dict(zip(FOUR, ([2.0] * 7, [1.9] * 7, [1.9] * 7, [1.9] * 7), strict=True))
    order = scripted(times, first=dict(zip(FOUR, (6.0, 2.5, 2.4, 2.3), strict=True)))  # the first one warms up for all
    assert timed(batch)[:3] == ("float32", "contiguous", 2.0)
    assert set(order) == set(FOUR)


def test_steps_that_take_very_long_are_timed_once_and_ask_for_a_wide_margin(scripted, batch):
    for factor, precision in ((0.6, "float32"), (0.4, "bfloat16")):
        first = (30.0, 29.0, factor * 30.0, factor * 30.0)
        order = scripted({}, first=dict(zip(FOUR, first, strict=True)))
        assert timed(batch).precision == precision
        assert order == []


def test_candidate_whose_first_step_is_hopeless_is_not_timed_again(scripted, batch):
    times = {name: [0.4] * 7 for name in FOUR if name != FOUR[1]}
    order = scripted(times, first=dict(zip(FOUR, (1.5, 1.4, 0.5, 0.4), strict=True)))
    assert timed(batch).measured == dict(zip(FOUR, (0.4, 1.4, 0.4, 0.4), strict=True))
    assert FOUR[1] not in order


def test_timing_ends_after_a_few_seconds(scripted, batch, monkeypatch):
    clock = iter(range(0, 1000, 2))  # seconds: a round takes 2
    order = scripted({name: [0.5] * 7 for name in FOUR})
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    timed(batch)
    assert len(order) == 2 * len(FOUR)


def test_short_steps_are_timed_several_at_once(batch, monkeypatch):
    steps, clock = [], iter(i / 100 for i in range(100))
    monkeypatch.setattr(speed.Timer, "_take", lambda _: steps.append(1))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    timer = speed.Timer(speed.Step(network(), Task(), precision="float32", device=CPU), batch, **FLOAT)
    assert timer.sample() == pytest.approx(0.01)
    assert len(steps) == 2


def test_choosing_leaves_the_network_and_the_generator_alone(batch):
    model = network()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    found = chosen(model, batch, precisions=("float32", "bfloat16"))
    assert same_bits(before, dict(model.state_dict()))
    assert torch.equal(torch.get_rng_state(), state)
    assert 0 < found.seconds_per_step < 5
    assert all(weight.grad is None for weight in model.parameters())


def test_chosen_settings_train():
    job = make_job(epochs=1, precision="bfloat16", memory_format="channels_last")
    fit(job)
    assert job.model[5].weight.dtype == torch.float32
