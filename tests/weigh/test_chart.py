"""Charts are SVG that any reader of XML accepts, and what they draw lies inside them."""

import re
from datetime import date, timedelta
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from wazn.weigh.chart import HEIGHT, WIDTH, Chart, Series, draw, sheet

START = date(2025, 1, 1)
SPACE = "{http://www.w3.org/2000/svg}"


def chart(values: list[float], *, is_ratio: bool = True, title: str = "a < b & c") -> Chart:
    points = [(START + timedelta(days=30 * index), value) for index, value in enumerate(values)]
    band = [(day, value / 1.3, value * 1.3) for day, value in points]
    return Chart(title, [Series("x", points)], "{:.2f}".format, band, is_ratio=is_ratio)


@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=20), st.booleans())
def test_everything_lies_inside_the_picture(values: list[float], is_ratio: bool) -> None:
    root = ElementTree.fromstring(draw(chart(values, is_ratio=is_ratio)))
    for shape in root.iter():
        for pair in re.findall(r"(-?[\d.]+),(-?[\d.]+)", shape.get("points", "")):
            assert 0 <= float(pair[0]) <= WIDTH
            assert 0 <= float(pair[1]) <= HEIGHT


def test_a_title_is_escaped_and_kept() -> None:
    root = ElementTree.fromstring(draw(chart([1.0, 2.0])))
    assert root.get("aria-label") == "a < b & c"
    assert "a < b & c" in [text.text for text in root.iter(f"{SPACE}text")]


def test_the_line_where_both_sides_are_even_is_in_every_chart_of_ratios() -> None:
    for values in ([0.07, 0.4], [3.0, 4.0], [1.0]):
        assert 'class="even"' in draw(chart(values))
    assert 'class="even"' not in draw(chart([1.0, 2.0], is_ratio=False))


def test_names_of_lines_that_end_together_do_not_touch() -> None:
    points = [(START, 5.0), (START + timedelta(days=9), 5.0)]
    made = Chart("t", [Series("a", points), Series("b", points, 1)], str)
    heights = re.findall(r'class="f[01]" x="[\d.]+" y="([\d.]+)"', draw(made))
    values = sorted(float(height) for height in heights)
    assert min(later - earlier for earlier, later in pairwise(values)) >= 14


def test_a_right_to_left_chart_begins_its_title_on_the_right() -> None:
    made = Chart("عنوان", [Series("", [(START, 1.0)])], str, is_right_to_left=True)
    assert f'x="{WIDTH - 8}.0" y="20.0" direction="rtl" text-anchor="start"' in draw(made)


def test_a_sheet_is_one_document_with_every_chart() -> None:
    root = ElementTree.fromstring(sheet([chart([1.0, 2.0]), chart([3.0])]))
    assert len(root.findall(f"{SPACE}svg")) == 2
    assert "http" not in sheet([chart([1.0])]).replace("http://www.w3.org/2000/svg", "")


def test_no_line_is_drawn_over_missing_days() -> None:
    days = [0, 1, 2, 3, 40, 41, 42]
    points = [(START + timedelta(days=day), 1.0 + day) for day in days]
    assert draw(Chart("t", [Series("a", points)], str)).count("<polyline") == 2
    assert draw(Chart("t", [Series("a", points[:4])], str)).count("<polyline") == 1
    assert draw(Chart("t", [Series("a", points[:1])], str)).count("<polyline") == 0
