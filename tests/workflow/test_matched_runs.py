"""Runs that are finetuned for longer, so that they cost as much as distillation and finetuning of another."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.graph import Graph
from pointlift.jobs import Jobs

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
RUN = "mini_scratch_matched"


def changed(**run: object) -> dict:
    values = copy.deepcopy(CONFIG)
    values["runs"][RUN] |= run
    return values | {"suite": "mini"}


def jobs(values: dict) -> Jobs:
    return Jobs(Graph(read_config(values)))


def test_it_is_trained_for_longer_and_differs_in_nothing_else():
    given = jobs(changed(longer={"classification": 2.6}))
    ours, theirs = (
        json.loads(given.finetune_student(run, "classification", "mini_shapes")) for run in (RUN, "mini_scratch")
    )
    epochs = theirs["task"]["recipe"]["epochs"]
    assert ours["task"]["recipe"].pop("epochs") == round(2.6 * epochs) > theirs["task"]["recipe"].pop("epochs")
    assert (ours.pop("run"), ours.pop("arm")) == (RUN, "scratch_matched")
    assert (theirs.pop("run"), theirs.pop("arm")) == ("mini_scratch", "scratch")
    assert ours == theirs


def test_what_it_matches_is_told_to_the_tables_and_remakes_no_student_of_another():
    one, other = jobs(changed()), jobs(changed(longer={"classification": 3.0}))
    assert json.loads(one.collect_metrics())["matches"] == {RUN: "mini_mcd"}
    assert one.finetune_student(RUN, "classification", "mini_shapes") != other.finetune_student(
        RUN, "classification", "mini_shapes"
    )
    row = ("mini_scratch", "classification", "mini_shapes")
    assert one.finetune_student(*row) == other.finetune_student(*row)
    assert one.train_student(RUN) == other.train_student(RUN)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"matches": None}, "arm scratch_matched says which run it matches"),
        ({"longer": {}}, "arm scratch_matched says which run it matches"),
        ({"arm": "scratch"}, "arm scratch_matched says which run it matches"),
        ({"longer": {"classification": 0.5}}, "longer.classification: .*at least 1|greater than or equal to 1"),
        ({"matches": "nobody"}, "matches: there is no block 'nobody'"),
        ({"matches": "nano_mcd"}, "'nano_mcd', which is not among them; name it too"),
        ({"matches": "mini_scratch"}, "which must be a transfer run that distils the same student"),
        ({"matches": "mini_concept"}, "which must be a transfer run that distils the same student"),
        ({"longer": {"part_segmentation": 2.0}}, "meets one of kind classification; add it to runs.mini_scratch_mat"),
    ],
)
def test_what_cannot_be_meant_is_told(run, told):
    with pytest.raises(ConfigError, match=told):
        read_config(changed(**run))


def test_what_it_matches_meets_the_same_tasks():
    values = changed()
    ((place, task),) = [
        (place, task)
        for place, task in enumerate(values["suites"]["mini"]["tasks"])
        if task["task"] == "mini_classification"
    ]
    values["suites"]["mini"]["tasks"][place] = {**task, "runs": [one for one in task["runs"] if one != "mini_mcd"]}
    with pytest.raises(ConfigError, match="'mini_mcd', which does not meet 'mini_classification'"):
        read_config(values)


def test_a_task_that_trains_nobody_has_nothing_longer():
    values = changed(longer={"classification": 2.0, "retrieval": 2.0})
    suite = values["suites"]["mini"]
    suite["tasks"] = [
        *[t for t in suite["tasks"] if t["task"] != "mini_retrieval"],
        {"task": "mini_retrieval", "runs": [RUN]},
    ]
    with pytest.raises(ConfigError, match="on retrieval, which trains no student"):
        read_config(values)


def test_every_phase_of_a_task_is_longer():
    values = changed(longer={"classification": 2.0, "semi_supervised": 3.0})
    values["suites"]["mini"]["tasks"].append({"task": "mini_semi_supervised", "runs": [RUN, "mini_mcd"]})
    own = values["tasks"]["mini_semi_supervised"]
    own |= {"dataset": "mini_shapes", "student_recipe": {**own["recipe"], "epochs": 7}}
    task = json.loads(jobs(values).finetune_student(RUN, "semi_supervised", "mini_shapes"))["task"]
    assert (task["recipe"]["epochs"], task["student_recipe"]["epochs"]) == (3 * own["recipe"]["epochs"], 21)


@pytest.mark.parametrize("suite", CONFIG["suites"])
def test_what_distils_into_one_student_on_one_set_has_one_recipe(suite):
    # docs/protocols.md: controls share data, steps, augmentation and recipe with the run they stand beside
    recipes: dict = {}
    for run in (CONFIG["runs"][name] for name in CONFIG["suites"][suite]["runs"]):
        if "recipe" in run:
            key = (run["student"], run["dataset"])
            assert recipes.setdefault(key, run["recipe"]) == run["recipe"], key
