"""What servers say about how often they may be asked."""

from datetime import UTC, datetime

import pytest

from wazn.weigh.sources.rate_limit import Allowance, allowance, retry_after_s

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)


def test_the_headers_of_the_hub_are_read() -> None:
    headers = {
        "RateLimit": '"api";r=499;t=264',
        "RateLimit-Policy": '"fixed window";"api";q=500;w=300',
    }
    assert allowance(headers) == Allowance(499, 264.0, 500, 300.0)
    assert str(allowance(headers)) == "499 of 500 requests left in a window of 300 s"


def test_of_several_limits_the_tightest_counts() -> None:
    headers = {"RateLimit": '"pages";r=90;t=10, "api";r=0;t=55, "resolvers";r=3000;t=1'}
    assert allowance(headers) == Allowance(0, 55.0)


@pytest.mark.parametrize("text", ["", "garbage", '"api"', '"api";r=x;t=1', '"api";r=5', "r=1;t=2"])
def test_what_makes_no_sense_is_as_good_as_absent(text: str) -> None:
    assert allowance({"RateLimit": text, "RateLimit-Policy": text}) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s({"Retry-After": "120"}, NOW) == 120.0
    assert retry_after_s({"Retry-After": "Thu, 26 Nov 2026 08:01:30 GMT"}, NOW) == 90.0
    assert retry_after_s({"Retry-After": "Thu, 26 Nov 2026 07:00:00 GMT"}, NOW) == 0.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "9" * 40, "32 Foo 2026"])
def test_a_senseless_retry_after_is_none(text: str) -> None:
    assert retry_after_s({"Retry-After": text}, NOW) is None
