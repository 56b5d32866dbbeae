"""A run's model card: what its students are, how they were made, on whose terms, what was measured and what was not.

Markdown with the YAML head that model hubs read. The same input gives the same bytes: it holds no time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.metrics import Metrics
from pointlift.reporting.cells import HEADLINE_SELECTION, MISSING, as_read, plain
from pointlift.reporting.leaderboard import measured_values
from pointlift.reporting.markdown import as_yaml, escaped, fenced, name_of, table
from pointlift.reporting.provenance import flatten
from pointlift.reporting.slices import CardSettings, CardsSettings, LearnedFrom
from pointlift.reporting.statistics import mean_over_seeds
from pointlift.reporting.tables import number
from pointlift.reporting.verdict import AUTHORS_CHOICE, MIN_SEEDS

UNKNOWN = "unknown"


@dataclass(frozen=True)
class StudentFacts:
    """What only the student itself can say."""

    parameters: int
    """Numbers that are trained."""
    width: int
    """C, of its embedding."""
    weights: Mapping[int, str]
    """sha256 of its weights file, by seed."""


def by_run(settings: CardsSettings, metrics: Iterable[Metrics]) -> dict[str, list[Metrics]]:
    """Metrics by run, every run of the suite included. Raises ``ArtifactError`` for those of another run."""
    found: dict[str, list[Metrics]] = {card.run: [] for card in settings.runs}
    for item in metrics:
        if item.run not in found:
            raise ArtifactError(f"run {item.run} has metrics and is not of suite {settings.suite}: {', '.join(found)}")
        found[item.run].append(item)
    return found


def render_card(
    card: CardSettings,
    suite: CardsSettings,
    facts: StudentFacts,
    metrics: Sequence[Metrics],
    provenance: Mapping[str, Any],
) -> str:
    """The card as text. ``metrics``: of this run alone."""
    blocks = suite.blocks_of(card.run)
    sections = [
        *_head(card, blocks),
        "",
        f"# {name_of(card.run)}",
        "",
        *_what_it_is(card, blocks, facts),
        *_section("Use", _use(card, suite.seeds, facts)),
        *_section("How it was made", _how_it_was_made(card, suite, blocks, facts)),
        *_section("Terms", _terms(card)),
        *_section("Numbers", _numbers(card, suite.suite, metrics)),
        *_section("Limits", _limits(card, suite.seeds, metrics)),
        *_section("Made with", [f"- {escaped(key)}: {escaped(text)}" for key, text in flatten(provenance)]),
    ]
    return "\n".join(sections) + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _head(card: CardSettings, blocks: Mapping[str, Any]) -> list[str]:
    """What a hub reads. Terms that are no common licence are ``other``, with a name and the section that tells them."""
    licence = {"license": "mit"}
    if not _free(card):
        words = " and ".join(sorted({one.licence or UNKNOWN for one in card.learned_from if not one.made_here}))
        licence = {"license": "other", "license_name": _slug(words)}
    tags = ["point-cloud", "3d", *(_slug(blocks[word]["kind"]) for word in ("student", "method") if word in blocks)]
    return ["---", *as_yaml({**licence, "library_name": "pointlift", "tags": tags}).splitlines(), "---"]


def _free(card: CardSettings) -> bool:
    return all(one.made_here for one in card.learned_from)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or UNKNOWN


def _what_it_is(card: CardSettings, blocks: Mapping[str, Any], facts: StudentFacts) -> list[str]:
    kind = name_of(blocks["student"]["kind"])
    lines = [
        f"A 3D point-cloud encoder of pointlift: student {name_of(card.student)} (kind {kind}), {facts.parameters:,} "
        f"trained numbers, one embedding of width {facts.width:,} for each cloud."
    ]
    if card.form == "joint":
        lines += [
            "",
            "**The weights in this folder were never trained.** A joint run learns beside a task, from these weights "
            "on: what comes of it lies below `results/finetuned`.",
        ]
    elif card.source is not None:
        lines += [
            "",
            "**These weights were never trained on clouds.** Stages are those of the 2D network "
            f"{name_of(card.source)}; all else is random numbers of its seed, so that the embedding is of little use "
            "before a task trains it.",
        ]
    elif card.released is not None:
        lines += [
            "",
            f"**These weights are those that others released** ({escaped(card.released)}): nothing of them was trained "
            "here. What that file has none of (a class token, at most) is random numbers of the seed.",
        ]
    elif card.method is None:
        lines += ["", "**These weights were never trained.** They are the run's control: random numbers of its seed."]
    return lines


def _use(card: CardSettings, seeds: Sequence[int], facts: StudentFacts) -> list[str]:
    folder = json.dumps(f"results/students/{card.run}/seed{seeds[0]}")
    example = f"import pointlift\nencoder = pointlift.load({folder})"
    lines = [*fenced(example, "python"), ""]
    lines += [f"`encoder(points)` of clouds (B, N, 3) gives (B, {facts.width}); pointlift's docs/students.md has more."]
    if card.keeps_coordinates:
        lines += ["Its clouds kept the units of their files: `encoder(points, normalise=False)`."]
    return lines


def _how_it_was_made(
    card: CardSettings, suite: CardsSettings, blocks: Mapping[str, Any], facts: StudentFacts
) -> list[str]:
    seen = None if card.num_points is None else f"{card.num_points:,} points a cloud"
    rows = {
        "method": _named(card.method, blocks["method"]["kind"] if card.method else None),
        "arm": name_of(card.arm),
        "form": name_of(card.form),
        "starts from": _start(card),
        "teacher": _named(card.teacher, blocks["teacher"]["kind"] if card.teacher else None),
        "its weights": escaped(card.teacher_weights) or MISSING,
        "distilled on": _named(card.dataset, seen),
        "rig": _named(card.rig, None),
        "seeds": ", ".join(map(str, suite.seeds)),
    }
    files = [(f"`seed{seed}/weights.safetensors`", f"`{facts.weights[seed]}`") for seed in suite.seeds]
    return [
        *table(("", ""), rows.items()),
        "",
        "Made by",
        "",
        *fenced(suite.command, "sh"),
        "",
        "from these blocks:",
        "",
        *fenced(as_yaml(blocks), "yaml"),
        "",
        *table(("file", "sha256"), files),
    ]


def _start(card: CardSettings) -> str:
    if card.source is not None:
        return f"2D weights of {name_of(card.source)}"
    if card.released is not None:
        return f"released weights: {escaped(card.released)}"
    return "random weights" if card.init is None else f"the students of run {name_of(card.init)}"


def _named(name: str | None, beside: str | None) -> str:
    told = f" ({escaped(beside)})" if beside else ""
    return f"{name_of(name)}{told}" if name else MISSING


def _terms(card: CardSettings) -> list[str]:
    if not card.learned_from:
        return ["It has learned from nothing: pointlift's own licence (MIT) is all there is."]
    rows = [
        (name_of(one.name), escaped(one.what), _licence(one), escaped(" ".join(filter(None, (one.terms, one.page)))))
        for one in card.learned_from
    ]
    lines = table(("learned from", "what it is", "licence", "terms"), rows)
    if _free(card):
        return [*lines, "", "All of it was made by pointlift itself: its own licence (MIT) is all there is."]
    others = [one for one in card.learned_from if not one.made_here]
    known = sorted({one.licence for one in others if one.licence})
    lines += ["", "What follows for the weights: they are no freer than anything that they learned from."]
    if known:
        lines += [f"Use them only as every one of these allows: **{escaped('; '.join(known))}**."]
    if silent := [name_of(one.name) for one in others if not one.licence]:
        lines += [
            f"**Unknown** is what {', '.join(silent)} allows, for no block says it: ask its owner before you pass the "
            "weights on or earn by them."
        ]
    return lines


def _licence(one: LearnedFrom) -> str:
    return "made by pointlift" if one.made_here else escaped(one.licence or UNKNOWN)


def _numbers(card: CardSettings, suite: str, metrics: Sequence[Metrics]) -> list[str]:
    found: dict[tuple[str, ...], dict[int, tuple[float, int]]] = {}
    for item in metrics:
        for value in item.values:
            if value.selection == HEADLINE_SELECTION:
                key = (item.task, item.dataset, item.protocol, value.metric)
                found.setdefault(key, {})[item.seed] = (value.value, item.n_test)
    if not found:
        return [f"Suite {name_of(suite)} does not judge it."]
    heads = ("task", "dataset", "protocol", "metric", "mean", "sd", "seeds", "test items")
    lines = table(heads, [(*map(name_of, key), *_fold(card.arm, found[key])) for key in sorted(found, key=as_read)])
    lines += [
        "",
        f"Of weights that others released: {AUTHORS_CHOICE}. No epoch and no seed was chosen here."
        if card.released
        else "Of the last weights of a fixed schedule: no epoch and no seed was chosen by a test score.",
    ]
    table_of_all = name_of(f"results/report/{suite}/leaderboard.csv")
    lines += [
        "It has no control: nothing here was trained as it was."
        if card.arm == "replayed"
        else f"Its controls, and how far it is from them, stand in {table_of_all}: a number here means nothing without "
        "them.",
    ]
    if card.finetuned_by:
        tasks = ", ".join(map(name_of, card.finetuned_by))
        lines += [f"Numbers of {tasks} are of the encoder trained on for the task, not of these weights as they are."]
    return lines


def _fold(arm: str, by_seed: Mapping[int, tuple[float, int]]) -> tuple[str, str, str, str]:
    """Mean and standard deviation over seeds, the number of seeds, and of test items."""
    values = measured_values(arm, [value for value, _ in by_seed.values()])
    fold = mean_over_seeds(values)
    tested = sorted({count for _, count in by_seed.values()})
    items = f"{tested[0]:,}" if len(tested) == 1 else f"{tested[0]:,} to {tested[-1]:,}"
    return plain(number(fold.mean)), plain(number(fold.sd)), str(len(values)), items


def _limits(card: CardSettings, seeds: Sequence[int], metrics: Sequence[Metrics]) -> list[str]:
    judged = sorted({item.dataset for item in metrics})
    lines = []
    if len(seeds) < MIN_SEEDS:
        told = "One seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
        lines += [f"- {told}: no claim that a method works. That takes {MIN_SEEDS}, and intervals that exclude 0."]
    if judged:
        lines += [f"- Judged on {', '.join(map(name_of, judged))} alone: nothing is known of shapes from elsewhere."]
    if card.not_judged_by:
        lines += [f"- Not judged by {', '.join(map(name_of, card.not_judged_by))}."]
    if card.num_points is not None:
        lines += [
            f"- It learned from clouds of {card.num_points:,} points. Other densities, noise, poses and hidden parts "
            "are tested only as far as the numbers above say."
        ]
    if card.placed_by_mesh:
        lines += [
            "- Those clouds were placed by the whole mesh that they were sampled from. A cloud on its own is placed by "
            "its own bounding box: a little larger, and off that centre where parts are hidden."
        ]
    return [*lines, "- It takes points alone: no colour and no normals."]
