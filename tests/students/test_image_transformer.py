"""Blocks of vision transformers over groups of points: names and answers of timm's, regimes, damaged files."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.image_stages import takes_image_weights
from pointlift.operators.image_transformers import TRANSFORMERS, block_names, block_shapes, blocks_of, read_blocks
from pointlift.operators.inflation import Inflation
from pointlift.operators.regimes import changed, num_trainable, tensor_hashes
from pointlift.students.image_transformer import Settings, build
from students.regime_step import REGIMES, train_one_step

ANY = Inflation("z", "none", "sum")
TIMM = {name: f"{name}_patch16_224" for name in TRANSFORMERS if name != "vit_nano"}
SMALL = {"architecture": "vit_nano", "num_groups": 8, "group_size": 5, "drop_path": 0.0, "tokenizer_widths": [6, 8, 10]}


def student(**values):
    return build(parse(Settings, {"kind": "image_transformer", **values}, "student"))


def nano_of_timm():
    """timm's network of the smallest architecture, float64, with weights that are not those of a start."""
    shape = TRANSFORMERS["vit_nano"]
    size = {"embed_dim": shape.width, "depth": shape.depth, "num_heads": shape.heads}
    network = VisionTransformer(img_size=32, patch_size=8, num_classes=5, **size).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def clouds(batch=3, count=40, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 3, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("architecture", TIMM)
def test_names_and_shapes_are_timms(architecture):
    """Everything of timm's network but patches, positions and classifier, tensor by tensor."""
    with torch.device("meta"):
        network, net = timm.create_model(TIMM[architecture]), student(architecture=architecture)
    theirs = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    left = {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "head.weight", "head.bias"}
    assert block_shapes(architecture) == {name: shape for name, shape in theirs.items() if name not in left}
    assert network.blocks[0].attn.num_heads == TRANSFORMERS[architecture].heads
    assert net.settings.num_stages() == net.settings.num_blocks() == len(network.blocks) == len(net.blocks)
    mine = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    names = block_names(architecture)
    assert {names[name]: mine[name] for name in names} == block_shapes(architecture)
    outside = ("tokenizer.", "position.", "class_position")
    assert {name for name in mine if not name.startswith(outside)} == set(names)


def test_the_blocks_answer_as_timms_do():
    """The same rows into timm's blocks and last norm."""
    theirs, net = nano_of_timm(), student(**SMALL).double().eval()
    source = blocks_of(theirs.state_dict(), "vit_nano", "test")
    origins = net.load_image_stages(source, ANY)
    assert {origin.how for origin in origins.values()} == {"copied"} and takes_image_weights(net)
    assert torch.equal(net.class_token, theirs.cls_token)
    seen = []
    net.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        output = net(clouds(dtype=torch.float64))
        wanted = theirs.norm(theirs.blocks(seen[0]))
        levels = [theirs.norm(theirs.blocks[:depth](seen[0])) for depth in net.level_depths]
    torch.testing.assert_close(output.summary, wanted[:, 0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(output.tokens, wanted[:, 1:], rtol=1e-10, atol=1e-12)
    assert torch.equal(output.embedding, output.summary) and net.width == net.token_width
    for level, rows in zip(output.levels, levels, strict=True):
        torch.testing.assert_close(level.rows, rows[:, 1:], rtol=1e-10, atol=1e-12)


def test_what_enters_the_blocks_is_token_and_place_once():
    net, seen = student(**SMALL).double().eval(), []
    for block in net.blocks:
        block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        block.register_forward_hook(lambda _, __, rows: seen.append(rows))
    output = net(clouds(dtype=torch.float64))
    assert torch.equal(seen[1], seen[2]) and torch.equal(seen[3], seen[4]), "nothing is added between blocks"
    first = (net.class_token + net.class_position).expand(3, -1, -1)
    torch.testing.assert_close(seen[0][:, :1], first)
    with torch.no_grad():
        nn.init.zeros_(net.position.second.weight)
        nn.init.ones_(net.position.second.bias)
    net(clouds(dtype=torch.float64))
    hidden = functional.gelu(net.position.first(output.token_xyz))
    assert hidden.any() and not torch.allclose(seen[6][:, 1:], seen[0][:, 1:])


@pytest.mark.parametrize("pool", ["class", "max", "class_max"])
def test_pools(pool):
    net = student(**SMALL, pool=pool).eval()
    output = net(clouds())
    largest = output.tokens.amax(dim=1)
    parts = {"class": [output.summary], "max": [largest], "class_max": [output.summary, largest]}[pool]
    assert torch.equal(output.embedding, torch.cat(parts, dim=1))
    assert output.embedding.shape[1] == net.width


def test_the_order_of_points_behind_the_first_does_not_matter():
    net, points = student(**SMALL).double().eval(), clouds(dtype=torch.float64)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(points.shape[1] - 1)])
    with torch.no_grad():
        torch.testing.assert_close(net(points[:, order]).embedding, net(points).embedding, rtol=1e-9, atol=1e-11)


def test_groups_may_be_hidden():
    output = student(**SMALL)(clouds(), mask_ratio=0.5)
    assert output.masked.points.shape == (3, 4, 5, 3) and output.tokens.shape[1] == 4
    assert Settings(kind="image_transformer").can_hide()


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_changes_what_the_regime_says(regime):
    """Layer norms stand for batch norms; they have no statistics."""
    net = student(**SMALL)
    model, groups, moved = train_one_step(net, clouds(), regime)
    assert moved == set(groups.changing(regime))
    norms = {f"student.{name}" for name in net.state_dict() if name.startswith(("blocks", "norm")) and "norm" in name}
    assert set(groups.norm_affine) == norms and not groups.norm_statistics
    assert all(name.startswith(("student.tokenizer", "student.position", "student.class_pos")) for name in groups.input)
    assert set(groups.output) == {"head.weight", "head.bias"}
    trained = {"io": 0, "ioms": 0, "io_bn": 7 * 2 * 48}  # two norms in each of three blocks, and the last
    if regime in trained:
        own = sum(model.state_dict()[name].numel() for name in groups.input + groups.output if "running" not in name)
        own -= sum(name.endswith("tracked") for name in groups.input)
        assert num_trainable(model) == own + trained[regime]


def test_blocks_left_out_keep_their_weights():
    net, source = student(**SMALL), blocks_of(nano_of_timm().state_dict(), "vit_nano", "test")
    before = tensor_hashes(net.state_dict())
    net.load_image_stages(source, ANY, excluded=[2])
    after = changed(before, tensor_hashes(net.state_dict()))
    assert not any(name.startswith("blocks.1.") for name in after)
    assert {name.rsplit(".", 1)[0] for name in after} >= {"blocks.0.mlp.first", "blocks.2.mlp.first", "norm"}
    with pytest.raises(ConfigError, match="blocks 1 to 3, not 0, 4"):
        net.load_image_stages(source, ANY, excluded=[4, 0])


def test_files_that_are_not_of_this_architecture_are_told(tmp_path):
    weights = {name: tensor.float() for name, tensor in nano_of_timm().state_dict().items()}
    save_file(weights, path := tmp_path / "vit.safetensors")
    assert set(read_blocks(path, "vit_nano")) == set(block_shapes("vit_nano"))
    with pytest.raises(
        ArtifactError, match=r"vit.safetensors: does not hold the blocks of vit_tiny: missing: blocks\.10"
    ):
        read_blocks(path, "vit_tiny")
    with pytest.raises(ArtifactError, match=r"unexpected: blocks\.3\.attn\.qkv\.weight"):
        blocks_of(weights | {"blocks.3.attn.qkv.weight": torch.zeros(1)}, "vit_nano", "test")
    weights["blocks.1.norm1.bias"][3] = torch.nan
    with pytest.raises(ArtifactError, match=r"not finite: blocks\.1\.norm1\.bias"):
        blocks_of(weights, "vit_nano", "test")
    with pytest.raises(ConfigError, match="no transformer 'vit_huge'; there are vit_tiny"):
        blocks_of(weights, "vit_huge", "test")


def test_what_cannot_be_is_refused():
    for values, said in (({"level_depths": [3]}, r"below depth \(3\)"), ({"architecture": "vit"}, "architecture")):
        with pytest.raises(ConfigError, match=said):
            student(**{**SMALL, **values})
