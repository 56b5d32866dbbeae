"""From 2D weights to answers: train_student fills the stages, finetune_student changes what the regime says alone."""

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import finetune_student
import labelled_clouds
import train_student
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.contracts.stages import read_stage
from pointlift.tasks import partial_training
from pointlift.tasks.classifier import Classifier
from pointlift.teachers import imagenet_vit, small_resnet
from pointlift.training.checkpoint import Checkpoint

STUDENT = {"kind": "sparse_resnet", "architecture": "resnet8", "voxel_size": 0.25}
SOURCE = {"kind": "small_resnet", "width": 8, "weights_file": "resnet8.safetensors"}
TRANSFORMER = {"kind": "image_transformer", "architecture": "vit_nano", "num_groups": 8, "group_size": 5}
PICTURES = {"kind": "imagenet_vit", "architecture": "vit_nano", "input_size": 32}
TASK = {
    "kind": "classification",
    "dataset": "ellipsoids",
    "recipe": {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "weight_decay": 0.1},
    "head_width": 16,
    "log_every": 2,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file of a small 2D network whose batch norms have seen something."""
    folder = tmp_path_factory.mktemp("source")
    block = {"kind": "small_resnet", "width": 8, "initialisation": "random"}
    network = small_resnet.build(parse(small_resnet.Settings, block, "teacher"), None).network
    network.classifier = torch.nn.Linear(8, 3, bias=False)
    save_file(network.state_dict(), folder / "resnet8.safetensors")
    return folder / "resnet8.safetensors"


def start(folder, source=None, seed=0, student=STUDENT, teacher=SOURCE, **inflation):
    """Weights of a student of this seed and its settings.json; from 2D weights where a source is given."""
    told = {"run": "r", "student": student, "arm": "io" if source else "scratch", "seed": seed}
    if source is not None:
        told |= {"source": teacher, "inflation": {"source": "resnet8", **inflation}}
    nothing = {name: [] for name in ("points", "visibility", "features", "tokens", "exclude")}
    paths = {"output": folder / "weights.safetensors", "projector": folder / "projector.safetensors"}
    given = {"init": None, "manifest": None, "source": source, "checkpoints": None, "curves": None, "code": ""}
    train_student.main(argparse.Namespace(settings=told, threads=1, device="cpu", **nothing, **paths, **given))
    return load_file(paths["output"]), json.loads((folder / "settings.json").read_text())


def test_stages_are_the_2d_ones_and_the_rest_is_the_scratch_student(tmp_path, source):
    scratch, _ = start(tmp_path / "scratch")
    filled, told = start(tmp_path / "filled", source)
    flat, stage_names = load_file(source), [name for name in filled if name.startswith("layer")]
    assert sorted(told["origins"]) == sorted(stage_names)
    for name in filled:
        if name not in stage_names:
            assert torch.equal(filled[name], scratch[name]), name
            continue
        number, rest = name.removeprefix("layer").split(".", 1)
        wanted = flat[f"backbone.{int(number) + 2}.{rest}"]  # conv1, bn1, relu, layer1 ...
        if wanted.ndim == 4:  # the same at every z; rows are y, columns x
            assert filled[name].shape == (*wanted.shape, 3)
            assert all(torch.equal(filled[name][..., z], wanted.transpose(2, 3)) for z in range(3)), name
            assert told["origins"][name] == f"{name}: inflated along z"
        else:
            assert torch.equal(filled[name], wanted), name
            assert told["origins"][name] == f"{name}: copied"
    assert not torch.equal(filled["layer1.0.conv1.weight"], scratch["layer1.0.conv1.weight"])


def test_the_same_bytes_again_and_another_seed_only_where_it_is_new(tmp_path, source):
    start(tmp_path / "one", source), start(tmp_path / "two", source)
    for file in ("weights.safetensors", "settings.json", "projector.safetensors", "history.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    one, _ = start(tmp_path / "one", source)
    other, _ = start(tmp_path / "other", source, seed=1)
    changed = {name for name in one if not torch.equal(one[name], other[name])}
    assert changed and all(name.startswith("stem") for name in changed)


def test_stages_that_are_left_out_keep_their_own_weights(tmp_path, source):
    scratch, _ = start(tmp_path / "scratch")
    filled, told = start(tmp_path / "filled", source, scale="mean", excluded_stages=[2])
    assert not any(name.startswith("layer2") for name in told["origins"])
    assert all(torch.equal(filled[name], scratch[name]) for name in filled if name.startswith("layer2"))
    assert told["origins"]["layer3.0.conv1.weight"] == "layer3.0.conv1.weight: inflated along z, divided by 3"


def test_a_scratch_student_says_nothing_of_2d_weights(tmp_path):
    _, told = start(tmp_path)
    assert not {"inflation", "source", "origins"} & set(told)


def test_weights_that_do_not_fit_leave_nothing(tmp_path, source):
    broken = {name: value for name, value in load_file(source).items() if "backbone.4." not in name}
    save_file(broken, tmp_path / "broken.safetensors")
    with pytest.raises(ArtifactError, match="does not hold the stages of resnet8: missing: layer2"):
        start(tmp_path / "out", tmp_path / "broken.safetensors")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="has stages 1, 2, 3, not 7"):
        start(tmp_path / "out", source, excluded_stages=[7])
    assert not (tmp_path / "out").exists()


#: Parts of a transformer's block here, and in timm's files.
PARTS = {"attention_norm": "norm1", "attention.query_key_value": "attn.qkv", "attention.out": "attn.proj"}
PARTS |= {"mlp_norm": "norm2", "mlp.first": "mlp.fc1", "mlp.second": "mlp.fc2"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A file of a small vision transformer with timm's names, whose every tensor is drawn."""
    block = parse(imagenet_vit.Settings, {**PICTURES, "initialisation": "random"}, "teacher")
    generator = torch.Generator().manual_seed(0)
    shapes = {name: tensor.shape for name, tensor in imagenet_vit.build(block, None).network.state_dict().items()}
    folder = tmp_path_factory.mktemp("pictures")
    save_file(
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, folder / "vit.safetensors"
    )
    return folder / "vit.safetensors"


def test_blocks_of_a_transformer_are_the_2d_ones_and_the_rest_is_the_scratch_student(tmp_path, pictures):
    teacher = {**PICTURES, "weights_file": "vit.safetensors"}
    scratch, _ = start(tmp_path / "scratch", student=TRANSFORMER)
    filled, told = start(tmp_path / "filled", pictures, student=TRANSFORMER, teacher=teacher)
    flat = load_file(pictures)
    wanted = {"class_token": "cls_token", "norm.weight": "norm.weight", "norm.bias": "norm.bias"}
    for number in range(3):
        for ours, theirs in PARTS.items():
            for kind in ("weight", "bias"):
                wanted[f"blocks.{number}.{ours}.{kind}"] = f"blocks.{number}.{theirs}.{kind}"
    assert told["origins"] == {ours: f"{theirs}: copied" for ours, theirs in wanted.items()}
    assert set(wanted) < set(filled) and filled.keys() == scratch.keys()
    for name, tensor in filled.items():
        assert torch.equal(tensor, flat[wanted[name]] if name in wanted else scratch[name]), name
    assert not torch.equal(filled["blocks.0.attention.out.weight"], scratch["blocks.0.attention.out.weight"])
    save_file({name: value for name, value in flat.items() if "blocks.1." not in name}, tmp_path / "less.safetensors")
    with pytest.raises(
        ArtifactError, match=r"less\.safetensors: does not hold the blocks of vit_nano: missing: blocks\.1"
    ):
        start(tmp_path / "out", tmp_path / "less.safetensors", student=TRANSFORMER, teacher=teacher)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)


def finetune(dataset, weights, output, task=None, **changes):
    """Weights of the finetuned student by their names there, and its answers."""
    settings = {"run": "r", "student": STUDENT, "task": {**TASK, **(task or {})}, "arm": "io", "form": "transfer"}
    settings |= {"seed": 3, "max_quarantined": 0.1, **changes}
    paths = {"manifest": dataset["manifest"][0], "points": dataset["points"], "weights": weights}
    other = {"visibility": [], "features": [], "tokens": [], "checkpoints": None, "curves": None, "code": ""}
    output = output / "predictions.safetensors"
    finetune_student.main(
        argparse.Namespace(settings=settings, output=output, threads=1, device="cpu", **paths, **other)
    )
    found = load_file(output.parent / "weights.safetensors")
    return {name.removeprefix("student."): found[name] for name in found}, read_stage(output, "predictions")


def kind_of(name):
    """Told by its name alone: of the stem or head, a batch norm's statistics or weights, or a kernel of the stages."""
    if not name.startswith("layer"):
        return "new"
    if name.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked"):
        return "statistics"
    return "norm" if ".bn" in name else "kernel"


CHANGING = {
    "io": {"new"},
    "ioms": {"new", "statistics"},
    "io_bn": {"new", "statistics", "norm"},
    "all": {"new", "statistics", "norm", "kernel"},
}


@pytest.mark.parametrize("regime", CHANGING)
def test_a_regime_changes_what_it_says_and_no_bit_more(tmp_path, dataset, source, regime, caplog):
    before, _ = start(tmp_path / "student", source)
    caplog.set_level("INFO")
    after, _ = finetune(dataset, tmp_path / "student" / "weights.safetensors", tmp_path / "out", regime=regime)
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert changed == {name for name in before if kind_of(name) in CHANGING[regime]}
    kept = len(before) - len(changed)
    assert f"regime {regime}: {len(changed)} tensors changed; all {kept} that it keeps have every bit" in caplog.text


def test_the_regime_of_all_is_training_without_a_regime(tmp_path, dataset, source):
    start(tmp_path / "student", source)
    weights = tmp_path / "student" / "weights.safetensors"
    plain, answers = finetune(dataset, weights, tmp_path / "plain")
    held, again = finetune(dataset, weights, tmp_path / "all", regime="all")
    assert all(torch.equal(plain[name], held[name]) for name in plain)
    assert (answers["logits"] == again["logits"]).all()


def test_heads_and_stems_start_alike_in_every_arm(tmp_path, dataset, source):
    """After steps too small to see: what is compared differs in 2D weights and regime alone."""
    still, found = {"recipe": {**TASK["recipe"], "learning_rate": 1e-12}}, []
    for name, weights, regime in (("filled", source, "io"), ("all", source, "all"), ("scratch", None, None)):
        start(tmp_path / name, weights)
        after, _ = finetune(
            dataset, tmp_path / name / "weights.safetensors", tmp_path / f"{name}_out", still, regime=regime
        )
        found.append({key: value for key, value in after.items() if not key.startswith("layer") and value.ndim > 1})
    assert {key.split(".")[0] for key in found[0]} == {"stem", "head"}
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for key, value in found[0].items():
            torch.testing.assert_close(other[key], value, rtol=0, atol=1e-8)


def test_the_same_answers_again(tmp_path, dataset, source):
    start(tmp_path / "student", source)
    weights = tmp_path / "student" / "weights.safetensors"
    for name in ("one", "two"):
        finetune(dataset, weights, tmp_path / name, regime="ioms", recalibrate=True)
    for file in ("predictions.safetensors", "weights.safetensors", "history.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_broken_promise_leaves_no_weights(tmp_path, dataset, source, monkeypatch):
    start(tmp_path / "student", source)
    monkeypatch.setattr(partial_training, "freeze", lambda *_: None)
    with pytest.raises(ArtifactError, match=r"regime io must keep layer.* and \d+ more, which training changed"):
        finetune(dataset, tmp_path / "student" / "weights.safetensors", tmp_path / "out", regime="io")
    assert not (tmp_path / "out" / "weights.safetensors").exists()


def test_recalibration_changes_the_statistics_once_in_io_and_at_every_look_elsewhere(tmp_path, dataset, source):
    before, _ = start(tmp_path / "student", source)
    weights = tmp_path / "student" / "weights.safetensors"
    once, _ = finetune(dataset, weights, tmp_path / "io", regime="io", recalibrate=True)
    changed = {kind_of(name) for name in before if not torch.equal(once[name], before[name])}
    assert changed == {"new", "statistics"}
    longer = {"recipe": {**TASK["recipe"], "epochs": 5}}
    again, _ = finetune(dataset, weights, tmp_path / "longer", longer, regime="io", recalibrate=True)
    for name in before:  # found before the first step, kept from there on
        assert kind_of(name) != "statistics" or torch.equal(once[name], again[name])
    plain, answers = finetune(dataset, weights, tmp_path / "plain", regime="ioms")
    looked, other = finetune(dataset, weights, tmp_path / "looked", regime="ioms", recalibrate=True)
    assert not torch.equal(plain["layer1.0.bn1.running_mean"], looked["layer1.0.bn1.running_mean"])
    assert all(torch.equal(plain[name], looked[name]) for name in before if kind_of(name) != "statistics")
    assert not (answers["logits"] == other["logits"]).all()
    assert looked["layer1.0.bn1.num_batches_tracked"] == 2  # passes over 23 shapes in batches of 8


def test_a_killed_finetuning_goes_on_to_the_same_bytes(tmp_path, dataset, source, monkeypatch):
    start(tmp_path / "student", source)
    weights, calls, forward = tmp_path / "student" / "weights.safetensors", [], Classifier.forward
    monkeypatch.setattr(Checkpoint, "due", lambda _: True)
    held = {"regime": "io", "recalibrate": True}
    finetune(dataset, weights, tmp_path / "whole", **held)

    def killed(model, batch):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(model, batch)

    monkeypatch.setattr(Classifier, "forward", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune(dataset, weights, tmp_path / "killed", **held)
    finetune(dataset, weights, tmp_path / "killed", **held)
    assert len(calls) == 4 + (3 * 2 - 3)  # three epochs of two steps, three of which were kept
    for file in ("predictions.safetensors", "weights.safetensors", "history.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()
