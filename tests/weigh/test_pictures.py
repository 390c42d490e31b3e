"""Which charts an answer gives: one a line, never two definitions in one."""

from datetime import date

from wazn.weigh.lens import load_lenses
from wazn.weigh.pictures import charts_of, published_charts, ratio_charts
from wazn.weigh.published import load_facts
from wazn.weigh.store import ObservationStore
from wazn.weigh.weighing import Question, Weighing, weigh
from wazn.weigh.words import Words

WORDS = Words("en")


def weighed(store: ObservationStore, day: date) -> Weighing:
    return weigh(Question(day, [*load_lenses().values()]), load_facts(), store)


def test_each_measured_line_has_a_chart_of_its_own(series_store: ObservationStore) -> None:
    charts = ratio_charts(weighed(series_store, date(2025, 10, 31)), WORDS)
    assert [chart.title for chart in charts] == [
        load_lenses()[name].wording["en"].title
        for name in ("hub-language-panel", "hub-all-panel", "ollama-pulls", "new-derivatives")
    ]
    assert all(len(chart.series) == 1 and chart.is_ratio for chart in charts)


def test_the_band_holds_the_line_and_the_forecast_is_ahead(series_store: ObservationStore) -> None:
    weighing = weighed(series_store, date(2026, 8, 21))
    answer = next(one for one in weighing.answers if one.lens.id == "ollama-pulls")
    ratio, totals = charts_of(answer, answer.measured[0], WORDS)
    for (day, value), (same, low, high) in zip(ratio.series[0].points, ratio.band, strict=True):
        assert day == same
        assert low <= value <= high
    assert ratio.ahead is not None
    assert ratio.ahead[0] > ratio.series[0].points[-1][0]
    assert [series.name for series in totals.series] == ["China", "United States"]
    assert totals.series[1].points[-1] == (date(2026, 8, 21), 506_437_798)


def test_published_pairs_of_one_source_are_a_chart(series_store: ObservationStore) -> None:
    weighing = weighed(series_store, date(2026, 8, 21))
    charts = {answer.lens.id: published_charts(answer, WORDS) for answer in weighing.answers}
    assert len(charts["ollama-pulls"][0].series[0].points) == 3
    assert len(charts["hub-language-panel"][0].series[0].points) == 9
    assert charts["hub-young-share"] == []
