"""How a request's tokens become text and where its thinking ends: where engine and text meet."""

from __future__ import annotations

from wazn.engine.output import TextWriter
from wazn.engine.request import Request
from wazn.engine.served_model import ServedModel
from wazn.engine.thinking_budget import ThinkingBudget
from wazn.errors import BadRequest
from wazn.text.answers.parser import AnswerParser
from wazn.text.families import detect_family
from wazn.text.stream_decoder import StreamDecoder
from wazn.text.thinking_marks import thinking_marks


class Writers:
    """Opens a writer for each completion; ``family`` is how the model writes its answers."""

    def __init__(self, model: ServedModel) -> None:
        self._tokenizer = model.tokenizer
        template = model.chat_template
        self.template_source = "" if template is None else "\n".join(template.sources.values())
        self.family = detect_family(self._tokenizer, self.template_source)
        self._markers = (
            {} if self._tokenizer is None else self._tokenizer.ids_of(self.family.markers)
        )
        self._thinking = thinking_marks(
            self.family, self._tokenizer, self.template_source, model.config.vocab_size
        )

    def check(self, request: Request) -> None:
        """BadRequest for a thinking budget where no thinking could be told from text."""
        budget = request.params.thinking_budget
        if budget is None:
            return
        if not request.is_chat:
            raise BadRequest(
                f"thinking_budget is {budget}, and this is a raw prompt, whose continuation is all "
                "text: ask in messages, or leave the budget out."
            )
        if self._thinking is None:
            raise BadRequest(
                f"thinking_budget is {budget}, but this model has no tokens that mark thinking: "
                "leave the budget out."
            )

    def budget(self, request: Request) -> ThinkingBudget | None:
        """What ends the thinking of one completion of a checked request; None without a budget."""
        if self._thinking is None or request.params.thinking_budget is None:
            return None
        return ThinkingBudget(
            self._thinking,
            request.params.thinking_budget,
            opened=request.reasoning_open,
            has_tools=bool(request.tools),
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
