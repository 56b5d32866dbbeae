"""Runs that cannot be meant: what methods read, what arms may be called, where runs start, who can be asked what."""

import copy
from pathlib import Path

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.graph import Graph

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def values():
    return {**copy.deepcopy(CONFIG), "suite": "mini_concept"}


def lines(values):
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    return str(caught.value).splitlines()[1:]


@pytest.mark.parametrize(
    ("run", "changes", "message"),
    [
        ("mini_concept", {"teacher": None}, "runs.mini_concept.teacher: missing; method 'concept6' (kind 'concept')"),
        ("mini_concept", {"rig": None}, "runs.mini_concept.rig: missing"),
        ("mini_point_mae", {"rig": "ring6_64px"}, "mini_point_mae.rig: 'ring6_64px' is not used: method 'point_mae'"),
        ("mini_point_mae", {"teacher": "mini_clip"}, "runs.mini_point_mae.teacher: 'mini_clip' is not used"),
        ("mini_concept_m1", {"arm": "concept"}, "mini_concept_m1.arm: 'concept' is not what method 'concept6_m1' do"),
        ("mini_concept", {"arm": "mean_pool"}, "runs.mini_concept.arm: 'mean_pool' is not what method 'concept6' does"),
        ("mini_concept", {"arm": "random_teacher"}, "does not go with teacher 'mini_clip'"),
        ("mini_concept_same_class", {"dataset": "psb"}, "'same_class_shuffled' needs classes, and dataset 'psb' is"),
        ("mini_concept", {"method": "concept"}, "mini_concept.rig: 'ring6_64px' has 6 views, and method 'conc"),
        ("mini_concept", {"method": "by_view"}, "which do not turn with an augmented cloud"),
        ("mini_concept", {"method": "nothing"}, "'nothing' has weight 0: nothing would be learned"),
        ("mini_concept_init", {"init": "mini_concept_scratch"}, "'mini_concept_scratch' is arm 'scratch'; arm init"),
        ("mini_concept_init", {"init": "mini_concept_init"}, "is arm 'init_point_mae'; arm init_point_mae starts from"),
        ("mini_concept_init", {"init": "nano_point_mae"}, "has student 'point_transformer_nano', this run"),
        ("mini_concept_init", {"init": "princeton_point_mae"}, "has dataset 'psb', this run 'mini_distillation_shap"),
        ("mini_concept_init", {"init": "nobody"}, "runs.mini_concept_init.init: there is no block 'nobody' in runs"),
        ("mini_point_mae", {"student": "pointnet_small"}, "cannot be shown part of a cloud, and method 'point_mae'"),
        ("mini_concept", {"method": "five_heads"}, "'five_heads' has 5 heads, which do not divide the 96 numbers"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_meant_is_told_in_one_line(values, run, changes, message):
    values["methods"]["nothing"] = {**values["methods"]["concept6"], "weight": 0.0}
    values["methods"]["five_heads"] = {**values["methods"]["concept6"], "heads": 5}
    values["methods"]["by_view"] = {"kind": "concept", "query": "view", "num_views": None}
    block = {**values["runs"][run], **changes}
    if changes.get("method") == "by_view":
        block["recipe"] = {**block["recipe"], "augmentation": {"rotation": "up"}}
    values["runs"][run] = {key: value for key, value in block.items() if value is not None}
    assert sum(message in line for line in lines(values)) == 1


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (["mini_concept_scratch"], "'mini_concept_scratch': it has no head into a teacher's space"),
        (["mini_point_mae"], "'mini_point_mae': it has no head into a teacher's space"),
        (["mini_concept_other_teacher"], "its teacher 'mini_classifier' (kind 'view_classifier') knows images only"),
        (["mini_mcd"], "names run 'mini_mcd', which is not among the suite's runs"),
    ],
)  # fmt: skip
def test_zero_shot_is_refused_with_the_reason(values, runs, reason):
    for task in values["suites"]["mini_concept"]["tasks"]:
        if isinstance(task, dict) and task["task"] == "mini_zero_shot":
            task["runs"] = runs
    found = lines(values)
    assert len(found) == 1 and reason in found[0]


def test_the_run_that_another_starts_from_belongs_to_the_suite(values):
    values["suites"]["mini_concept"]["runs"].remove("mini_point_mae")
    found = lines(values)
    assert len(found) == 1 and "'mini_concept_init' starts from 'mini_point_mae', which is not among them" in found[0]


def test_a_task_that_names_no_runs_is_asked_of_all(values):
    values["suites"]["mini_concept"]["tasks"] = ["mini_zero_shot"]
    refused = [line.split("of run ")[1].split(":")[0] for line in lines(values)]
    assert refused == ["'mini_concept_scratch'", "'mini_concept_other_teacher'", "'mini_point_mae'"]


def test_a_task_meets_the_runs_it_names_and_no_others(values):
    graph = Graph(read_config(values))
    asked = {run for run, task, _ in graph.evaluations if task == "zero_shot"}
    assert asked == {
        "mini_concept",
        "mini_concept_m1",
        "mini_concept_mean_pool",
        "mini_concept_shuffled",
        "mini_concept_same_class",
        "mini_concept_random_teacher",
        "mini_concept_init",
    }
    assert {run for run, task, _ in graph.evaluations if task == "retrieval"} == set(graph.config.chosen.runs)


def test_a_run_is_made_after_the_run_it_starts_from_and_reads_what_its_method_reads(values):
    graph = Graph(read_config(values))
    assert graph.initial_weights("mini_concept_init", 3) == [graph.student_weights("mini_point_mae", 3)]
    assert graph.initial_weights("mini_concept", 3) == []
    assert graph.distillation_files("mini_concept", "visibility") == []
    assert graph.distillation_files("mini_concept", "tokens") == []
    assert len(graph.distillation_files("mini_concept", "features")) == 1
    assert [stage for stage in ("features", "visibility") if graph.distillation_files("mini_point_mae", stage)] == []
    assert len(graph.distillation_files("mini_point_mae", "points")) == 1
    values["methods"]["concept6"] = {**values["methods"]["concept6"], "token_weight": 0.5}
    read = Graph(read_config(values)).distillation_files("mini_concept", "tokens")
    assert read == ["results/tokens/mini_distillation_shapes/ring6_64px/mini_clip/0000.safetensors"]


def test_every_run_that_is_asked_in_words_has_its_teachers_prompts(values):
    graph = Graph(read_config(values))
    prompts = {
        run: graph.prompts(run, task, dataset) for run, task, dataset in graph.evaluations if task == "zero_shot"
    }
    assert prompts["mini_concept"] == ["results/prompts/mini_shapes/mini_clip.safetensors"]
    assert prompts["mini_concept_random_teacher"] == ["results/prompts/mini_shapes/mini_clip_random.safetensors"]
    assert graph.prompts("mini_concept", "retrieval", "mini_shapes") == []


def test_a_run_that_no_task_meets_is_refused(values):
    suite = values["suites"]["mini_concept"]
    suite["tasks"] = [{"task": "mini_classification", "runs": ["mini_concept", "mini_point_mae"]}]
    suite["runs"] = ["mini_concept", "mini_point_mae", "mini_concept_init"]
    found = lines(values)
    assert len(found) == 1 and "suites.mini_concept.runs: no task meets 'mini_concept_init'" in found[0]
    suite["runs"] = ["mini_concept", "mini_point_mae"]
    read_config(values)


def test_a_run_that_only_another_starts_from_needs_no_task(values):
    suite = values["suites"]["mini_concept"]
    suite["tasks"] = [{"task": "mini_classification", "runs": ["mini_concept_init"]}]
    suite["runs"] = ["mini_point_mae", "mini_concept_init"]
    read_config(values)
