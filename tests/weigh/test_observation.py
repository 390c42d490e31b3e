"""What an observation accepts, and how it refuses the rest."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from wazn.errors import BadObservation
from wazn.weigh.observation import Observation, unit_of

GOOD = Observation(
    entity="hf:Qwen/Qwen3-8B",
    metric="downloads_30d",
    value=13_512_721,
    unit="downloads",
    as_of=date(2026, 9, 5),
    captured_at=datetime(2026, 9, 5, 23, 50, 6, tzinfo=UTC),
    source="huggingface",
    definition="hub-api",
    raw_sha256="0" * 64,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entity", "Qwen/Qwen3-8B"),
        ("entity", "hf:"),
        ("entity", "hf:a b"),
        ("entity", "hf:a\nb"),
        ("entity", "hf:" + "x" * 400),
        ("metric", "downloads"),
        ("metric", "is:pipeline"),
        ("metric", "is:pipeline=a b"),
        ("value", float("nan")),
        ("value", float("inf")),
        ("value", -1),
        ("value", True),
        ("value", "7"),
        ("unit", "pulls"),
        ("as_of", date(1970, 1, 1)),
        ("as_of", datetime(2026, 9, 5, tzinfo=UTC)),
        ("captured_at", datetime(2026, 9, 5)),
        ("source", "Hugging Face"),
        ("definition", ""),
        ("raw_sha256", "deadbeef"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(field: str, value: object) -> None:
    wrong = "property|metric" if field == "metric" else f"^{field} of an observation"
    with pytest.raises(BadObservation, match=wrong):
        replace(GOOD, **{field: value})  # type: ignore[arg-type]


def test_a_property_is_a_metric_of_its_own() -> None:
    assert unit_of("is:base=hf:Qwen/Qwen3-8B") == "property"
    assert replace(GOOD, metric="is:pipeline=text-generation", unit="property", value=1)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadObservation, match=re.escape("known are downloads_30d")):
        unit_of("stars")
