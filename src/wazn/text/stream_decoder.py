"""Token ids to text, one token at a time.

What comes out is a prefix of what decoding all ids at once gives, and never holds half a
character: bytes of an unfinished one (three at most) wait for the next token. Constant work per
token. Knows nothing of stop strings and reasoning.
"""

import codecs
from collections.abc import Collection

from wazn.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes the answer of one sequence."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        continues: bool = False,
        shown: Collection[int] = (),
    ) -> None:
        """``continues``: the answer goes on where a text ended, so its first space is kept.

        ``shown``: special ids that are part of the text all the same.
        """
        self._tokenizer = tokenizer
        self._hidden = tokenizer.special_ids.difference(shown)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._is_at_start = tokenizer.strips_leading_space and not continues

    def push(self, id: int) -> str:
        """The text that the next token completes; often empty in scripts of many bytes."""
        if id in self._hidden:
            return ""
        return self._without_first_space(self._decoder.decode(self._tokenizer.token_bytes(id)))

    def finish(self) -> str:
        """What is left at the end: U+FFFD if the last character was never completed."""
        return self._without_first_space(self._decoder.decode(b"", final=True))

    def _without_first_space(self, text: str) -> str:
        if not self._is_at_start or not text:
            return text
        self._is_at_start = False
        return text.removeprefix(" ")
