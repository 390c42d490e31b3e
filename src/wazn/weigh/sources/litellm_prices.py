"""The catalogue of litellm: one JSON object, a price per token for each key.

A key is `provider/model` or, of the large makers, the model alone. Providers are spelled as the
other catalogues spell them. It knows no dates: a price holds since it was first seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import msgspec

from wazn.settings import Settings
from wazn.weigh.prices import PriceRow
from wazn.weigh.sources.answers import decode
from wazn.weigh.sources.catalogue import Catalogue, LeftOut, Number, per_million
from wazn.weigh.sources.client import Service

MAKERS = {
    "gemini": "google",
    "xai": "x-ai",
    "dashscope": "alibaba",
    "moonshot": "moonshotai",
    "text-completion-openai": "openai",
}
"""Providers whose names genai-prices and models.dev spell otherwise."""

_TEXT_MODES = ("chat", "completion", "responses")


class _Entry(msgspec.Struct):
    litellm_provider: str = ""
    mode: str = ""
    input_cost_per_token: Number = None
    output_cost_per_token: Number = None
    cache_read_input_token_cost: Number = None


class LitellmPrices(Catalogue):
    """litellm's model_prices_and_context_window.json, or a mirror of it."""

    name = "litellm-prices"
    catalogue = "litellm"
    source_url = "https://github.com/BerriAI/litellm"

    def __init__(self, settings: Settings) -> None:
        address = settings.litellm_prices_address
        super().__init__(Service("litellm", address, "WAZN_LITELLM_PRICES_ADDRESS"), address)

    def entries(self, body: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
        for key, entry in decode(body, dict[str, msgspec.Raw]).items():
            if key != "sample_spec":  # the file's own explanation of its fields
                yield key, entry

    def rows_of(self, label: str, entry: msgspec.Raw, as_of: date) -> Iterator[PriceRow]:
        one = msgspec.json.decode(entry, type=_Entry)
        if one.mode not in _TEXT_MODES:
            raise LeftOut("not for text")
        prefix, slash, rest = label.partition("/")
        provider = prefix if slash else one.litellm_provider
        costs = (
            one.input_cost_per_token,
            one.output_cost_per_token,
            one.cache_read_input_token_cost,
        )
        prices = [per_million(cost, label) for cost in costs]
        yield self.row((MAKERS.get(provider, provider), rest or label), prices, as_of)
