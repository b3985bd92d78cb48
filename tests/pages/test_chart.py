import itertools
import math
import re

import pytest

from unpool.pages.axes import POINTS, axis, finite, number, numbers, shortened
from unpool.pages.chart import COLOURS, WIDTH, Series, line_chart


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.02, 0.97], (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([3, 41], (0, 10, 20, 30, 40, 50)),
        ([-1.2, 0.7], (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0)),
        ([5.0, 5.0], (2, 3, 4, 5, 6, 7, 8)),
    ],
)
def test_axis_ends_on_round_numbers_around_all_values(values, ticks):
    made = axis(values, start=0, end=100)
    assert made.low <= min(values)
    assert made.high >= max(values)
    if len(set(values)) > 1:
        assert made.ticks == pytest.approx(ticks)


def test_tight_axis_ends_at_its_values():
    made = axis([46, 2760], start=0, end=100, tight=True)
    assert (made.pixel(46), made.pixel(2760)) == (0, 100)
    assert made.ticks == (500, 1000, 1500, 2000, 2500)


def test_log_axis_gives_equal_room_to_equal_factors():
    made = axis([0.013, 8], start=0, end=90, log=True)
    assert (made.low, made.high) == (0.01, 10)
    assert made.pixel(0.1) == pytest.approx(30)
    assert {0.01, 0.1, 1, 10} <= {round(tick, 9) for tick in made.ticks}


@pytest.mark.parametrize("value", [0.0, 1e-12, 7.0, -3.0])
def test_axis_of_one_value_has_room(value):
    made = axis([value], start=0, end=100)
    assert made.low < value < made.high


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0, "0"), (12000, "12,000"), (0.25, "0.25"), (3e-5, "3e-05"), (1234.5, "1,234"), (0.30864, "0.3086")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_numbers_of_ticks_are_exact():
    assert numbers([19.6800, 19.6825, 19.685]) == ["19.68", "19.6825", "19.685"]
    assert numbers([0.5, 1, 12000]) == ["0.5", "1", "12,000"]


def test_points_that_cannot_be_drawn_are_left_out():
    assert finite([(0, 1.0), (1, None), (2, math.nan), (3, math.inf), (4, 2)]) == [(0, 1.0), (4, 2)]


def test_a_long_series_keeps_its_mean_and_spread():
    points = [(float(x), float(x % 2)) for x in range(10 * POINTS)]
    buckets = shortened(points)
    assert len(buckets) <= POINTS
    assert {(bucket.mean, bucket.low, bucket.high) for bucket in buckets} == {(0.5, 0.0, 1.0)}
    assert buckets[0].x == 4.5


def test_a_short_series_is_kept_as_it_is():
    assert [(bucket.x, bucket.mean) for bucket in shortened([(1, 5), (2, 7)])] == [(1, 5), (2, 7)]


def test_chart_draws_one_line_a_series_at_the_right_height():
    made = line_chart(
        "Loss", [Series("a", [(0, 0.0), (1, 1.0)]), Series("b", [(0, 1.0), (1, 0.0)])], x="step", y="loss"
    )
    lines = re.findall(r'class="line (s\d)" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', made)
    assert [line[0] for line in lines] == ["s0", "s1"]
    (_, x1, bottom, x2, top), falling = lines
    assert float(x1) < float(x2)
    assert float(bottom) > float(top)  # y grows downwards
    assert falling[2:] == (top, x2, bottom)


def test_a_colour_that_returns_is_dashed():
    made = line_chart("t", [Series(str(i), [(0, 1.0), (1, i)]) for i in range(COLOURS + 1)], x="step", y="loss")
    assert re.findall(r'class="line (s0[a-z ]*)"', made) == ["s0", "s0 again"]
    assert re.findall(r'<i class="(s0[a-z ]*)"', made) == ["s0", "s0 again"]


def test_chart_writes_the_numbers_of_both_axes():
    made = line_chart("Loss", [Series("a", [(0, 3.0), (2000, 41.0)])], x="step", y="loss")
    assert {"500", "1,000", "1,500", "10", "20", "30"} <= set(re.findall(r">([\d,]+)</text>", made))


def test_chart_names_its_lines_where_there_are_several_and_marks_the_points_of_short_ones():
    short, long = Series("a", [(0, 1.0), (1, 2.0)]), Series("b", [(x, 1.0) for x in range(500)])
    alone = line_chart("t", [short], x="step", y="loss")
    both = line_chart("t", [short, long], x="step", y="loss")
    assert (alone.count('class="key"'), both.count('class="key"')) == (0, 2)
    assert both.count("<circle") == 2
    assert "<title>a 2 at 1</title>" in alone


def test_chart_names_both_axes_and_shows_all_of_its_span():
    made = line_chart("Loss", [Series("a", [(2, 1.0), (3, 2.0)])], x="epoch", y="loss, nats", span=(0, 6))
    assert re.findall(r">([a-z, ]+)</text>", made) == ["epoch", "loss, nats"]
    assert {"0", "6"} <= set(re.findall(r'text-anchor="middle">([\d.]+)</text>', made))


def test_chart_of_nothing_says_so():
    assert "no values" in line_chart("Loss", [Series("a", [(0, None), (1, math.nan)])], x="step", y="loss")


def test_chart_escapes_its_names():
    made = line_chart("<script>", [Series("<i>", [(0, 1.0)]), Series("</svg>", [(0, 2.0)])], x="<x>", y="<y>")
    assert not {"<script>", "<i>", "<x>", "<y>"} & set(re.findall(r"<[^/ ]+>", made))
    assert made.count("</svg>") == 1


def test_auto_scale_is_logarithmic_only_for_wide_positive_values():
    def ticks(points, scale):
        return re.findall(
            r'text-anchor="end">([^<]+)<', line_chart("t", [Series("a", points)], x="x", y="y", scale=scale)
        )

    assert ticks([(0, 1.0), (1, 0.001)], "auto") == ["0.001", "0.01", "0.1", "1"]
    assert ticks([(0, 1.0), (1, 0.0)], "log")[0] == "0"
    assert ticks([(0, 1.0), (1, 0.5)], "auto")[0] == "0.5"
    assert ticks([(0, 40.0), (1, 41.0)], "zero")[0] == "0"


EXTREME = [0.0, 5e-324, 1e-310, 1e-300, 1e-12, 1.0, 1.0 + 2**-52, 1e12, 1e300, 1.7e308, math.inf, math.nan]


@pytest.mark.parametrize("scale", ["auto", "linear", "zero", "log"])
def test_chart_of_any_two_values_has_every_mark_inside(scale):
    for low, high in itertools.product([*EXTREME, *(-value for value in EXTREME)], repeat=2):
        drawn = line_chart("lr", [Series("lr", [(0, low), (1, high), (2, None)])], x="step", y="lr", scale=scale)
        numbers = [float(text) for text in re.findall(r'(?:cx|cy|[xy][12])="([^"]*)"', drawn)]
        numbers += [float(text) for path in re.findall(r' d="M([^"Z]*)', drawn) for text in re.split("[ L]", path)]
        assert all(0 <= number <= WIDTH for number in numbers), (low, high)
        assert numbers or not math.isfinite(low + high)


def test_ticks_of_tiny_values_are_apart():
    ticks = axis([1e-30, 7e-30], start=0, end=100).ticks
    assert len(set(ticks)) == len(ticks) > 3


@pytest.mark.parametrize("share", [0.0, 1e-16, 1e-12, 0.9e-9])
def test_axis_of_values_that_it_cannot_tell_apart_is_as_long_as_they_are_large(share):
    made = axis([4.0, 4.0 * (1 + share)], start=0, end=100)
    assert made.ticks[0] <= 2.0 < 6.0 <= made.ticks[-1]
