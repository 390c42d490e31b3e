"""Which filters turn a request's tokens into text: the one place where engine and text meet."""

from __future__ import annotations

from wazn.engine.output import TextWriter
from wazn.engine.request import Request
from wazn.engine.served_model import ServedModel
from wazn.text.reasoning import ReasoningSplitter, detect_style
from wazn.text.stream_decoder import StreamDecoder


class Writers:
    """Opens a writer for each completion; ``style`` is how the model marks its thinking."""

    def __init__(self, model: ServedModel) -> None:
        self._tokenizer = model.tokenizer
        template = model.chat_template
        sources = "" if template is None else "\n".join(template.sources.values())
        self.style = detect_style(self._tokenizer, sources)

    def open(self, request: Request) -> TextWriter:
        """A fresh writer; without a tokenizer it writes no text."""
        params = request.params
        if self._tokenizer is None:
            return TextWriter(params, None)
        if not request.is_chat:
            return TextWriter(params, StreamDecoder(self._tokenizer, continues=True))
        splitter = ReasoningSplitter(self.style, request.reasoning_open)
        return TextWriter(params, StreamDecoder(self._tokenizer), splitter)
