"""Telling the thinking of a reasoning model from its answer."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.vocabularies import qwen_metadata, sentencepiece_metadata
from wazn.text.answers.events import ContentDelta, ReasoningDelta
from wazn.text.answers.parser import AnswerParser
from wazn.text.answers.thinking import MAX_LEADING_SPACE
from wazn.text.families import Family
from wazn.text.reasoning import BRACKETS, NONE, SEED, THINK, ReasoningStyle, detect_style
from wazn.text.tokenizer import Tokenizer


def split(style: ReasoningStyle, pieces: list[str], opened: bool = False) -> tuple[str, str]:
    """Everything that was called reasoning, and everything that was called text."""
    parser = AnswerParser(Family("any", thinking=style), opened=opened)
    events = [event for piece in pieces for event in parser.push(piece)] + parser.finish()
    reasoning = [event.text for event in events if isinstance(event, ReasoningDelta)]
    content = [event.text for event in events if isinstance(event, ContentDelta)]
    assert all(reasoning) and all(content) and len(reasoning) + len(content) == len(events)
    kinds = [isinstance(event, ContentDelta) for event in events]
    assert kinds == sorted(kinds), "reasoning comes before text"
    return "".join(reasoning), "".join(content)


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("<think>\nhm\n\n</think>\n\nParis.", False, ("hm", "Paris.")),
        ("hm\n</think>\n\nParis.", True, ("hm", "Paris.")),
        ("\n<think>hm</think>Paris.", True, ("hm", "Paris.")),
        ("  \n<think>hm</think>    code", False, ("hm", "    code")),
        ("<think>\n\n</think>\n\nParis.", False, ("", "Paris.")),
        ("</think>Paris.", True, ("", "Paris.")),
        ("Paris, not <think>hm</think>.", False, ("", "Paris, not <think>hm</think>.")),
        (" Paris.\n", False, ("", " Paris.\n")),
        ("<think>never closed </thi", False, ("never closed </thi", "")),
        ("<thin", False, ("", "<thin")),
        ("a </think> b </think> c", True, ("a", " b </think> c")),
        ("", True, ("", "")),
        ("<think>a\n\nb  c</think>d\n", False, ("a\n\nb  c", "d\n")),
        (" " * MAX_LEADING_SPACE + "<think>a</think>b", False, ("a", "b")),
    ],
)
def test_thinking_and_answer_are_told_apart(
    text: str, opened: bool, expected: tuple[str, str]
) -> None:
    assert split(THINK, [text], opened) == expected
    assert split(THINK, list(text), opened) == expected
    seed = text.replace("think>", "seed:think>").replace("<thin", "<thin")
    if "thi" not in text.replace("think>", ""):
        assert split(SEED, [seed], opened) == tuple(
            part.replace("think>", "seed:think>") for part in expected
        )


def test_too_much_space_before_the_marker_is_an_answer() -> None:
    text = " " * (MAX_LEADING_SPACE + 1) + "<think>a</think>"
    assert split(THINK, list(text)) == split(THINK, [text]) == ("", text)


@settings(deadline=None)
@given(
    fragments=st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<thi", "</", "nk>", "\n", " ", "a", "<", "é", "<seed:think>"]
        )
    ),
    cuts=st.lists(st.integers(0, 60)),
    opened=st.booleans(),
    style=st.sampled_from([THINK, SEED, NONE]),
)
def test_the_result_does_not_depend_on_how_the_text_is_cut(
    fragments: list[str], cuts: list[int], opened: bool, style: ReasoningStyle
) -> None:
    text = "".join(fragments)
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:stop] for start, stop in pairwise(borders)]
    assert split(style, pieces, opened) == split(style, [text], opened)


def test_without_markers_everything_is_text() -> None:
    assert split(NONE, ["<think>a</think>", "b"], opened=True) == ("", "<think>a</think>b")


def test_text_is_held_back_no_longer_than_needed() -> None:
    parser = AnswerParser(Family("any", thinking=THINK))
    assert parser.push("<thi") == []
    assert parser.push("nk>so") == [ReasoningDelta("so")]
    assert parser.push(" it</") == [ReasoningDelta(" it")]
    assert parser.push("b> ") == [ReasoningDelta("</b>")]
    assert parser.push("</think>\n") == []
    assert parser.push("Yes") == [ContentDelta("Yes")]
    assert parser.push(" <") == [ContentDelta(" <")]


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("<｜Assistant｜><think>\n", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("<|im_start|>assistant\n", False),
        ("", False),
    ],
)
def test_a_prompt_may_end_inside_the_thinking(prompt: str, opened: bool) -> None:
    assert THINK.is_opened_by(prompt) is opened
    assert NONE.is_opened_by(prompt) is False


def test_the_style_is_found_in_the_vocabulary_or_the_template() -> None:
    thinking = Tokenizer.from_gguf(qwen_metadata("qwen2"))
    plain = Tokenizer.from_gguf(sentencepiece_metadata())
    assert detect_style(thinking) is THINK
    assert detect_style(plain) is NONE
    assert detect_style(plain, "{{ content.split('</think>')[-1] }}") is THINK
    assert detect_style(None, "<seed:think>…</seed:think>") is SEED
    assert detect_style(None, "[THINK]…[/THINK]") is BRACKETS
    assert detect_style(None) is NONE
