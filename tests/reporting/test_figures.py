import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointlift.reporting.figures import Mark, interval_bar, line_chart, mark_chart, nice_ticks, thin


def _points(svg: str) -> list[tuple[float, float]]:
    (text,) = re.findall(r'points="([^"]+)"', svg)
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def test_a_straight_line_is_drawn_straight_between_its_ticks() -> None:
    svg = line_chart("loss", {"loss": [[(float(x), 10.0 - x) for x in range(11)]]})
    places = _points(svg)
    steps = {(round(b[0] - a[0], 0), round(b[1] - a[1], 0)) for a, b in pairwise(places)}
    assert len(steps) == 1
    (step,) = steps
    assert step[0] > 0  # later epochs lie right
    assert step[1] > 0  # smaller values lie lower
    labels = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag == "text"]  # noqa: S314
    assert {"0", "5", "10", "epoch"} <= set(labels)


@pytest.mark.parametrize(
    "curves",
    [{"a": [[(0.0, 1.0)]]}, {"a": [[(0.0, 0.0), (1.0, 0.0)]]}, {}, {"a": [[(3.0, 1e-9), (4.0, 1e9)]]}],
    ids=["one point", "constant zero", "nothing", "wide"],
)
def test_odd_curves_are_still_well_formed(curves: dict) -> None:
    svg = line_chart("x", curves)
    ElementTree.fromstring(svg)  # noqa: S314
    assert "nan" not in svg


def test_names_are_escaped() -> None:
    svg = line_chart('a"<b>', {"<script>": [[(0.0, 1.0), (1.0, 2.0)]]})
    assert "<script>" not in svg
    assert "<title>&lt;script&gt;</title>" in svg


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_ticks_enclose_the_range_evenly_and_are_few(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + width - 1e-6 * step
    assert 2 <= len(ticks) <= 7
    assert all(b - a == pytest.approx(step, rel=1e-3) for a, b in pairwise(ticks))


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    line = [(float(x), 0.0) for x in range(10_001)]
    short = thin(line)
    assert 200 <= len(short) <= 300
    assert short[-1] == line[-1]
    assert thin(line[:300]) == line[:300]


def test_the_bar_shows_where_zero_lies() -> None:
    assert "beyond" in interval_bar(0.1, 0.05, 0.2, 0.2)
    assert "within" in interval_bar(0.1, -0.05, 0.2, 0.2)
    assert "range" not in interval_bar(0.1, None, None, 0.2)
    assert 'cx="88.0"' in interval_bar(0.1, 0.05, 0.2, 0.2)  # half of the extent, half way from 60 to 116


def _labels(chart: str, kind: str) -> list[dict[str, str]]:
    tags = [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in re.findall(r"<[^>]+>", chart)]
    return [attributes for attributes in tags if attributes.get("class") == kind]


def test_every_mark_has_a_name_that_hides_no_other_and_is_read_aloud() -> None:
    marks = [Mark(f"run {i}", x=1.0 + i % 3, y=0.5, spread=0.01, hollow=i == 0) for i in range(16)]
    chart = mark_chart("accuracy", "CPU minutes", marks)
    heights = sorted(float(name["y"]) for name in _labels(chart, "name"))
    assert len(heights) == 16
    assert min(b - a for a, b in pairwise(heights)) >= 11
    assert all(f"run {i}: {1 + i % 3} CPU minutes, 0.5" in chart for i in range(16))
    assert len(_labels(chart, "mark hollow")) == 1


def test_marks_stand_where_their_numbers_are() -> None:
    chart = mark_chart("accuracy", "GPU hours", [Mark("a", 0.0, 0.2), Mark("b", 2.0, 0.4), Mark("c", 4.0, 0.6)])
    places = [(float(mark["cx"]), float(mark["cy"])) for mark in _labels(chart, "mark")]
    (xa, ya), (xb, yb), (xc, yc) = sorted(places)
    assert xb - xa == pytest.approx(xc - xb, abs=0.2)
    assert ya - yb == pytest.approx(yb - yc, abs=0.2)
    assert ya > yb > yc


def test_marks_of_one_place_and_names_from_outside_are_drawn() -> None:
    chart = mark_chart("<b>", "CPU minutes", [Mark("<script>", 0.0, 0.5), Mark("b", 0.0, 0.5)])
    assert "<script>" not in chart
    assert "nan" not in chart
