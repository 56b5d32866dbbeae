import ast
import copy
import re

import pytest
import yaml

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.reporting.markdown import escaped, fenced, name_of
from pointlift.reporting.model_card import StudentFacts, by_run, render_card
from pointlift.reporting.slices import CardsSettings
from reporting.fixture_metrics import draw_outcomes, make_metrics

SETTINGS = {
    "suite": "mini",
    "seeds": [0, 1],
    "command": "make benchmark SUITE=mini",
    "blocks": {
        "runs": {
            "scratch": {"student": "small"},
            "start": {"student": "small", "method": "mae"},
            "mcd": {"student": "small", "method": "md", "teacher": "t", "rig": "ring", "init": "start"},
        },
        "students": {"small": {"kind": "pointnet", "widths": [8, 16]}},
        "methods": {"md": {"kind": "pointmcd"}, "mae": {"kind": "point_mae"}},
        "teachers": {"t": {"kind": "imagenet_cnn"}},
        "rigs": {"ring": {"kind": "mesh"}},
    },
    "runs": [
        {
            "run": "mcd",
            "form": "transfer",
            "arm": "mcd",
            "student": "small",
            "method": "md",
            "teacher": "t",
            "teacher_weights": "published weights of squeezenet1_0",
            "rig": "ring",
            "dataset": "psb",
            "num_points": 512,
            "init": "start",
            "learned_from": [
                {"name": "psb", "what": "shapes it was distilled on", "licence": "research use", "terms": "ask first"},
                {"name": "t", "what": "teacher"},
                {"name": "toys", "what": "shapes", "made_here": True},
            ],
            "finetuned_by": ["classification"],
            "not_judged_by": ["few_shot", "retrieval"],
        },
        {"run": "scratch", "form": "transfer", "arm": "scratch", "student": "small"},
    ],
}
FACTS = StudentFacts(12345, 16, {0: "a" * 64, 1: "b" * 64})
RATES = {0: 0.5, 1: 0.7}


def metrics_of_mcd():
    return [make_metrics("mcd", "mcd", seed, draw_outcomes(rate, seed)) for seed, rate in RATES.items()]


def card(metrics=(), run=0, facts=FACTS, **changes) -> str:
    values = copy.deepcopy(SETTINGS)
    values["runs"][run] |= changes
    suite = parse(CardsSettings, values, "cards")
    return render_card(suite.runs[run], suite, facts, metrics, {"commit": "abc", "versions": {"numpy": "2"}})


def head_of(text: str) -> dict:
    lines = text.split("---\n")
    assert lines[0] == ""
    return yaml.safe_load(lines[1])


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].partition("\n## ")[0]


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_head_is_what_hubs_read():
    head = head_of(card())
    assert head["license"] == "other"
    assert head["license_name"] == "research-use-and-unknown"
    assert head["library_name"] == "pointlift"
    assert head["tags"] == ["point-cloud", "3d", "pointnet", "pointmcd"]


def test_terms_are_those_of_all_that_it_learned_from():
    told = section(card(), "Terms")
    assert rows_of(told) == [
        ["`psb`", "shapes it was distilled on", "research use", "ask first"],
        ["`t`", "teacher", "unknown", ""],
        ["`toys`", "shapes", "made by pointlift", ""],
    ]
    assert "Use them only as every one of these allows: **research use**." in told
    assert "**Unknown** is what `t` allows" in told
    assert "MIT" not in told


def test_weights_made_of_nothing_that_others_own_are_free():
    own = [{"name": "toys", "what": "shapes", "made_here": True}]
    text = card(learned_from=own)
    assert head_of(text)["license"] == "mit" and "license_name" not in head_of(text)
    assert "All of it was made by pointlift itself" in section(text, "Terms")
    untrained = card(run=1)
    assert head_of(untrained)["license"] == "mit"
    assert "It has learned from nothing" in section(untrained, "Terms")


def test_numbers_are_means_over_seeds_of_the_last_weights():
    metrics = metrics_of_mcd()
    values = [item.values[0].value for item in metrics]
    extra = {"metric": "accuracy", "value": 0.99, "selection": "val"}
    metrics = [item.model_copy(update={"values": (*item.values, type(item.values[0])(**extra))}) for item in metrics]
    told = section(card(metrics), "Numbers")
    mean = sum(values) / 2
    sd = abs(values[0] - values[1]) / 2**0.5
    (row,) = rows_of(told)
    assert row == [
        "`classification`",
        "`down`",
        "`down/12-8/transfer`",
        "`accuracy`",
        f"{mean:.3f}",
        f"{sd:.3f}",
        "2",
        "60",
    ]
    assert "0.99" not in told
    assert "`results/report/mini/leaderboard.csv`" in told
    assert "Numbers of `classification` are of the encoder trained on for the task" in told


def test_one_seed_has_no_spread_and_no_claim():
    text = card(metrics_of_mcd()[:1])
    assert rows_of(section(text, "Numbers"))[0][5:7] == ["\N{EN DASH}", "1"]
    assert "- 2 seeds: no claim that a method works" in section(text, "Limits")
    assert "Suite `mini` does not judge it." in section(card(), "Numbers")


def test_limits_say_what_it_was_not_tested_on():
    told = section(card(metrics_of_mcd()), "Limits")
    assert "Judged on `down` alone" in told
    assert "Not judged by `few_shot`, `retrieval`." in told
    assert "clouds of 512 points" in told
    assert "placed by the whole mesh" not in told
    assert "placed by the whole mesh" in section(card(placed_by_mesh=True), "Limits")


def test_what_was_never_trained_says_so():
    assert "never trained" in card(run=1)
    assert "**The weights in this folder were never trained.** A joint run" in card(form="joint")
    filled = card(run=1, source="t", arm="io", teacher_weights="published weights of resnet18")
    assert "**These weights were never trained on clouds.** Stages are those of the 2D network `t`" in filled
    assert "| starts from | 2D weights of `t` |" in filled and "random numbers of its seed, so" in filled
    assert "never trained" not in card()
    theirs = card(method=None, teacher=None, released="x.pth, layout dgcnn")
    assert "**These weights are those that others released** (x.pth, layout dgcnn)" in theirs
    assert "random weights" not in theirs and "never trained" not in theirs


def test_released_weights_count_once_and_were_chosen_by_their_authors():
    theirs = {"method": None, "teacher": None, "released": "x.pth, layout dgcnn", "arm": "init_released"}
    told = section(card([make_metrics("mcd", "init_released", seed, [1, 0]) for seed in (0, 1)], **theirs), "Numbers")
    (row,) = rows_of(told)
    assert row[4:7] == ["0.500", "\N{EN DASH}", "1"]
    assert "which ones to publish their authors chose" in told and "of a fixed schedule" not in told
    replayed = section(card([make_metrics("mcd", "replayed", 0, [1, 0])], **{**theirs, "arm": "replayed"}), "Numbers")
    assert "It has no control" in replayed and "Its controls" in told
    assert "of a fixed schedule" in section(card(metrics_of_mcd()), "Numbers")


def test_how_it_was_made_is_whole():
    told = section(card(), "How it was made")
    blocks = yaml.safe_load(re.search(r"```yaml\n(.*?)```", told, flags=re.DOTALL).group(1))
    named = SETTINGS["blocks"]
    assert blocks == {
        "run": named["runs"]["mcd"],
        "student": named["students"]["small"],
        "method": named["methods"]["md"],
        "teacher": named["teachers"]["t"],
        "rig": named["rigs"]["ring"],
        "init": {
            "run": named["runs"]["start"],
            "student": named["students"]["small"],
            "method": named["methods"]["mae"],
        },
    }
    for words in ("make benchmark SUITE=mini", "a" * 64, "b" * 64, "the students of run `start`", "512 points a cloud"):
        assert words in told
    assert "- commit: abc" in section(card(), "Made with")


def test_the_example_is_two_lines_of_python():
    code = re.search(r"```python\n(.*?)```", card(), flags=re.DOTALL).group(1)
    assert len(ast.parse(code).body) == 2
    assert 'pointlift.load("results/students/mcd/seed0")' in code
    assert "normalise=False" not in card()
    assert "normalise=False" in card(keeps_coordinates=True)


EVIL = "a|b`c*_[x](http://e.org)<script>\n# big\n--- \x1b[31m&amp; \u202e"


def test_words_from_elsewhere_are_no_marks():
    text = card(
        student=EVIL,
        dataset=EVIL,
        teacher_weights=EVIL,
        learned_from=[{"name": EVIL, "what": EVIL, "licence": EVIL, "terms": EVIL, "page": EVIL}],
    )
    assert not re.search(r"(?<!\\)<script", text)
    assert "\n# big" not in text and "\x1b" not in text and "\u202e" not in text
    assert len(rows_of(section(text, "Terms"))[0]) == 4
    assert head_of(text)["license_name"].isascii()
    assert re.search(r"(?<!\\)\[x", text) is None


def test_fences_are_longer_than_what_they_hold():
    assert fenced("a\n````\nb", "sh") == ["`````sh", "a", "````", "b", "`````"]
    assert name_of("a_b/c-1.2") == "`a_b/c-1.2`"
    assert name_of("a b_c") == r"a b\_c" == escaped("a\n b_c")


def test_the_same_bytes_whatever_the_order_of_metrics():
    metrics = metrics_of_mcd()
    assert card(metrics) == card(metrics[::-1])


def test_metrics_of_a_run_that_is_not_there_are_refused():
    suite = parse(CardsSettings, SETTINGS, "cards")
    assert {run: len(found) for run, found in by_run(suite, metrics_of_mcd()).items()} == {"mcd": 2, "scratch": 0}
    with pytest.raises(ArtifactError, match="run other has metrics and is not of suite mini"):
        by_run(suite, [make_metrics("other", "mcd", 0, [1.0])])


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        ("students", "small", "run mcd lacks 'small'"),
        ("teachers", "t", "lacks 't'"),
        ("runs", "start", "lacks 'start'"),
    ],
)
def test_a_block_that_is_missing_is_told(family, name, message):
    values = copy.deepcopy(SETTINGS)
    del values["blocks"][family][name]
    with pytest.raises(ConfigError, match=message):
        parse(CardsSettings, values, "cards")


def test_a_run_that_starts_from_itself_is_told():
    values = copy.deepcopy(SETTINGS)
    values["blocks"]["runs"]["start"]["init"] = "mcd"
    with pytest.raises(ConfigError, match="run mcd starts from itself"):
        parse(CardsSettings, values, "cards")
