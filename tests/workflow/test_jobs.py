"""Each job's settings: changed by what changes its result, untouched by everything else."""

import copy
import json
import os
import re
from pathlib import Path

import pytest
import yaml

from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.protocols import Protocol
from pointlift.contracts.settings import parse
from pointlift.costs import cost_entries
from pointlift.graph import Graph
from pointlift.job_environment import prepare_environment
from pointlift.jobs import Jobs
from pointlift.local_files import require_local_files

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


def jobs(**changes) -> Jobs:
    """The shipped config with values set by dotted path, as one would edit the file."""
    values = copy.deepcopy(CONFIG)
    values["suite"] = "nano"
    for path, value in changes.items():
        *parents, key = path.split("__")
        block = values
        for parent in parents:
            block[parent] = dict(block[parent])
            block = block[parent]
        block[key] = value
    return Jobs(Graph(read_config(values)))


def every_setting(jobs: Jobs) -> dict[str, str]:
    """Settings of one job of each rule on the task's dataset, and of the mcd runs."""
    dataset, rig, run, joint = "nano_shapes", "ring4_32px", "nano_mcd", "nano_joint_mcd"
    return {
        "prepare_meshes": jobs.prepare_meshes(dataset, "0000"),
        "build_manifest": jobs.build_manifest(dataset),
        "sample_points": jobs.sample_points(dataset),
        "render_views": jobs.render_views(rig),
        "compute_visibility": jobs.compute_visibility(rig),
        "train_teacher": jobs.train_teacher("nano_clip"),
        "extract_features": jobs.extract_features("nano_clip"),
        "train_student": jobs.train_student(run),
        "embed_shapes": jobs.embed_shapes(run),
        "finetune_student": jobs.finetune_student(run, "classification", dataset),
        "finetune_joint": jobs.finetune_student(joint, "classification", dataset),
        "evaluate_task": jobs.evaluate_task(run, "linear_probe", dataset),
    }


EVALUATION = {"evaluate_task"}  # carries the hash of all that made its number


@pytest.mark.parametrize(
    ("path", "value", "touched"),
    [
        ("device", "cpu", set()),
        ("paths__data", "elsewhere", set()),
        ("datasets__nano_shapes__num_points", 64, {"sample_points"}),
        ("datasets__nano_shapes__seed", 7, {"prepare_meshes", "build_manifest", "sample_points"}),
        ("datasets__nano_shapes__scan", {"num_views": 2, "noise": 0.01}, {"sample_points"}),
        ("datasets__nano_shapes__order", "farthest_first", {"sample_points"}),
        ("datasets__nano_shapes__max_quarantined", 0.5, {"build_manifest", "finetune_student", "finetune_joint"}),
        ("datasets__nano_shapes__protocol", "procedural/other", set()),
        ("datasets__nano_shapes__stretch", 0.1, {"prepare_meshes", "build_manifest"}),
        ("rigs__ring4_32px__visibility", {"method": "hidden_points"}, {"compute_visibility"}),
        ("rigs__ring4_32px__image_size", 48, {"render_views", "compute_visibility"}),
        ("rigs__ring4_32px__cameras", {"layout": "sphere", "num_views": 4}, {"render_views", "compute_visibility"}),
        ("rigs__ring4_32px__part_maps", True, {"render_views"}),
        ("teachers__nano_clip__training__recipe__epochs", 5, {"train_teacher", "extract_features"}),
        ("teachers__nano_clip__batch_size", 8, {"train_teacher", "extract_features"}),
        ("runs__nano_mcd__recipe__learning_rate", 0.5, {"train_student"}),
        ("methods__pointmcd__weight", 0.5, {"train_student", "finetune_joint"}),
        ("tasks__nano_classification__recipe__epochs", 5, {"finetune_student", "finetune_joint"}),
        ("tasks__nano_linear_probe__use_val", True, set()),
    ],
)
def test_an_edit_touches_exactly_its_jobs(path, value, touched):
    before, after = every_setting(jobs()), every_setting(jobs(**{path: value}))
    changed = {rule for rule in before if before[rule] != after[rule]}
    assert changed - EVALUATION == touched
    is_result = path.split("__")[0] not in ("device", "paths") and "nano_classification" not in path
    assert (changed >= EVALUATION) == is_result


@pytest.mark.parametrize("suite", sorted(CONFIG["suites"]))
def test_keys_of_recipes_that_came_later_stand_in_no_job_that_leaves_them_at_their_defaults(suite):
    """So the jobs of results that there are keep their settings, byte by byte."""
    made = jobs(suite=suite, paths__archives="somewhere")
    told = [made.train_student(run) for run in made.config.chosen.runs]
    told += [made.train_teacher(name) for name in made.config.teachers]
    for row in made.graph.evaluations:
        told += [
            made.evaluate_task(*row),
            *([made.finetune_student(*row)] if made.graph.finetunes(*row[1:]) else []),
        ]
    assert any('"batch_size"' in text for text in told)
    assert not any(word in text for text in told for word in ('"schedule"', '"nesterov"'))


def test_a_task_says_of_votes_what_is_not_their_default():
    def told(**changes) -> list[dict]:
        made = jobs(**{f"tasks__nano_classification__{key}": value for key, value in changes.items()})
        row = ("nano_mcd", "classification", "nano_shapes")
        blocks = [json.loads(text)["task"] for text in (made.finetune_student(*row), made.evaluate_task(*row))]
        return [{key: block[key] for key in ("votes", "crops") if key in block} for block in blocks]

    assert told(votes=0, crops=10) == [{}, {}]
    assert told(votes=3, crops=10) == [{"votes": 3}, {"votes": 3}]
    assert told(votes=3, crops=2) == [{"votes": 3, "crops": 2}] * 2


def test_a_recipe_with_another_schedule_is_another_job():
    def told(**changes) -> list[str]:
        changes = {f"{path}__recipe__{key}": value for path in ("tasks__nano_classification", "runs__nano_mcd",
                   "teachers__nano_clip__training") for key, value in changes.items()}  # fmt: skip
        made = jobs(**changes)
        row = ("nano_mcd", "classification", "nano_shapes")
        return [made.finetune_student(*row), made.train_student("nano_mcd"), made.train_teacher("nano_clip"),
                made.evaluate_task(*row)]  # fmt: skip

    assert told(schedule="cosine", nesterov=False) == told()
    for changes in ({"schedule": "polynomial"}, {"optimiser": "sgd", "nesterov": True}):
        assert all(new != old for new, old in zip(told(**changes), told(), strict=True))
    assert '"schedule":"polynomial"' in told(schedule="polynomial")[2]


def test_every_rule_asks_for_settings_that_there_are():
    """Also the rules that no shipped suite comes to: such a word would fail in the run of whoever first does."""
    asked = set()
    for path in sorted((Path(__file__).parents[2] / "rules").glob("*.smk")):
        asked |= set(re.findall(r"\bJOBS\.(\w+)", path.read_text(encoding="utf-8")))
    assert {"train_student", "extract_tokens"} <= asked
    assert [name for name in sorted(asked) if not hasattr(Jobs, name)] == []


def test_tokens_are_made_anew_when_their_teacher_changes():
    one, other = jobs(), jobs(teachers__nano_clip__model__embed_dim=24)
    assert json.loads(one.extract_tokens("nano_clip"))["block"]["kind"] == "clip"
    assert one.extract_tokens("nano_clip") != other.extract_tokens("nano_clip")


def test_prompts_are_encoded_anew_when_their_task_or_teacher_changes_and_of_no_other_dataset():
    def asked(**changes):
        return jobs(**changes).encode_class_prompts("nano_clip", "nano_shapes")

    assert json.loads(asked())["prompts"] == ["a render of a {}"]
    assert asked(tasks__nano_zero_shot__prompts=["a {}"]) != asked()
    assert asked(teachers__nano_clip__training__recipe__epochs=5) != asked()
    assert asked(tasks__nano_linear_probe__use_val=True) == asked()
    with pytest.raises(ConfigError, match="'nano' has no task that reads prompts of dataset 'mini_shapes'"):
        jobs().encode_class_prompts("nano_clip", "mini_shapes")


def test_explicit_defaults_and_key_order_change_nothing():
    explicit = jobs(datasets__nano_shapes__rotation="up", rigs__ring4_32px__visibility={"method": "rays"})
    assert every_setting(explicit) == every_setting(jobs())


def test_more_shapes_touch_only_the_last_shard():
    before = jobs(datasets__nano_shapes__shard_size=24)
    after = jobs(datasets__nano_shapes__shard_size=24, datasets__nano_shapes__shapes_per_class=26)
    assert list(before.graph.shards("nano_shapes")) == ["0000", "0001", "0002", "0003"]  # 24 + 24 + 24 + 8
    assert list(after.graph.shards("nano_shapes")) == ["0000", "0001", "0002", "0003", "0004"]
    shards = list(before.graph.shards("nano_shapes"))
    same = [before.prepare_meshes("nano_shapes", s) == after.prepare_meshes("nano_shapes", s) for s in shards]
    assert same == [True, True, True, False]
    ids = [shape for ids in after.graph.shards("nano_shapes").values() for shape in ids]
    assert ids[:80] == [shape for ids in before.graph.shards("nano_shapes").values() for shape in ids]


def test_only_what_a_run_distils_on_is_without_its_duplicates():
    rows = {row["row"]: row["distilled"] for row in jobs(suite="princeton").disjoint_sets()}
    assert rows["princeton_mcd on lpsb/12-8/transfer"] == "psb"
    assert rows["princeton_scratch on lpsb/12-8/transfer"] == rows["princeton_joint_mcd on lpsb/12-8/joint"] == ""


def test_sets_whose_duplicates_are_left_out_stand_in_the_hash_of_a_number():
    def told(**changes) -> str:
        return jobs(datasets__nano_distillation_shapes__exclude_duplicates_of=["lpsb"], **changes).evaluate_task(
            "nano_mcd", "linear_probe", "nano_shapes"
        )

    assert told(datasets__lpsb__seed=1) != told() == told(datasets__psb__seed=1)


def test_settings_are_canonical_text():
    for text in every_setting(jobs()).values():
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_targets_of_nano_are_the_result_contract():
    graph = jobs().graph
    targets = graph.targets()
    assert targets.report[0] == "results/report/nano/summary.csv"
    assert "results/students/nano_mcd/seed0/weights.safetensors" in targets.students
    joint = [path for path in targets.tasks if "/nano_joint_mcd/" in path]
    tasks = ("classification", "part_segmentation")  # probes judge frozen students, which a joint run has none of
    assert joint == [
        f"results/metrics/nano_joint_mcd/{task}/nano_shapes/procedural+nano+joint/seed0.json" for task in tasks
    ]
    # Points of shapes that only a teacher is trained on are looked at by nobody.
    assert not any("points/nano_teacher_shapes" in path for path in targets.shapes)
    assert not any(path.startswith("/") for phase in vars(targets).values() for path in phase)


def test_a_published_protocol_has_paths_and_rows_of_its_own():
    block = CONFIG["tasks"]["nano_classification"]
    unvoted = {key: value for key, value in block.items() if key not in ("votes", "crops")}
    theirs = jobs(tasks__nano_classification={**unvoted, "protocol": "pointmcd_authors"})
    row = ("nano_joint_mcd", "classification", "nano_shapes")
    assert theirs.graph.protocol(*row) == "procedural/nano/pointmcd_authors/joint"
    assert not set(theirs.graph.metrics_files(*row)) & set(jobs().graph.metrics_files(*row))
    assert theirs.graph.finetuned_folder(*row, 0) != jobs().graph.finetuned_folder(*row, 0)
    told = json.loads(theirs.evaluate_task(*row))["protocol"]
    assert parse(Protocol, told, "protocol") == theirs.graph.protocol_of(*row) and told["selection"] == "oracle_test"
    with pytest.raises(ConfigError, match=r"tasks\.nano_few_shot: .*protocol 'pointmcd_authors'.*knows none"):
        jobs(tasks__nano_few_shot__protocol="pointmcd_authors")


def test_a_weights_file_without_a_folder_of_archives_is_told():
    graph = jobs().graph
    with pytest.raises(ConfigError, match=r"teachers\.imagenet_squeezenet\.weights_file.*DATA=<folder>"):
        graph.teacher_weights("imagenet_squeezenet")


def test_a_mended_file_is_read_again_and_a_copied_folder_is_not(tmp_path):
    names = ["chair/a.off", "chair/b.off", "table/c.off"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("OFF\n")
    block = {"kind": "folder", "folder": ".", "shard_size": 2}
    settings = {"datasets__mine": block, "paths__data": str(tmp_path)}

    def shards() -> list[str]:
        return [jobs(**settings).prepare_meshes("mine", name) for name in ("0000", "0001")]

    before = shards()
    os.utime(tmp_path / names[0], (0, 0))
    assert shards() == before
    (tmp_path / names[0]).write_text("OFF\n3 1 0\n")
    assert [new == old for new, old in zip(shards(), before, strict=True)] == [False, True]


def test_local_files_that_are_missing_are_told_together(tmp_path):
    with pytest.raises(ConfigError, match=r"paths\.archives is not set.*DATA=<folder>") as caught:
        require_local_files(jobs(suite="princeton").graph)
    told = str(caught.value)
    for key in ("datasets.psb.archive", "datasets.lpsb.archive", "teachers.imagenet_squeezenet.weights_file"):
        assert f"\n  {key}: " in told
    (tmp_path / CONFIG["datasets"]["psb"]["archive"]).touch()
    with pytest.raises(ConfigError, match="which lacks some") as caught:
        require_local_files(jobs(suite="princeton", paths__archives=str(tmp_path)).graph)
    assert "datasets.psb" not in str(caught.value)
    require_local_files(jobs(suite="nano").graph)


def test_moving_the_archives_changes_no_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    inputs = set()
    for place in ("one place", str(tmp_path / "another 'place'")):
        Path(place).mkdir()
        (Path(place) / CONFIG["datasets"]["psb"]["archive"]).write_text(place)
        graph = jobs(suite="princeton", paths__archives=place).graph
        prepare_environment(graph.config)
        inputs.add(graph.archive("psb"))
        assert Path(graph.archive("psb")).read_text() == place
    assert len(inputs) == 1


def test_points_are_read_again_when_their_rule_or_their_file_changes(tmp_path):
    block = {"kind": "modelnet_h5", "folder": "mn40", "protocol": "mn40/h5-2048-first1024", "shard_size": 4096}

    def shards(**changes) -> list[str]:
        made = jobs(datasets__clouds={**block, **changes}, paths__data=str(tmp_path))
        return [made.read_points("clouds", name) for name in made.graph.shards("clouds")]

    before = shards()
    assert [len(json.loads(settings)["ids"]) for settings in before] == [4096, 4096, 4096, 20]  # 12,308 in all
    assert shards(max_quarantined=0.5, subsample="first") == before
    assert all(new != old for new, old in zip(shards(seed=1), before, strict=True))
    fps = shards(subsample="farthest", protocol="mn40/h5-2048-fps1024")
    assert all(new != old for new, old in zip(fps, before, strict=True))


def test_no_file_of_points_has_two_rules():
    block = {"kind": "modelnet_h5", "folder": "mn40", "protocol": "mn40/h5-2048-first1024"}
    graph = jobs(datasets__clouds=block).graph
    meshes, points = re.compile(graph.named(has_meshes=True)), re.compile(graph.named(has_meshes=False))
    for name in graph.config.datasets:
        assert bool(meshes.fullmatch(name)) + bool(points.fullmatch(name)) == 1
    assert points.fullmatch("clouds") and not points.fullmatch("clouds2")
    assert not re.compile(jobs().graph.named(has_meshes=False)).fullmatch("")
    assert graph.first_shards("clouds")[0] == "results/points/clouds/0000.safetensors"
    assert graph.first_shards("psb")[0] == "results/meshes/psb/0000.safetensors"


def test_the_cost_of_every_rule_is_looked_for():
    entries = cost_entries(jobs(suite="princeton", paths__archives="somewhere").graph)
    phases = {entry["phase"] for entry in entries}
    assert {"prepare_meshes", "find_duplicates", "render_views", "train_student", "evaluate_task"} <= phases
    duplicates = [entry["path"] for entry in entries if entry["phase"] == "find_duplicates"]
    assert duplicates == ["results/benchmarks/find_duplicates/psb.lpsb.tsv"]
    assert len({entry["path"] for entry in entries}) == len(entries)


def test_what_a_rig_draws_decides_which_shards_it_reads():
    graph = jobs(rigs__discs={"kind": "points"}).graph
    assert graph.drawn_shard("psb", "ring4_32px", "0000") == "results/meshes/psb/0000.safetensors"
    assert graph.drawn_shard("psb", "discs", "0000") == "results/points/psb/0000.safetensors"


def test_points_that_only_a_rig_draws_are_made():
    splats = jobs(
        rigs__discs={"kind": "points"},
        teachers__clip_splats={
            **CONFIG["teachers"]["nano_clip"],
            "training": {**CONFIG["teachers"]["nano_clip"]["training"], "rig": "discs"},
        },
        runs__nano_mcd__teacher="clip_splats",
    ).graph
    drawn = "results/points/nano_teacher_shapes/0000.safetensors"
    assert drawn in splats.targets().shapes and drawn not in jobs().graph.targets().shapes


@pytest.mark.parametrize(
    ("edit", "touched"),
    [
        ({"splat_size": 1.0}, {"render_views", "compute_visibility"}),
        ({"visibility": {"radius_factor": 10.0}}, {"compute_visibility"}),
        ({"visibility": {"method": "hidden_points"}, "splat_size": 0.8}, set()),
    ],
)
def test_an_edit_of_a_rig_that_draws_points_touches_its_own_jobs(edit, touched):
    before, after = (jobs(rigs__discs={"kind": "points", **keys}) for keys in ({}, edit))
    settings = [{rule: getattr(made, rule)("discs") for rule in ("render_views", "compute_visibility")}
                for made in (before, after)]  # fmt: skip
    assert {rule for rule in settings[0] if settings[0][rule] != settings[1][rule]} == touched


def test_places_are_compared_whatever_else_a_run_learns_from(monkeypatch):
    given = jobs()
    procedural = type(given.config.datasets["nano_shapes"])
    assert not any("places" in row for row in given.disjoint_sets())
    seen = property(lambda block: r"\d+" if block.series in ("nanotask", "nanodistil") else "")
    monkeypatch.setattr(procedural, "place", seen)  # the teacher's set has none
    told = {row["row"].split()[0]: row.get("places") for row in given.disjoint_sets()}
    assert told["nano_mcd"] == {"nano_shapes": r"\d+", "nano_distillation_shapes": r"\d+"}
    assert told["nano_scratch"] is None
