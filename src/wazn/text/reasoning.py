"""How models mark their thinking: a table of marker pairs, and which one a model uses.

A marker may be one token or several. Taking an answer apart is ``answers.thinking``'s business.
"""

from dataclasses import dataclass

from wazn.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ReasoningStyle:
    """How one group of families marks its thinking; no markers, no thinking.

    ``breaks``: what stands before the closing marker and after it, where a line is ended for it.
    """

    name: str
    open: str = ""
    close: str = ""
    breaks: tuple[str, str] = ("", "")

    @property
    def markers(self) -> tuple[str, ...]:
        """The pair, if there is one."""
        return (self.open, self.close) if self.open else ()

    def is_opened_by(self, prompt: str) -> bool:
        """Whether the prompt already ends inside the thinking part."""
        return bool(self.open) and prompt.rstrip().endswith(self.open)


THINK = ReasoningStyle("think", "<think>", "</think>", ("\n", "\n\n"))  # Qwen3, R1, QwQ, ERNIE
SEED = ReasoningStyle("seed", "<seed:think>", "</seed:think>", ("\n", ""))  # Seed-OSS
BRACKETS = ReasoningStyle("brackets", "[THINK]", "[/THINK]")  # Magistral, Ministral 3
NONE = ReasoningStyle("none")
STYLES = (SEED, BRACKETS, THINK, NONE)


def detect_style(tokenizer: Tokenizer | None, template: str = "") -> ReasoningStyle:
    """The style whose markers are tokens of the vocabulary or stand in the chat template."""
    for style in STYLES:
        if tokenizer is not None and tokenizer.added_id(style.close) is not None:
            return style
        if style.close and style.close in template:
            return style
    return NONE
