"""What a run's weights saw, as the config says it."""

import copy
from pathlib import Path
from types import SimpleNamespace

import yaml

from pointlift.configuration import read_config
from pointlift.graph import Graph
from pointlift.origins import origins
from pointlift.reporting.slices import Origin

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


def found(suite: str) -> dict[str, Origin]:
    values = {**copy.deepcopy(CONFIG), "suite": suite}
    told = [Origin.model_validate_json(Origin(**one).model_dump_json()) for one in map(tuples, made(values))]
    return {origin.run: origin for origin in told}


def made(values: dict) -> list[dict]:
    return origins(Graph(read_config(values)))


def tuples(one: dict) -> dict:
    return {**one, "sets": tuple(map(tuple, one["sets"])), "starts_from": tuple(one.get("starts_from", ()))}


def test_every_run_of_every_suite_is_told():
    for suite in ("nano", "mini", "mini_concept"):
        assert list(found(suite)) == CONFIG["suites"][suite]["runs"]


def test_labels_of_each_kind_of_run():
    nano = found("nano")
    assert (nano["nano_scratch"].saw, nano["nano_scratch"].sets) == ("none", ())
    assert nano["nano_mcd"].label == "in-graph: nano_distillation_shapes, teacher nano_clip"
    assert nano["nano_mcd"].sets == (("distillation", "nano_distillation_shapes"), ("teacher", "nano_teacher_shapes"))
    assert nano["nano_mcd_random_teacher"].sets == (("distillation", "nano_distillation_shapes"),)
    assert (nano["nano_joint_control"].saw, nano["nano_joint_control"].sets) == ("none", ())
    assert nano["nano_joint_mcd"].label == "in-graph: the task's train split, teacher nano_clip"
    assert (nano["nano_i2p_io"].saw, nano["nano_i2p_io"].label) == ("2D weights", "2D weights: nano_resnet8")


def test_a_started_run_saw_what_its_start_saw():
    origin = found("nano")["nano_concept_init"]
    assert origin.starts_from == ("nano_point_mae",)
    assert origin.label.endswith("; started from nano_point_mae")


def test_weights_from_outside_are_named():
    origin = found("princeton")["princeton_mcd"]
    assert origin.label == "in-graph: psb, teacher imagenet_squeezenet (published weights)"
    assert ("published", "imagenet_squeezenet") in origin.sets
    image = found("princeton_image2point")["princeton_i2p_io"]
    assert (image.saw, image.sets) == ("2D weights", (("published", "cifar_resnet20"),))


def test_released_weights_bear_the_label_of_their_authors():
    values = {**copy.deepcopy(CONFIG), "suite": "nano"}
    values["paths"]["archives"] = "somewhere"
    graph = Graph(read_config(values))
    released = SimpleNamespace(saw="labelled-hybrid", file="released/a.pth")
    run = graph.config.runs["nano_scratch"].model_copy(update={"released": released})
    graph.config.runs["nano_scratch"] = run
    (origin,) = (one for one in origins(graph) if one["run"] == "nano_scratch")
    assert (origin["saw"], origin["sets"]) == ("labelled-hybrid", [["published", "released/a.pth"]])
    assert "released/a.pth" in origin["told"]


def test_a_classifier_that_others_finetuned_saw_labels_too():
    values = {**copy.deepcopy(CONFIG), "suite": "replay"}
    found = {one["run"]: one for one in origins(Graph(read_config(values)))}
    labels = {run: found[run]["label"] for run in ("replayed_point_mae", "init_released_point_mae", "replayed_dgcnn")}
    assert labels == {
        "replayed_point_mae": "shapenet-only, then labels: released weights",
        "init_released_point_mae": "shapenet-only: released weights",
        "replayed_dgcnn": "labelled: released weights",
    }


def test_a_matched_run_names_the_run_it_matches():
    graph = Graph(read_config({**copy.deepcopy(CONFIG), "suite": "nano"}))
    graph.config.runs["nano_scratch"] = graph.config.runs["nano_scratch"].model_copy(update={"matches": "nano_mcd"})
    (origin,) = (one for one in origins(graph) if one["run"] == "nano_scratch")
    assert (origin["matches"], origin["saw"]) == ("nano_mcd", "none")
