"""Where text becomes ids: in this process, or in a helper process for files not to be trusted.

A vocabulary whose normalizer and pre-tokeniser are known to take linear time is encoded here. Any
other is encoded by the same code in a helper process, which is killed when a text takes too long
or too much memory. Both raise the same errors.
"""

from typing import Protocol

from wazn.errors import BadFile, BadRequest
from wazn.text.pipelines import safe_pipeline
from wazn.text.sandbox import Limits, Sandbox, SandboxFailure
from wazn.text.vocabulary import Vocabulary, check_merges

LIMITS = Limits(
    memory_bytes=2 << 30,  # a vocabulary of 256,000 tokens needs 0.4 GiB
    setup_cpu_s=8,  # loading such a vocabulary takes 1 s
    cpu_s=2,
    wall_s=10.0,
    answer_bytes=64 << 20,
)
"""What a helper may use for one text; one second more for each CHARACTERS_PER_S of the text."""
CHARACTERS_PER_S = 250_000
MAX_HELPER_CHARACTERS = 8_000_000
"""Longest text for a helper: two million tokens of English."""


class Encoder(Protocol):
    """Turns text into token ids, without special tokens of its own."""

    def encode(self, text: str, mark: str = "") -> list[int]:
        """``mark``: a character to ignore, after it has kept its surroundings from being tokens."""
        ...

    def close(self) -> None: ...


def open_encoder(vocabulary: Vocabulary) -> Encoder:
    """The encoder of a vocabulary; BadFile when the library cannot make sense of it."""
    safe = safe_pipeline(vocabulary.normalizer, vocabulary.pre_tokenizer)
    try:
        return HelperEncoder(vocabulary) if safe is None else LocalEncoder(vocabulary, *safe)
    except BadFile:
        check_merges(vocabulary)
        raise


class LocalEncoder:
    """Encodes in this process."""

    def __init__(self, vocabulary: Vocabulary, normalizer: object, pre_tokenizer: object) -> None:
        from wazn.text.sandboxed.encoder import prepare  # loads the library, 20 ms

        document = vocabulary.document()
        document.update(normalizer=normalizer, pre_tokenizer=pre_tokenizer)
        try:
            self._encode = prepare(document)
        except BaseException as error:  # a panic of the library is no Exception
            raise _unusable(error) from None

    def encode(self, text: str, mark: str = "") -> list[int]:
        try:
            return self._encode((text, mark))
        except BaseException as error:  # as above
            raise _unusable(error) from None

    def close(self) -> None:
        """Nothing to end."""


class HelperEncoder:
    """Encodes in a helper process, which starts here and loads the vocabulary at once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._sandbox = Sandbox("encoder", ["tokenizers"], vocabulary.document(), LIMITS)
        self.encode("")

    def encode(self, text: str, mark: str = "") -> list[int]:
        if len(text) > MAX_HELPER_CHARACTERS:
            raise BadRequest(
                f"the text has {len(text)} characters; this model's tokenizer takes at most "
                f"{MAX_HELPER_CHARACTERS}."
            )
        try:
            ids: list[int] = self._sandbox.call((text, mark), len(text) // CHARACTERS_PER_S)
            return ids
        except SandboxFailure as failure:
            rules = "the tokenizer's pre_tokenizer or normalizer"
            if failure.kind == "failed":
                raise BadFile(f"{rules} cannot be used: {failure.reason}.") from None
            raise BadFile(f"{rules} {failure.reason}, on {len(text)} characters.") from None

    def close(self) -> None:
        self._sandbox.close()


def _unusable(error: BaseException) -> BaseException:
    if isinstance(error, KeyboardInterrupt):
        return error
    return BadFile(f"the tokenizer cannot be used: {str(error)[:300]}.")
