"""Released layouts: class scores of files that the test writes against a slow float64 copy of every architecture, that
every tensor lands, and what is said of files that do not fit."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.released import ReleasedFile
from pointlift.contracts.settings import parse
from pointlift.students.released_weights import fill_released
from students import released_networks as published

POINTS = 24
SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
GROUPS = {"kind": "point_transformer", "centres": "farthest_off_origin", "num_groups": published.GROUPS}
GROUPS |= {"group_size": published.SIZE, "heads": published.HEADS, "width": published.WIDTH, "depth": published.DEPTH}
LEVELS = [
    {"num_centres": n, "radius": r, "num_neighbours": k, "widths": w}
    for (n, r, k), w in zip(published.BALLS, ([8, 8, 12], [12, 12, 16]), strict=True)
]
DGCNN = {"kind": "dgcnn", "widths": [8, 8, 10, 12], "token_width": 16, "num_neighbours": published.NEIGHBOURS}
BLOCKS = {
    "point_mae": GROUPS,
    "point_bert": {**GROUPS, "group_width": published.BRIDGE},
    "dgcnn": {**DGCNN, "last_slope": 0.2, "pool": "max_mean"},
    "pointnet2_ssg": {"kind": "pointnet2", "levels": LEVELS, "widths": [16, 24, 32], "balls": "first"},
}
FILES = {
    "point_mae": (published.point_mae, published.point_mae_scores),
    "point_bert": (published.point_bert, published.point_bert_scores),
    "dgcnn": (published.dgcnn, published.dgcnn_scores),
    "pointnet2_ssg": (published.pointnet2, published.pointnet2_scores),
}


def held(tensors, layout):
    """As the layout's training program keeps them: what else stands in the file, and a wrapper's prefix."""
    if layout.startswith("point_"):
        tensors = {f"module.{name}": value for name, value in tensors.items()}
        score = {"acc": np.float64(91.2)}
        return {"base_model": tensors, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3, "metrics": score}
    if layout == "dgcnn":
        return {f"module.{name}": value for name, value in tensors.items()}
    return {"epoch": 8, "instance_acc": np.float64(0.9), "class_acc": np.float32(0.8), "model_state_dict": tensors}


def write(path, tensors, layout):
    torch.save(held(tensors, layout), path)
    return path


def block_of(block):
    module = rooms.load("students", block["kind"])
    settings = parse(module.Settings, block, "student")
    return module.build(settings), settings.model_dump(mode="json")


def fill(path, layout, block=None, **told):
    student, resolved = block_of(block or BLOCKS[layout])
    settings = parse(ReleasedFile, {"file": "x.pth", "layout": layout, **told}, "released")
    before = {name: value.clone() for name, value in student.state_dict().items()}
    try:
        head, origins = fill_released(student, resolved, path, settings)
    except (ArtifactError, ConfigError):
        assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
        raise
    return student.eval(), head and head.eval(), origins


def clouds(count=3, seed=0):
    """With points about the origin, which the groups of Point-MAE have no centre at."""
    points = torch.randn(count, POINTS, 3, generator=torch.Generator().manual_seed(seed))
    points[:, 5:8] *= 0.01
    return points


@pytest.mark.parametrize("layout", FILES)
def test_scores_are_those_of_the_published_network(tmp_path, layout):
    make, scores = FILES[layout]
    tensors = make()
    student, head, origins = fill(write(tmp_path / "x.pth", tensors, layout), layout)
    with torch.no_grad():
        found = head(student(clouds()).embedding)
    wanted = torch.stack([scores(tensors, cloud) for cloud in clouds()])
    assert found.shape == (3, published.CLASSES)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)
    filled = {name for name in student.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(origins) == filled


@pytest.mark.parametrize("layout", FILES)
def test_every_tensor_of_the_file_matters_or_is_refused(tmp_path, layout):
    """Each is drawn anew alone: a student or head that stays the same has not read it."""
    tensors = FILES[layout][0]()
    path = tmp_path / "x.pth"

    def state(changed):
        student, head, _ = fill(write(path, changed, layout), layout)
        return [*student.state_dict().values(), *head.state_dict().values()]

    before = state(tensors)
    for name in [name for name in tensors if not name.endswith("num_batches_tracked")][::3]:
        changed = {**tensors, name: tensors[name] + 1.0}
        try:
            after = state(changed)
        except ArtifactError as error:
            assert layout == "dgcnn" and "differ from their twins" in str(error)
            continue
        assert any(not torch.equal(one, two) for one, two in zip(before, after, strict=True)), name


def test_an_encoder_as_point_mae_left_it_has_no_class_token(tmp_path):
    tensors = published.point_mae_pretrained()
    path, layout = tmp_path / "x.pth", "point_mae_pretrained"
    write(path, tensors, layout)
    student, head, origins = fill(path, layout, {**GROUPS, "class_token": False, "pool": "max"})
    assert head is None and not any("class" in name for name in origins)
    found = student(clouds())
    wanted = [published.group_embedding(tensors, cloud, "MAE_encoder.", token=False) for cloud in clouds()]
    torch.testing.assert_close(found.embedding.double(), torch.stack(wanted), rtol=1e-4, atol=1e-5)
    assert found.summary is None
    torch.manual_seed(4)
    fresh = block_of(GROUPS)[0].state_dict()
    torch.manual_seed(4)
    started, _, origins = fill(path, layout, GROUPS)  # a start for finetuning: the class token is the student's own
    assert torch.equal(started.class_token, fresh["class_token"]) and "class_token" not in origins


def test_an_encoder_as_point_bert_left_it(tmp_path):
    tensors, layout = published.point_bert_pretrained(), "point_bert_pretrained"
    student, head, _ = fill(write(tmp_path / "x.pth", tensors, layout), layout, BLOCKS["point_bert"])
    wanted = [published.group_embedding(tensors, cloud, "transformer_q.") for cloud in clouds()]
    assert head is None
    torch.testing.assert_close(student(clouds()).embedding.double(), torch.stack(wanted), rtol=1e-4, atol=1e-5)


def test_clouds_are_turned_and_centred_as_the_weights_want_them_and_tokens_stay_where_they_were(tmp_path):
    tensors = published.pointnet2()
    frame = {"up": "y", "centre": "mean"}
    path = write(tmp_path / "x.pth", tensors, "pointnet2_ssg")
    student, head, _ = fill(path, "pointnet2_ssg", {**BLOCKS["pointnet2_ssg"], "frame": frame})
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # of a file with y up, to z up
    files = clouds() + 0.3
    centred = files - files.mean(dim=1, keepdim=True)
    centred = centred / centred.norm(dim=2).amax(dim=1)[:, None, None]
    with torch.no_grad():
        output = student(files @ turn.T)
        found = head(output.embedding)
    wanted = torch.stack([published.pointnet2_scores(tensors, cloud) for cloud in centred])
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)
    given = (files @ turn.T).gather(1, output.token_index[..., None].expand(-1, -1, 3))
    assert torch.equal(output.token_xyz, given)
    assert all(level.xyz.shape == (*level.rows.shape[:2], 3) for level in output.levels)


def test_numbers_of_old_numpy_beside_the_tensors_are_read(tmp_path):
    """Numpy 1 names its numbers by another module; files of those years hold scores so."""
    path, old = write(tmp_path / "new.pth", published.pointnet2(), "pointnet2_ssg"), tmp_path / "old.pth"
    with zipfile.ZipFile(path) as new, zipfile.ZipFile(old, "w") as rewritten:
        for name in new.namelist():
            content = new.read(name)
            if name.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\n" in content
                content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            rewritten.writestr(name, content)
    one, two = fill(path, "pointnet2_ssg"), fill(old, "pointnet2_ssg")
    assert all(
        torch.equal(a, b) for a, b in zip(one[0].state_dict().values(), two[0].state_dict().values(), strict=True)
    )


FULL = {
    "dgcnn": lambda: published.dgcnn(widths=(64, 64, 128, 256), wide=1024),
    "pointnet2_ssg": lambda: published.pointnet2(levels=((64, 64, 128), (128, 128, 256), (256, 512, 1024))),
    **{name: getattr(published, name) for name in ("point_mae", "point_bert", "point_mae_pretrained")},
}
#: What is published of classifiers of 40 classes: 22.1 M (Point-MAE), 1.8 M (DGCNN), 1.5 M (PointNet++).
MILLIONS = {"point_mae": 22.1, "dgcnn": 1.8, "pointnet2_ssg": 1.5}


@pytest.mark.parametrize("run", sorted({"init_released_point_mae", *(n for n in SHIPPED["runs"] if "replayed_" in n)}))
def test_shipped_students_have_the_sizes_that_were_published(tmp_path, monkeypatch, run):
    block = SHIPPED["runs"][run]
    layout = block["released"]["layout"]
    for name, value in {"WIDTH": 384, "DEPTH": 12, "BRIDGE": 256, "CLASSES": 40, "SIZE": 32}.items():
        monkeypatch.setattr(published, name, value)
    tensors = FULL[layout]()
    student, head, _ = fill(write(tmp_path / "x.pth", tensors, layout), layout, SHIPPED["students"][block["student"]])
    assert (head is None) == (block["arm"] == "init_released")
    if layout in MILLIONS:
        numbers = sum(parameter.numel() for module in (student, head) for parameter in module.parameters())
        assert round(numbers / 1e6, 1) == MILLIONS[layout]


class RunsCode:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it was run')",))


def test_a_file_with_code_a_cut_one_and_none_are_refused_in_one_line(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"base_model": published.point_mae(), "extra": RunsCode()}, path)
    with pytest.raises(
        ArtifactError, match=r"x\.pth: not a readable .*it holds \S*exec, neither a tensor nor a number"
    ) as caught:
        fill(path, "point_mae")
    assert "\n" not in str(caught.value)
    write(path, published.point_mae(), "point_mae")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=r"x\.pth: not a readable weights file") as caught:
        fill(path, "point_mae")
    assert "\n" not in str(caught.value)
    with pytest.raises(ArtifactError, match=r"none\.pth: no such weights file"):
        fill(tmp_path / "none.pth", "point_mae")


@pytest.mark.parametrize(
    ("layout", "made", "told"),
    [
        ("point_mae", published.point_bert, "unexpected: cls_head_finetune.3.bias"),
        ("point_bert", published.point_mae, "missing: cls_head_finetune.3.bias"),
        ("dgcnn", published.pointnet2, "missing: bn6.bias, bn6.running_mean"),
        ("pointnet2_ssg", published.dgcnn, "missing: "),
        ("point_mae", published.point_mae_pretrained, "missing: blocks.blocks.0.attn.proj.bias"),
        ("point_mae_pretrained", published.point_mae, "missing: MAE_encoder.blocks.blocks.0.attn.proj.bias"),
        (
            "pointnet2_ssg",
            lambda: published.pointnet2(columns=6),
            r"of another shape: sa1.mlp_convs.0.weight (8, 6, 1, 1) for (8, 3)",
        ),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path, layout, made, told):
    path = tmp_path / "x.pth"
    torch.save(made(), path)
    with pytest.raises(ArtifactError) as caught:
        fill(path, layout, BLOCKS[layout.removesuffix("_pretrained")])
    assert f"x.pth: not a file of layout {layout} for this student" in str(caught.value)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"cls_pos": None}, "missing: cls_pos"),
        ({"extra.weight": torch.ones(2)}, "unexpected: extra.weight"),
        ({"norm.bias": torch.ones(5)}, "of another shape: norm.bias (5,) for (12,)"),
        ({"encoder.first_conv.0.bias": torch.ones(5)}, "encoder.first_conv.1.running_mean (128,), (5,) for (128,)"),
        ({"norm.bias": torch.full((12,), torch.nan)}, "not finite: norm.bias"),
    ],
)
def test_every_misfit_is_named(tmp_path, changed, told):
    tensors = {name: value for name, value in {**published.point_mae(), **changed}.items() if value is not None}
    with pytest.raises(ArtifactError) as caught:
        fill(write(tmp_path / "x.pth", tensors, "point_mae"), "point_mae")
    assert told in str(caught.value)


def test_another_student_and_another_file_than_the_block_says_are_refused(tmp_path):
    path = write(tmp_path / "x.pth", published.point_mae(), "point_mae")
    with pytest.raises(ConfigError, match=r"not the network of layout point_mae: pool 'max', not 'class_max'"):
        fill(path, "point_mae", {**GROUPS, "pool": "max"})
    with pytest.raises(ConfigError, match="kind 'dgcnn', not 'point_transformer'"):
        fill(path, "point_mae", DGCNN)
    with pytest.raises(ArtifactError, match="not the file whose sha256 the run's block names"):
        fill(path, "point_mae", sha256="0" * 64)
    fill(path, "point_mae", sha256=file_sha256(path))
