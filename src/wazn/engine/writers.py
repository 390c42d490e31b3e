"""Which filters turn a request's tokens into text: the one place where engine and text meet."""

from __future__ import annotations

from wazn.engine.output import TextWriter
from wazn.engine.request import Request
from wazn.engine.served_model import ServedModel
from wazn.text.answers.parser import AnswerParser
from wazn.text.families import detect_family
from wazn.text.stream_decoder import StreamDecoder


class Writers:
    """Opens a writer for each completion; ``family`` is how the model writes its answers."""

    def __init__(self, model: ServedModel) -> None:
        self._tokenizer = model.tokenizer
        template = model.chat_template
        sources = "" if template is None else "\n".join(template.sources.values())
        self.family = detect_family(self._tokenizer, sources)
        self._markers = (
            {} if self._tokenizer is None else self._tokenizer.ids_of(self.family.markers)
        )

    def open(self, request: Request) -> TextWriter:
        """A fresh writer; without a tokenizer it writes no text."""
        params = request.params
        if self._tokenizer is None:
            return TextWriter(params, None)
        if not request.is_chat:
            return TextWriter(params, StreamDecoder(self._tokenizer, continues=True))
        parser = AnswerParser(
            self.family,
            opened=request.reasoning_open,
            tools=request.tools,
            tokens=self._markers.values(),
        )
        decoder = StreamDecoder(self._tokenizer, shown=self._markers)
        return TextWriter(params, decoder, parser, self._markers)
