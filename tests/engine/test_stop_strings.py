"""Stop strings: found wherever the text is cut, and nothing shown is ever taken back."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wazn.engine.stop_strings import StopStrings

letters = st.text("ab", max_size=20)
stops = st.lists(st.text("ab", min_size=1, max_size=5), max_size=3)


def before_first_stop(text: str, stops: list[str]) -> str:
    """The plain definition: read letter by letter until some stop string is complete."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(letters, stops, st.lists(st.integers(0, 20), max_size=6))
def test_the_cut_does_not_depend_on_the_pieces(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    borders = [0, *sorted(cuts), len(text)]
    search = StopStrings(stops)
    shown = "".join(search.push(text[a:b]) for a, b in pairwise(borders))
    shown += search.finish()
    assert shown == before_first_stop(text, stops)
    assert search.is_stopped == (shown != text)


@given(letters, stops)
def test_only_what_might_begin_a_stop_string_is_held_back(text: str, stops: list[str]) -> None:
    search = StopStrings(stops)
    shown = search.push(text)
    if not search.is_stopped:
        held = text[len(shown) :]
        assert held == "" or any(stop.startswith(held) for stop in stops)


def test_nothing_follows_a_stop_string() -> None:
    search = StopStrings(["END"])
    assert search.push("one EN") == "one "
    assert search.push("D two") == ""
    assert search.is_stopped
    assert search.push("three") + search.finish() == ""
