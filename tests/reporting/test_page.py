import json
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
from pointlift.reporting.tables import COST_COLUMNS, Row
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


def _cost(run: str, phase: str, wall: float, task: str = "", dataset: str = "") -> Row:
    row = dict.fromkeys(COST_COLUMNS, "") | {"run": run, "phase": phase, "task": task, "dataset": dataset}
    row |= {"jobs": "2", "measured": "2", "wall_s": str(wall), "cpu_hours": str(wall / 3600), "gpu_hours": "0"}
    return row | {"cache_bytes": "3000000", "parameters": "4321", "peak_rss_mb": "256"}


def _with(**more: Any) -> str:
    metrics = more.pop("metrics", suite_metrics([0, 1]))
    origins = more.pop("origins", ())
    nothing: dict[str, Any] = {name: [] for name in ("cost", "quarantine", "trainings", "sheets")}
    return render_page(
        PageSettings.model_validate_json(json.dumps({"suite": "mini", "seeds": [0, 1], "origins": origins})),
        summary=summary_rows("mini", metrics),
        leaderboard=leaderboard_rows("mini", metrics),
        provenance={},
        **{**nothing, **more},
    )


def test_cost_stands_beside_the_score_and_in_a_chart_that_can_be_read_aloud() -> None:
    cost = [_cost("mcd", "train_student", 120), _cost("mcd", "finetune_student", 60, "classification", "down")]
    cost += [_cost("scratch", "finetune_student", 60, "classification", "down")]
    page = _with(cost=cost)
    seen = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page)
    assert ("seconds", "90.0") in seen
    assert ("CPU min", "1.50") in seen
    assert {("parameters", "4,321"), ("peak MB", "256"), ("cache MB", "6.00")} <= set(seen)
    mean = next(row["mean"] for row in leaderboard_rows("mini", suite_metrics([0, 1])) if row["run"] == "mcd")
    (label,) = [text for text in re.findall('aria-label="([^"]+)"', page) if "over CPU minutes per seed" in text]
    assert f"mcd: 1.5 CPU minutes, {float(mean):.4g}" in label
    assert "shuffled" not in label


def test_released_weights_have_no_mark_among_costs_for_theirs_was_spent_elsewhere() -> None:
    runs = {"mcd": "mcd", "scratch": "scratch", "theirs": "replayed"}
    metrics = [make_metrics(run, arm, 0, [1, 0]) for run, arm in runs.items()]
    cost = [_cost(run, "finetune_student", 60, "classification", "down") for run in runs]
    page = _with(cost=cost, metrics=metrics)
    (label,) = [text for text in re.findall('aria-label="([^"]+)"', page) if "over CPU minutes per seed" in text]
    assert "mcd: " in label and "scratch: " in label and "theirs" not in label


def test_pulled_artifacts_without_measurements_have_dashes_and_no_chart() -> None:
    page = _with()
    assert set(re.findall(r"<dt>seconds</dt><dd>([^<]+)</dd>", page)) == {"\N{EN DASH}"}
    assert "Accuracy beside cost" not in page


def test_a_matched_run_shows_its_ratio() -> None:
    cost = [_cost(run, "train_student", wall) for run, wall in (("mcd", 100), ("scratch", 104))]
    page = _with(cost=cost, origins=[{"run": "scratch", "saw": "none", "matches": "mcd"}])
    assert "<dt>seconds / mcd&#39;s</dt><dd>1.04</dd>" in page


def test_every_row_says_what_its_weights_saw_and_every_table_what_was_not_looked_for() -> None:
    origins = [{"run": "mcd", "saw": "in-graph", "label": "in-graph: up", "sets": [["distillation", "up"]]}]
    page = _with(origins=origins)
    assert "<dt>saw</dt><dd>in-graph: up</dd>" in page
    assert page.count("<dt>saw</dt><dd>not told</dd>") == 3
    assert page.count("No near-duplicate audit was made between down and up, nor within down.") == 1
    assert page.count("would have been found four times in five") == 1


def test_numbers_of_others_stand_beside_ours_only_where_they_were_measured_alike() -> None:
    row = {"system": "Some-Net", "task": "classification", "metric": "accuracy", "dataset": "Down", "value": "0.9120"}
    row |= {"sd": "", "protocol": "down/12-8/transfer", "selection": "last", "votes": "0", "seeds": "one"}
    row |= {"source": "its paper", "verified": "R"}
    tuned = row | {"system": "Tuned-Net", "selection": "oracle_test", "value": "0.9870"}
    before, fold = _with(reported=[row, tuned]).split("Reported by others")
    assert "Some-Net" in before
    assert "recalled, not looked up" in before
    assert "Tuned-Net" not in before
    assert "Tuned-Net" in fold
    assert "oracle_test" in fold
    other = row | {"protocol": "down/other/transfer"}
    assert "Some-Net" not in _with(reported=[other])
