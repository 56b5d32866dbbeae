"""A student out of the pipeline: the pipeline's numbers, clouds in every form, and mistakes told in words."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import embed_shapes
import labelled_clouds
import pointlift
from pointlift import rooms
from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import ArtifactError, ConfigError, MachineError, UnusableShapeError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage, read_stages, unpack
from pointlift.distillation.methods import build_method, method_settings
from pointlift.distillation.projector import save_projector
from pointlift.distillation.training import DistillationSettings, leave_settings
from pointlift.geometry import clouds as geometry
from pointlift.operators.checkpoint import save_student
from pointlift.operators.inflation import Origin
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics

METHOD = {"kind": "pointmcd", "head": "linear"}
RECIPE = {"epochs": 1, "batch_size": 4, "learning_rate": 0.001}
CLOUD = np.random.default_rng(5).normal(3.0, 2.0, (40, 3))


def write_student(folder: Path, block=labelled_clouds.STUDENT, method=None, run="one_run") -> Path:
    """What train_student leaves: weights, settings, and the head that a method has."""
    module = rooms.load("students", block["kind"])
    settings = parse(module.Settings, block, "student")
    torch.manual_seed(3)
    student = module.build(settings)
    save_student(folder / "weights.safetensors", student, settings.model_dump(mode="json"))
    told = {"run": run, "student": block, "method": method, "arm": "mcd" if method else "scratch", "seed": 0}
    told |= {"recipe": RECIPE} if method else {}
    (folder / "settings.json").write_text(json.dumps(told), encoding="utf-8")
    if method is None:
        save_projector(folder / "projector.safetensors")
    else:
        targets = target_statistics(np.random.default_rng(0).normal(3.0, 2.0, (40, 7)))
        read, shape = method_settings(method), shape_of(student)
        built = build_method(read, shape, targets, 0)
        save_projector(folder / "projector.safetensors", built, read.model_dump(mode="json"), shape, targets)
    return folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "seed0").mkdir()
    return write_student(tmp_path / "seed0", method=METHOD)


@pytest.fixture
def encoder(folder):
    return pointlift.load(folder, device="cpu")


def rewrite(path: Path, **changes) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_student_that_starts_from_2d_weights_is_opened_with_the_settings_that_training_left(tmp_path):
    """They say more than what was asked for: where each tensor came from."""
    write_student(tmp_path)
    asked = json.loads((tmp_path / "settings.json").read_text(encoding="utf-8"))
    asked |= {"arm": "io", "inflation": {"source": "resnet8"}, "source": {"kind": "small_resnet"}}
    origins = {"layer1.weight": Origin("conv1.weight", "copied")}
    leave_settings(tmp_path, parse(DistillationSettings, asked, "train_student"), origins)
    assert "origins" in json.loads((tmp_path / "settings.json").read_text(encoding="utf-8"))
    found = pointlift.load(tmp_path, device="cpu")
    assert found.settings.arm == "io" and found(CLOUD).shape == (1, found.width)


def test_the_package_is_imported_without_torch(repository):
    program = "import sys, pointlift; pointlift.load; sys.exit(bool({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=repository / "workflow_scripts", check=False).returncode
        == 0
    )


def test_no_rule_hangs_on_the_encoder():
    """Every rule's hash follows the package's own file; the encoder, and what it imports, must stay out of it."""
    from pointlift.code_hash import _closure

    names = {path.name for path in _closure("pointlift")}
    assert names == {"__init__.py"}


def test_the_numbers_are_those_of_embed_shapes(tmp_path, folder, encoder):
    paths = labelled_clouds.write_dataset(tmp_path)
    output = tmp_path / "embeddings"
    embed_shapes.main(
        argparse.Namespace(
            settings={"student": labelled_clouds.STUDENT},
            weights=[folder / "weights.safetensors"],
            projector=[folder / "projector.safetensors"],
            points=paths["points"],
            output=[output],
            threads=1,
            device="cpu",
        )
    )
    points, wanted = read_stages(paths["points"], "points"), read_stage(output, "embeddings")
    clouds, valid = unpack(points["points"], points["point_offsets"]), points["valid"]
    kept = [cloud for cloud, good in zip(clouds, valid, strict=True) if good]
    assert np.array_equal(encoder(kept, normalise=False).numpy(), wanted["embedding"][valid])
    assert np.array_equal(encoder.project(kept, normalise=False).numpy(), wanted["projected"][valid])
    for cloud, embedding in zip(kept[:3], wanted["embedding"][valid], strict=False):
        np.testing.assert_allclose(encoder(cloud, normalise=False)[0], embedding, atol=1e-6)


def test_clouds_are_normalised_as_those_that_are_read_from_files(encoder):
    stored = geometry.normalise(geometry.check(PointCloud(CLOUD))).points.astype(np.float32)
    assert np.array_equal(encoder(CLOUD), encoder(stored, normalise=False))
    low, high = stored.min(0), stored.max(0)
    np.testing.assert_allclose(low + high, 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1).max(), 1, atol=1e-6)
    np.testing.assert_allclose(encoder(CLOUD * 7 - 100), encoder(CLOUD), atol=1e-5)
    assert not np.allclose(encoder(CLOUD * 7, normalise=False), encoder(CLOUD, normalise=False))


def test_one_cloud_a_batch_and_a_list_of_several_lengths(encoder):
    single = encoder(CLOUD)
    assert single.shape == (1, encoder.width) and single.dtype == torch.float32 and not single.requires_grad
    batch = encoder(np.stack([CLOUD, CLOUD[::-1]]))
    several = encoder([CLOUD, CLOUD[:20], torch.from_numpy(CLOUD[::-1].copy())])
    np.testing.assert_allclose(batch, several[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(batch[:1], single, atol=1e-6)
    np.testing.assert_allclose(several[1:2], encoder(CLOUD[:20]), atol=1e-6)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "longdouble", "int32"])
def test_numbers_of_any_kind_from_numpy(encoder, kind):
    typed = (CLOUD * 8).astype(kind)
    np.testing.assert_array_equal(encoder(typed), encoder(typed.astype(np.float64)))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_of_any_kind_from_torch(encoder, kind):
    typed = torch.from_numpy(CLOUD).to(kind).requires_grad_()
    found = encoder(typed)
    np.testing.assert_array_equal(found, encoder(typed.detach().double()))
    assert found.dtype == torch.float32


BAD = {
    "empty": (np.zeros((0, 3)), "cloud 0: points have the shape (0, 3)"),
    "no clouds": (np.zeros((0, 5, 3)), "there are no clouds"),
    "an empty list": ([], "there are no clouds"),
    "flat": (np.zeros(3), "must be (N, 3) or (B, N, 3)"),
    "four dimensions": (np.zeros((1, 2, 3, 3)), "must be (N, 3) or (B, N, 3)"),
    "two coordinates": (np.zeros((9, 2)), "cloud 0: points have the shape (9, 2)"),
    "columns first": (CLOUD.T, "cloud 0: points have the shape (3, 40)"),
    "nan": ([CLOUD, np.where(np.arange(40)[:, None] == 7, np.nan, CLOUD)], "cloud 1: 1 points are not finite"),
    "infinite": (CLOUD * np.inf, "cloud 0: 40 points are not finite"),
    "one place": (np.ones((9, 3)), "cloud 0: the cloud has no extent"),
    "too large": (CLOUD * 1e30, "cloud 0: a coordinate is beyond"),
    "text": (np.full((4, 3), "a"), "points: a ndarray of <U1; clouds are numpy arrays or torch tensors"),
    "objects": (CLOUD.astype(object), "points: a ndarray of object"),
    "complex": (torch.ones(4, 3, dtype=torch.complex64), "points: a Tensor of torch.complex64"),
    "lists": (CLOUD.tolist(), "cloud 0: a list; clouds are numpy arrays"),
    "nothing": (None, "points: a NoneType"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("asked", ["__call__", "project", "tokens"])
def test_what_is_no_cloud_is_told(encoder, name, asked):
    points, message = BAD[name]
    with pytest.raises(UnusableShapeError, match=re.escape(message)):
        getattr(encoder, asked)(points)


SMALL = {
    "pointnet2": {"levels": [{"num_centres": 16, "radius": 0.4, "num_neighbours": 4, "widths": [8]}], "widths": [16]},
    "dgcnn": {},
    "curvenet": {},
    "point_transformer": {"num_groups": 8, "group_size": 4, "width": 16, "depth": 1, "heads": 2},
}


@pytest.mark.parametrize("kind", SMALL)
def test_too_few_points_for_a_student_are_told(tmp_path, kind):
    encoder = pointlift.load(write_student(tmp_path, {"kind": kind, **SMALL[kind]}), device="cpu")
    few = CLOUD[:5]
    for asked in (encoder, encoder.tokens):
        with pytest.raises(UnusableShapeError, match=r"this student cannot take clouds of 5 points: .* asked for"):
            asked(few)


def test_tokens_are_all_that_the_student_says(encoder):
    output = encoder.tokens(np.stack([CLOUD, CLOUD + 1]))
    np.testing.assert_array_equal(output.embedding, encoder(np.stack([CLOUD, CLOUD + 1])))
    assert output.tokens.shape == (2, 40, 16) and not output.tokens.requires_grad
    with pytest.raises(ConfigError, match="clouds of 20 to 40 points have no common tokens"):
        encoder.tokens([CLOUD, CLOUD[:20]])


def test_a_head_puts_shapes_into_the_teachers_space(folder, encoder):
    found = encoder.project(CLOUD)
    assert found.shape == (1, 7) and found.dtype == torch.float32
    head = encoder._method.head.double()
    targets = target_statistics(np.random.default_rng(0).normal(3.0, 2.0, (40, 7)))
    wanted = head(encoder(CLOUD).double()).detach().numpy() * targets.sd + targets.mean
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (None, "one_run: it has no head .* no method trained it"),
        ({**METHOD, "weight": 0.0}, "keeps none .*weight: 0.0"),
    ],
)
def test_a_student_without_such_a_head_says_why(tmp_path, method, message):
    encoder = pointlift.load(write_student(tmp_path, method=method), device="cpu")
    assert encoder(CLOUD).shape == (1, 16)
    with pytest.raises(ConfigError, match=message):
        encoder.project(CLOUD)


def test_a_head_of_another_student_or_method_is_refused(tmp_path, folder):
    others = {"another method": {"method": {**METHOD, "loss": "cosine"}}, "another student": {"method": METHOD}}
    others["another student"]["block"] = {**labelled_clouds.STUDENT, "widths": [8, 24]}
    for name, changes in others.items():
        (tmp_path / name).mkdir()
        other = write_student(tmp_path / name, **changes)
        shutil.copy(other / "projector.safetensors", folder / "projector.safetensors")
        with pytest.raises(ArtifactError, match=r"projector.safetensors: (left by another method|made for another)"):
            pointlift.load(folder, device="cpu").project(CLOUD)
    (folder / "projector.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"projector.safetensors: no such file"):
        pointlift.load(folder, device="cpu").project(CLOUD)


def test_what_an_encoder_is(folder, encoder):
    assert (encoder.run, encoder.width, encoder.settings.arm, encoder.device.type) == ("one_run", 16, "mcd", "cpu")
    assert not encoder.student.training
    assert repr(encoder) == "Encoder(one_run, seed 0: pointnet, width 16, taught by pointmcd, on cpu)"


def test_loading_and_embedding_leave_the_callers_random_numbers_and_threads_alone(folder):
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    pointlift.load(folder, device="cpu")(CLOUD)
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


def test_a_key_that_came_later_has_its_default_and_another_block_is_refused(tmp_path):
    block = {"kind": "pointnet", "widths": [8, 16], "feature_transform": False}  # made before there was a key
    encoder = pointlift.load(write_student(tmp_path, block), device="cpu")
    save_student(tmp_path / "weights.safetensors", encoder.student, block)
    rewrite(tmp_path / "settings.json", student={**block, "input_transform": True})
    assert torch.equal(pointlift.load(tmp_path, device="cpu")(CLOUD), encoder(CLOUD))
    rewrite(tmp_path / "settings.json", student={**block, "input_transform": False})
    with pytest.raises(ArtifactError, match=r"weights.safetensors and settings.json are of two student blocks"):
        pointlift.load(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, ArtifactError, "no such file; keep it beside weights.safetensors"),
        ("{", ArtifactError, "not readable as JSON"),
        ("\udcff", ArtifactError, "not readable as JSON"),
        ("[" * 100_000, ArtifactError, "not readable as JSON"),
        (" " * 1_000_001, ArtifactError, "larger than 1,000,000 bytes"),
        ("[]", ConfigError, "settings.json"),
        ('{"run": "a"}', ConfigError, "student: missing"),
    ],
)
def test_damaged_settings_are_told_with_their_file(folder, content, kind, message):
    path = folder / "settings.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(kind, match=message) as caught:
        pointlift.load(folder, device="cpu")
    assert "settings.json" in str(caught.value)


def test_unknown_keys_in_settings_are_refused(folder):
    rewrite(folder / "settings.json", colour="red")
    with pytest.raises(ConfigError, match=r"settings\.json\.colour: unknown key"):
        pointlift.load(folder, device="cpu")


def test_damaged_weights_are_told_with_their_file(folder):
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=re.escape(str(path))):
            pointlift.load(folder, device="cpu")
    shutil.copy(folder / "projector.safetensors", path)
    with pytest.raises(ArtifactError, match="its header has no student's block"):
        pointlift.load(folder, device="cpu")
    path.unlink()
    with pytest.raises(ArtifactError, match="no such file"):
        pointlift.load(folder, device="cpu")


def test_folders_and_devices_that_will_not_do(folder, tmp_path):
    with pytest.raises(ArtifactError, match="no such folder; name one like results/students"):
        pointlift.load(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="no such folder"):
        pointlift.load(folder / "weights.safetensors")
    with pytest.raises(ConfigError, match="device 'tpu' is not allowed: auto, cpu or cuda"):
        pointlift.load(folder, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(MachineError, match="cuda was asked for"):
            pointlift.load(folder, device="cuda")


def test_a_finetuned_student_is_told_as_one(tmp_path, encoder):
    settings = {"run": "mine", "seed": 2, "task": {"kind": "classification"}, "student": labelled_clouds.STUDENT}
    save_student(tmp_path / "weights.safetensors", encoder.student, settings)
    with pytest.raises(ArtifactError, match=r"finetuned .* results/students/mine/seed2 is, where it began"):
        pointlift.load(tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_same_embedding_on_a_graphics_card(folder, encoder):
    there = pointlift.load(folder)
    found = there(torch.from_numpy(CLOUD).cuda())
    assert there.device.type == found.device.type == there.tokens(CLOUD).tokens.device.type == "cuda"
    np.testing.assert_allclose(found.cpu(), encoder(CLOUD), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(there.project(CLOUD).cpu(), encoder.project(CLOUD), rtol=1e-4, atol=1e-4)
