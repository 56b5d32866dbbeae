"""Runs with a released file: what cannot be meant, the files and rules they take, the words of their rows."""

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.costs import cost_entries
from pointlift.graph import Graph
from pointlift.jobs import Jobs
from pointlift.local_files import require_local_files
from pointlift.model_cards import cards_settings

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
NETWORK = {"kind": "pointnet2", "balls": "first", "frame": {"up": "y", "centre": "mean"}, "widths": [16, 24, 32]}
NETWORK["levels"] = [
    {"num_centres": 12, "radius": 0.7, "num_neighbours": 5, "widths": [8, 8, 12]},
    {"num_centres": 5, "radius": 1.1, "num_neighbours": 4, "widths": [12, 12, 16]},
]
GROUPS = {"kind": "point_transformer", "centres": "farthest_off_origin", "num_groups": 8, "group_size": 8, "depth": 3}
BLOCKS = {"ssg": NETWORK, "groups": GROUPS, "bare": {**GROUPS, "class_token": False, "pool": "max"}}
REPLAYED = {"student": "ssg", "arm": "replayed"}
REPLAYED["released"] = {"file": "ssg.pth", "layout": "pointnet2_ssg", "saw": "labelled"}
STARTED = {"student": "groups", "arm": "init_released"}
STARTED["released"] = {"file": "mae.pth", "layout": "point_mae_pretrained", "saw": "shapenet-only"}


def values(run, seeds=(0,), tasks=("nano_classification", "nano_linear_probe"), archives="archives"):
    """The shipped config with a suite ``replays`` of one run."""
    found = copy.deepcopy(CONFIG)
    found["students"] |= BLOCKS
    found["runs"]["theirs"] = run
    found["tasks"]["nano_frozen"] = {**found["tasks"]["nano_classification"], "regime": "frozen"}
    found["suites"]["replays"] = {"runs": ["theirs"], "tasks": list(tasks), "seeds": list(seeds)}
    found["paths"]["archives"] = archives
    return {**found, "suite": "replays"}


def graph(run=REPLAYED, **told):
    return Graph(read_config(values(run, **told)))


def changed(run, **keys):
    released = {**run["released"], **keys.pop("released", {})}
    return {**run, **keys, "released": released}


WITHOUT = {key: value for key, value in REPLAYED.items() if key != "released"}


@pytest.mark.parametrize(
    ("run", "told", "words"),
    [
        (WITHOUT, {}, "arm replayed needs released: {file, layout, saw}"),
        ({**REPLAYED, "arm": "scratch"}, {}, "layout pointnet2_ssg is a classifier with its head: its arm is replayed"),
        ({**STARTED, "arm": "replayed"}, {}, "is an encoder without a head: its arm is init_released, this run says"),
        ({**REPLAYED, "method": "nano_mcd"}, {}, "runs.theirs"),
        (changed(REPLAYED, released={"layout": "pointnext"}), {}, "released.layout: 'pointnext' is not allowed"),
        (changed(REPLAYED, released={"saw": "everything"}), {}, "released.saw: 'everything' is not allowed"),
        (changed(REPLAYED, released={"file": "/x.pth"}), {}, "is named from paths.archives on"),
        (changed(REPLAYED, released={"file": "../x.pth"}), {}, "is named from paths.archives on"),
        (
            changed(REPLAYED, student="bare"),
            {},
            "'bare' is not the network of layout 'pointnet2_ssg': kind 'point_tran",
        ),
        (
            changed(STARTED, arm="replayed", student="bare", released={"layout": "point_mae"}),
            {},
            "not the network of layout 'point_mae': pool 'max', not 'class_max'; class_token False, not True",
        ),
        (REPLAYED, {"seeds": (0, 1)}, "suites.replays.seeds: 'theirs' is read from a file, and 2 seeds would give one"),
        (REPLAYED, {"tasks": ("nano_part_segmentation",)}, "it is replayed, never trained, and answers task classific"),
        (STARTED, {}, "'nano_linear_probe' cannot be asked of run 'theirs': its file has no class token"),
        (STARTED, {"tasks": ("nano_frozen",)}, "'nano_frozen' cannot be asked of run 'theirs': its file has no class"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_runs(run, told, words):
    with pytest.raises(ConfigError) as caught:
        graph(run, **told)
    assert words in str(caught.value)


def test_an_encoder_may_be_finetuned_with_several_seeds_and_judged_frozen_without_a_class_token():
    graph(STARTED, seeds=(0, 1), tasks=("nano_classification",))
    graph(changed(STARTED, student="bare"))


def test_a_file_that_is_not_there_is_asked_for_by_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"runs\.theirs\.released: ssg\.pth\n  take runs whose .*docs/replay\.md"):
        require_local_files(graph(archives=str(tmp_path)))
    (tmp_path / "ssg.pth").write_bytes(b"")
    require_local_files(graph(archives=str(tmp_path)))


def test_rows_say_released_and_no_history_of_it_is_waited_for():
    found = graph()
    jobs = Jobs(found)
    row = json.loads(jobs.evaluate_task("theirs", "classification", "nano_shapes"))["row"]
    assert (row["method"], row["arm"], row["teacher"], row["pretrain_dataset"]) == ("released", "replayed", "", "")
    assert found.histories() == []
    started = graph(STARTED, tasks=("nano_classification",))
    assert len(started.histories()) == 1
    assert json.loads(Jobs(started).evaluate_task("theirs", "classification", "nano_shapes"))["row"]["arm"] == (
        "init_released"
    )


def test_jobs_know_the_file_and_not_what_its_pretraining_saw():
    def settings(run):
        jobs = Jobs(graph(run))
        return jobs.train_student("theirs"), jobs.replay_student("theirs")

    first = settings(REPLAYED)
    assert json.loads(first[1])["released"] == {
        "file": "ssg.pth",
        "layout": "pointnet2_ssg",
        "sha256": None,
        "head_classes": None,
    }
    assert settings(changed(REPLAYED, released={"saw": "hybrid"})) == first
    assert all(a != b for a, b in zip(settings(changed(REPLAYED, released={"file": "o.pth"})), first, strict=True))
    assert "released" not in json.loads(Jobs(graph()).train_student("nano_scratch"))


def test_costs_and_cards_know_that_it_is_replayed():
    found = graph()
    phases = {entry["phase"] for entry in cost_entries(found) if entry["run"] == "theirs"}
    assert phases == {"train_student", "replay_student", "embed_shapes", "evaluate_task"}
    card = cards_settings(found)["runs"][0]
    assert card["released"] == "ssg.pth, layout pointnet2_ssg"
    assert card["finetuned_by"] == []
    assert card["learned_from"][0]["made_here"] is False and "ssg.pth" in card["learned_from"][0]["what"]


def test_a_dry_run_plans_a_replay_and_no_finetuning(checkout):
    folder = checkout.folder / "archives"
    folder.mkdir()
    torch.save({}, folder / "ssg.pth")
    (checkout.folder / "config.yaml").write_text(yaml.safe_dump(values(REPLAYED)), encoding="utf-8")
    planned = checkout.planned("replays")
    assert planned["replay_student"] == 1 and planned["embed_shapes"] == 1 and planned["evaluate_task"] == 2
    assert "finetune_student" not in planned
