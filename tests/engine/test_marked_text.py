"""Markers keep their places in a text that is delayed."""

from hypothesis import given
from hypothesis import strategies as st

from wazn.engine.marked_text import MarkedText

pieces = st.lists(st.one_of(st.text("ab<", max_size=4), st.just(("<m>",))))


@given(pieces=pieces, delays=st.lists(st.integers(0, 5)))
def test_markers_come_out_whole_wherever_the_text_was_delayed(
    pieces: list[str | tuple[str]], delays: list[int]
) -> None:
    marked = MarkedText()
    held = ""
    result: list[tuple[str, bool]] = []
    for number, piece in enumerate(pieces):
        text, marker = (piece, "") if isinstance(piece, str) else (piece[0], piece[0])
        marked.arrive(text, marker)
        held += text
        length = max(0, len(held) - (delays[number] if number < len(delays) else 0))
        result += marked.pass_on(held[:length])
        held = held[length:]
    result += marked.pass_on(held, is_last=True)
    assert _joined(result) == _joined(
        [(piece, False) if isinstance(piece, str) else (piece[0], True) for piece in pieces]
    )


def _joined(parts: list[tuple[str, bool]]) -> list[str | tuple[str]]:
    """Neighbouring texts as one, markers in tuples."""
    result: list[str | tuple[str]] = []
    for text, is_marker in parts:
        if is_marker:
            result.append((text,))
        elif result and isinstance(result[-1], str):
            result[-1] += text
        elif text:
            result.append(text)
    return result


def test_a_marker_that_a_stop_string_cut_is_text() -> None:
    marked = MarkedText()
    marked.arrive("a<think>", "<think>")
    assert list(marked.pass_on("a<th")) == [("a", False)]
    assert list(marked.pass_on("", is_last=True)) == [("<th", False)]
