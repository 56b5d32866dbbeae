"""Runs that start from 2D weights: what cannot be meant, the files they read, the rows they make."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from pointlift.audit import trained_sets
from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.costs import cost_entries
from pointlift.graph import Graph
from pointlift.jobs import Jobs
from pointlift.local_files import require_local_files

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
RUN, INFLATION = "mini_i2p_io", {"source": "mini_resnet8"}


def config(suite="mini_image2point", **changes):
    """The shipped config with keys of the run ``mini_i2p_io`` (None: without it) and other blocks changed."""
    values = {**copy.deepcopy(CONFIG), "suite": suite}
    for family, blocks in changes.pop("blocks", {}).items():
        values[family] = {**values[family], **blocks}
    block = {**CONFIG["runs"][RUN], **changes}
    values["runs"][RUN] = {key: value for key, value in block.items() if value is not None}
    return read_config(values)


FROZEN = {"tasks": {"mini_classification": {**CONFIG["tasks"]["mini_classification"], "regime": "frozen"}}}
SPREAD = {"students": {"big": {"kind": "sparse_resnet", "architecture": "resnet18"}},
          "teachers": {"imagenet": {"kind": "imagenet_cnn", "architecture": "resnet18"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inflation": {"source": "nobody"}}, "inflation.source: there is no block 'nobody' in teachers"),
        ({"inflation": {"source": "mini_clip"}}, "'mini_clip' (kind 'clip') holds no stages of a 2D network"),
        ({"inflation": {"source": "cifar_resnet20"}}, "'cifar_resnet20' holds stages of cifar_resnet20, and student"),
        ({"inflation": {"source": "squeezenet_random"}}, "(kind 'imagenet_cnn') holds no stages of a 2D network"),
        ({"inflation": {**INFLATION, "scale": "half"}}, "inflation.scale: 'half' is not allowed"),
        ({"inflation": {**INFLATION, "excluded_stages": [2, 4]}}, "has stages 1 to 3, not 4"),
        ({"student": "pointnet_small"}, "(kind 'pointnet') has no stages of a 2D network, which arm 'io' needs"),
        ({"inflation": None}, "arm io starts from 2D weights: it needs inflation"),
        ({"regime": "all"}, "arm io is regime io; this run says all"),
        ({"regime": "some"}, "regime: 'some' is not allowed"),
        ({"arm": "frozen_random"}, "arm frozen_random is regime io without inflation"),
        ({"arm": "frozen_random", "inflation": None, "regime": "ioms"}, "arm frozen_random is regime io without"),
        ({"arm": "scratch"}, "a run with inflation is one of the arms io, ioms, io_bn, all"),
        ({"arm": "scratch", "inflation": None}, "regime io and recalibrate are for the arms io, ioms"),
        ({"arm": "scratch", "inflation": None, "regime": None, "recalibrate": True}, "recalibrate are for the arms"),
        ({"dataset": "psb"}, "a run without a method is arm scratch"),
        ({"form": "joint"}, "a run without a method is arm scratch"),
        ({"method": "pointmcd"}, "a transfer run with a method needs dataset and recipe"),
        ({"blocks": FROZEN}, "'mini_classification' keeps the student frozen, and run 'mini_i2p_io' is of regime io"),
        (
            {"blocks": SPREAD, "student": "big", "inflation": {"source": "imagenet", "shortcut": "single"}},
            "inflation.shortcut: 'single' does not fit student 'big' (kind 'sparse_resnet'), whose shortcuts take sum",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_runs(changes, told):
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert told in str(caught.value)


def test_the_kinds_that_take_2d_weights_are_named():
    with pytest.raises(ConfigError, match=r"these kinds have: .*sparse_resnet"):
        config(student="dgcnn")


def of_pictures(architecture):
    """A run whose student takes the blocks of a vision transformer of this architecture."""
    teacher = {"kind": "imagenet_vit", "architecture": architecture, "weights_file": "image_weights/vit.npz"}
    blocks = {
        "students": {"groups": {"kind": "image_transformer", "architecture": "vit_tiny"}},
        "teachers": {"vit": teacher},
        "suites": {"own": {"runs": [RUN], "tasks": ["mini_classification"], "seeds": [0]}},
    }
    return config("own", blocks=blocks, student="groups", inflation={"source": "vit"})


@pytest.mark.parametrize("architecture", ["vit_tiny", "deit_tiny"])
def test_a_transformer_starts_from_one_of_its_size(architecture):
    jobs = Jobs(Graph(of_pictures(architecture)))
    made = json.loads(jobs.train_student(RUN))
    assert (made["source"]["kind"], made["inflation"]["source"]) == ("imagenet_vit", "vit")


def test_a_transformer_does_not_start_from_one_of_another_size():
    with pytest.raises(
        ConfigError, match=r"'vit' holds stages of vit_small, and student 'groups' .* those of vit_tiny"
    ):
        of_pictures("deit_small")


def test_a_source_that_is_trained_here_is_part_of_the_graph():
    graph = Graph(config())
    assert graph.source_weights(RUN) == ["results/teachers/mini_resnet8/weights.safetensors"]
    assert graph.source_weights("mini_i2p_frozen_random") == graph.source_weights("mini_i2p_scratch") == []
    assert graph.views_used == [("mini_teacher_shapes", "ring6_64px")]
    assert graph.trained_teachers == ["mini_resnet8"]
    assert "mini_teacher_shapes" in graph.datasets_used
    assert graph.feature_files(RUN) == []  # it is asked for no embedding
    assert ("teacher", "mini_teacher_shapes", "mini_shapes") in trained_sets(graph)
    assert any(entry["phase"] == "train_teacher" for entry in cost_entries(graph))
    sets = {row["row"]: row["sets"] for row in Jobs(graph).disjoint_sets()}
    assert ["mini_teacher_shapes", ["train", "val", "test"]] in sets["mini_i2p_io on procedural/scan1/transfer"]


def test_a_source_trained_on_the_judged_set_leaks():
    taught = {**CONFIG["teachers"]["mini_resnet8"]}
    taught["training"] = {**taught["training"], "dataset": "mini_shapes"}
    with pytest.raises(ConfigError, match=r"'mini_i2p_io' is a transfer run, and dataset 'mini_shapes' stands in two"):
        config(blocks={"teachers": {"mini_resnet8": taught}})


def test_a_local_source_is_asked_for_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"teachers\.cifar_resnet20\.weights_file: image_weights/resnet20"):
        require_local_files(Graph(config("princeton_image2point")))
    placed = Graph(config("princeton_image2point", blocks={"paths": {"archives": str(tmp_path)}}))
    assert placed.source_weights("princeton_i2p_io")[0].endswith("image_weights/resnet20-12fca82f.th")


def test_rows_say_where_the_weights_are_from():
    jobs = Jobs(Graph(config()))

    def row(run):
        found = json.loads(jobs.evaluate_task(run, "classification", "mini_shapes"))["row"]
        return [found[key] for key in ("method", "arm", "teacher", "pretrain_dataset")]

    assert row(RUN) == ["image2point", "io", "mini_resnet8", ""]
    for name in ("mini_i2p_frozen_random", "mini_i2p_frozen_random_recalibrated"):
        assert row(name) == ["image2point", "frozen_random", "", ""]
    assert row("mini_i2p_scratch") == ["supervised", "scratch", "", ""]


def settings(**changes):
    jobs = Jobs(Graph(config(**changes)))
    row = (RUN, "classification", "mini_shapes")
    return [jobs.train_student(RUN), jobs.finetune_student(*row), jobs.evaluate_task(*row)]


@pytest.mark.parametrize(
    ("changes", "touched"),
    [
        ({"inflation": {**INFLATION, "axis": "x"}}, [True, False, True]),
        ({"recalibrate": True}, [False, True, True]),
        ({"arm": "ioms", "regime": "ioms"}, [True, True, True]),  # the arm's name stands in both
        ({"inflation": {**INFLATION, "axis": "z"}}, [False, False, False]),
    ],
)
def test_an_edit_of_a_run_touches_exactly_its_jobs(changes, touched):
    assert [new != old for new, old in zip(settings(**changes), settings(), strict=True)] == touched


def test_other_runs_say_nothing_of_2d_weights():
    """So that what was made before these keys were is not made again."""
    jobs = Jobs(Graph(config("nano")))
    made = json.loads(jobs.train_student("nano_mcd"))
    tuned = json.loads(jobs.finetune_student("nano_mcd", "classification", "nano_shapes"))
    assert not {"inflation", "source", "regime", "recalibrate"} & ({*made} | {*tuned})
    assert "head" not in tuned["task"]
    assert "recalibrate" in settings()[1] and "inflation" in settings()[0]


def test_the_code_of_a_source_decides_only_about_students_filled_from_it():
    jobs = Jobs(Graph(config()))
    assert jobs.run_code("train_student", RUN) != jobs.run_code("train_student", "mini_i2p_frozen_random")
    assert jobs.run_code("embed_shapes", RUN) == jobs.run_code("embed_shapes", "mini_i2p_frozen_random")


def test_the_example_of_the_docs_is_valid():
    text = (Path(__file__).parents[2] / "docs" / "image2point.md").read_text(encoding="utf-8")
    blocks = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    found = config(blocks=blocks)
    assert found.runs["mine_io"].image_model == "imagenet"
