import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from pointlift.contracts.metrics import Metrics
from pointlift.reporting.contact_sheet import Sheet, Strip
from pointlift.reporting.history import Training
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.page import render_page
from pointlift.reporting.provenance import flatten
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.summary import summary_rows
from pointlift.reporting.tables import Row
from reporting.fixture_metrics import draw_outcomes, make_metrics, suite_metrics

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "link"}


class _Reader(HTMLParser):
    """Collects tags, attributes and the text of captions; fails on tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.captions: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag == "caption":
            self.captions.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self.captions[-1] += data


def _metrics(num_seeds: int = 2) -> list[Metrics]:
    joint = {"protocol": "down/12-8/joint"}
    metrics = suite_metrics(range(num_seeds))
    for seed in range(num_seeds):
        metrics.append(make_metrics("joint_mcd", "mcd", seed, draw_outcomes(0.7, seed), **joint))
        metrics.append(make_metrics("joint_control", "control", seed, draw_outcomes(0.6, seed), **joint))
    return metrics


def _page(
    metrics: list[Metrics], text: str = "plain", provenance: dict[str, Any] | None = None, **settings: Any
) -> str:
    cost = {"run": text, "phase": "train_student", "jobs": "1", "wall_s": "61.5", "cpu_hours": "", "gpu_hours": "0"}
    cost |= {"peak_rss_mb": "", "bytes": "2500000", "parameters": "1234567"}
    cost |= {"task": "", "dataset": "", "measured": "1", "cache_bytes": ""}
    faults: Row = {"dataset": text, "shapes": "40", "stage": "prepare_meshes", "reason": text, "quarantined": "3"}
    strip = Strip(text, text, "data:image/png;base64,AAAA", (96, 24))
    return render_page(
        PageSettings.model_validate({"suite": "mini", "seeds": (0, 1), **settings}),
        summary=summary_rows("mini", metrics),
        leaderboard=leaderboard_rows("mini", metrics),
        cost=[cost],
        quarantine=[{**faults, "example": text}],
        trainings=[Training("students", text, {"a_loss": [[(0.0, 1.0), (1.0, 0.5)]], text: [[(0.0, 0.1)]]})],
        sheets=[Sheet(text, "ring6", (strip,))],
        provenance=provenance or {},
    )


def test_nothing_comes_from_outside_and_nothing_runs() -> None:
    page = _page(_metrics())
    for tag, attributes in _Reader(page).seen:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("src") or "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"https?://|url\(|@import", page)


def test_links_within_the_page_lead_somewhere() -> None:
    seen = _Reader(_page(_metrics())).seen
    ids = {attributes["id"] for _, attributes in seen if attributes.get("id")}
    targets = {(attributes.get("href") or "")[1:] for tag, attributes in seen if tag == "a"}
    assert targets
    assert targets <= ids


def test_text_from_the_data_is_text() -> None:
    page = _page(
        _metrics(), EVIL, provenance={"commit": EVIL, "versions": {EVIL: EVIL}}, command=EVIL, config={"runs": EVIL}
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10
    _Reader(page)


def test_no_table_mixes_protocols_and_every_table_says_what_it_is() -> None:
    reader = _Reader(_page(_metrics()))
    results = [caption for caption in reader.captions if "protocol" in caption]
    assert len(results) == len(set(results)) == 2
    assert ["down/12-8/joint" in caption for caption in results] == [True, False]
    tables = [index for index, (tag, _) in enumerate(reader.seen) if tag == "table"]
    assert len(reader.captions) == len(tables)
    assert all(attributes.get("scope") for tag, attributes in reader.seen if tag == "th")


def test_the_numbers_of_the_leaderboard_stand_in_the_page() -> None:
    metrics = _metrics()
    page = _page(metrics)
    rows = [row for row in leaderboard_rows("mini", metrics) if row["run"] == "mcd"]
    assert len(rows) == 3
    for row in rows:
        low, high = float(row["delta_ci95_low"]), float(row["delta_ci95_high"])
        assert f"{float(row['delta_vs_control']):+.3f} [{low:+.3f}, {high:+.3f}]" in page
        assert f"{float(row['mean']):.3f} ± {float(row['sd']):.3f}" in page
    assert "61.5" in page
    assert "1,234,567" in page
    assert "2.50" in page


@pytest.mark.parametrize(("num_seeds", "claims"), [(2, False), (5, True)])
def test_claims_take_five_seeds(num_seeds: int, claims: bool) -> None:
    page = _page(_metrics(num_seeds))
    assert ("is higher than" in page) is claims
    assert ("no claim can be made" in page) is not claims


def test_one_seed_shows_no_spread() -> None:
    with_spread = re.compile(r">\d\.\d+ ± \d")
    assert with_spread.search(_page(_metrics(2)))
    assert not with_spread.search(_page(_metrics(1)))


def test_same_input_in_another_order_gives_the_same_page() -> None:
    metrics = _metrics()
    assert _page(metrics) == _page(random.Random(3).sample(metrics, len(metrics)))


def test_oracle_numbers_are_marked_and_never_the_headline() -> None:
    metrics = [make_metrics("mcd", "mcd", 0, draw_outcomes(0.7, 1))]
    values = ({"metric": "accuracy", "value": 0.99, "selection": "oracle_test"},)
    metrics.append(make_metrics("mcd2", "mcd", 0, draw_outcomes(0.7, 1), values=values))
    page = _page(metrics)
    before, after = page.split("Other selections, not the headline")
    assert "0.990" not in before
    assert "for audit only" in after


def test_the_command_and_provenance_are_told() -> None:
    page = _page(_metrics(), provenance={"commit": "abc123", "versions": {"torch": "2.15"}})
    assert "make benchmark SUITE=mini" in page
    assert "abc123" in page
    assert flatten({"commit": "abc", "versions": {"torch": 2, "a": {"b": None}}}) == [
        ("commit", "abc"),
        ("versions.torch", "2"),
        ("versions.a.b", "None"),
    ]


def test_an_empty_suite_still_makes_a_page() -> None:
    settings = PageSettings(suite="none", seeds=(0,))
    names = ("summary", "leaderboard", "cost", "quarantine", "trainings", "sheets")
    nothing: dict[str, Any] = {name: [] for name in names}
    page = render_page(settings, **nothing, provenance={})
    assert "Nothing was measured." in page
    assert len(page.encode()) < 20_000
