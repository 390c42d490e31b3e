"""Text to token ids and back.

Encoding is the tokenizers library's, built from a checked vocabulary (see ``encoders``). Decoding
is our own: every token stands for fixed bytes, so that a text can be decoded token by token and
comes out the same. Adds no special tokens; ``adds_bos`` only tells that a prompt should begin
with one. Knows nothing of models, chats and prompts.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from wazn.errors import BadRequest
from wazn.text.encoders import open_encoder
from wazn.text.gguf_vocabulary import read_gguf_vocabulary
from wazn.text.huggingface_tokenizer import read_directory_vocabulary
from wazn.text.prompt import Prompt
from wazn.text.vocabulary import MARKERS, Vocabulary

_TAG = re.compile(r"[^\w\s].*\w.*[^\w\s]", re.DOTALL)
"""Words between signs: ``<tool_call>`` is control, runs of spaces are not."""


class Tokenizer:
    """Encodes and decodes for one vocabulary; safe to use from several threads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """BadFile when the encoder cannot be built from the vocabulary."""
        self._encoder = open_encoder(vocabulary)
        # Not the vocabulary: its merges are megabytes that only the encoder needs.
        self._tokens = tokens = vocabulary.tokens
        self._is_byte_level = vocabulary.spelling == "byte-level"
        self._byte_fallback = vocabulary.byte_fallback
        self._added = {token.id: token for token in vocabulary.added}
        self.vocab_size = len(tokens)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.adds_bos = vocabulary.adds_bos
        self.adds_eos = vocabulary.adds_eos
        self.stop_ids = frozenset(vocabulary.stop_ids)
        self.strips_leading_space = vocabulary.strips_leading_space
        """A decoded text loses its first space: encoding put it there."""
        self.special_ids = frozenset(
            token.id
            for token in vocabulary.added
            if token.special and tokens[token.id] not in MARKERS
        )
        """Ids that are not part of an answer's text."""
        self.control_texts = frozenset(
            text
            for token in vocabulary.added
            if (text := tokens[token.id]) and (token.special or _TAG.fullmatch(text))
        )
        """Added tokens that steer the model, by their text; others only spell words shorter."""

    @classmethod
    def from_directory(cls, directory: Path) -> Self | None:
        """The tokenizer of a Hugging Face directory; None when it holds none."""
        vocabulary = read_directory_vocabulary(directory)
        return None if vocabulary is None else cls(vocabulary)

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Self | None:
        """The tokenizer in the metadata of a GGUF file; None when it holds none."""
        vocabulary = read_gguf_vocabulary(metadata)
        return None if vocabulary is None else cls(vocabulary)

    def encode(self, text: str) -> list[int]:
        """Token ids of the text. Special tokens written out in it become their ids."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(
                f"character {error.start} of the text is half of a surrogate pair; send valid text."
            ) from None
        return self._encoder.encode(text)

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a conversation, in which only the template writes special tokens."""
        return self._encoder.encode(prompt.marked, prompt.mark)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of the ids; bytes that are no valid UTF-8 become U+FFFD."""
        hidden = self.special_ids if skip_special else frozenset()
        text = b"".join(self.token_bytes(id) for id in ids if id not in hidden).decode(
            errors="replace"
        )
        return text.removeprefix(" ") if self.strips_leading_space else text

    def token_bytes(self, id: int) -> bytes:
        """The bytes a token stands for; none for an id beyond the vocabulary or without a token.

        Models have more output rows than there are tokens, so such ids do occur.
        """
        if id < 0:
            raise BadRequest(f"the token id {id} is negative.")
        token = self._tokens[id] if id < self.vocab_size else None
        if token is None:
            return b""
        if id in self._added:
            return token.encode()
        if self._is_byte_level:
            return _byte_level(token)
        return _sentencepiece(token, self._byte_fallback)

    def token_text(self, id: int | None) -> str:
        """A token as the vocabulary writes it; empty for None."""
        return "" if id is None else self._tokens[id] or ""

    def added_id(self, text: str) -> int | None:
        """The id of an added token, such as a marker, by its text."""
        return next((id for id in self._added if self._tokens[id] == text), None)

    def ids_of(self, texts: Collection[str]) -> dict[int, str]:
        """Id → text of those texts that are added tokens."""
        return {id: text for id in self._added if (text := self._tokens[id] or "") in texts}

    def close(self) -> None:
        """End the helper process, if this tokenizer needed one."""
        self._encoder.close()


def _byte_alphabet() -> dict[str, int]:
    """The byte-level alphabet: printable Latin-1 stands for itself, the rest for U+0100 onwards."""
    alphabet: dict[str, int] = {}
    substitute = 256
    for value in range(256):
        if chr(value).isprintable() and value != ord(" "):
            alphabet[chr(value)] = value
        else:
            alphabet[chr(substitute)] = value
            substitute += 1
    return alphabet


_BYTE_ALPHABET = _byte_alphabet()


def _byte_level(token: str) -> bytes:
    try:
        return bytes(map(_BYTE_ALPHABET.__getitem__, token))
    except KeyError:
        return token.encode()


def _sentencepiece(token: str, byte_fallback: bool) -> bytes:
    if byte_fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes.fromhex(token[3:5])
    return token.replace("▁", " ").encode()
