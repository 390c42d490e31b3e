"""OpenRouter's own list of models, as a price catalogue: dollars per token, as strings.

A price of -1 stands for a router whose price depends on where it sends a request; such entries
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import msgspec

from wazn.settings import Settings
from wazn.weigh.prices import PriceRow
from wazn.weigh.sources.answers import decode
from wazn.weigh.sources.catalogue import Catalogue, LeftOut, per_million
from wazn.weigh.sources.client import Service


class _Pricing(msgspec.Struct):
    prompt: str = ""
    completion: str = ""
    input_cache_read: str = ""


class _Model(msgspec.Struct):
    id: str
    pricing: _Pricing


class _Frame(msgspec.Struct):
    data: list[msgspec.Raw]


class OpenRouterPrices(Catalogue):
    """What OpenRouter charges."""

    name = "openrouter-prices"
    catalogue = "openrouter"
    source_url = "https://openrouter.ai/models"

    def __init__(self, settings: Settings) -> None:
        endpoint = settings.openrouter_endpoint
        service = Service("OpenRouter", endpoint, "WAZN_OPENROUTER_ENDPOINT")
        super().__init__(service, f"{endpoint}/api/v1/models")

    def entries(self, body: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
        for number, entry in enumerate(decode(body, _Frame).data, 1):
            yield f"model {number}", entry

    def rows_of(self, label: str, entry: msgspec.Raw, as_of: date) -> Iterator[PriceRow]:
        model = msgspec.json.decode(entry, type=_Model)
        costs = (model.pricing.prompt, model.pricing.completion, model.pricing.input_cache_read)
        if any(cost.startswith("-") for cost in costs):
            raise LeftOut("whose price varies")
        prices = [per_million(cost, model.id) for cost in costs]
        yield self.row(("openrouter", model.id), prices, as_of)
