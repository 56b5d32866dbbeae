"""Patches in the joint space: equal to what the towers pool where a closed form exists, in order, refused elsewhere."""

import numpy as np
import pytest
import torch

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.stages import read_stage
from pointlift.teachers import clip, clip_patches, extraction, imagenet_cnn
from teachers.pictures import MODEL, write_views

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 64}
VIT = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
RESNET = {
    "embed_dim": 24,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "image_size": 96},
    "text_cfg": TEXT,
}


def teacher(model, **block):
    return clip.build(clip.Settings(kind="clip", model=model, initialisation="random", **block), None)


def vit(**vision):
    return teacher(VIT | {"vision_cfg": VISION | vision})


def images(count=3, size=64):
    return torch.randint(0, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


@pytest.fixture
def resnet():
    """One whose attention looks somewhere, with biases: fresh ones are zero, and fresh queries all alike."""
    made = teacher(RESNET)
    pool = made.network.visual.attnpool
    with torch.no_grad():
        for layer in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
            layer.bias.normal_(std=0.5)
        pool.q_proj.weight.mul_(8.0)
    return made


@pytest.mark.parametrize("vision", [{}, {"final_ln_after_pool": True}], ids=["norm before", "norm after"])
def test_the_class_token_on_the_way_of_the_patches_is_the_embedding(vision):
    made = vit(**vision)
    tower, pixels = made.network.visual, made.preprocessing(images())
    with torch.no_grad():
        found = tower.forward_intermediates(
            pixels, indices=[-1], normalize_intermediates=True, output_fmt="NLC", output_extra_tokens=True
        )
        class_token = found["image_intermediates_prefix"][0] @ tower.proj
        patches = found["image_intermediates"][0] @ tower.proj
    torch.testing.assert_close(class_token[:, 0], made.encode(images()).embedding)
    torch.testing.assert_close(made.encode_patches(images()), patches)
    assert patches.shape == (3, 16, 24)


def test_patches_of_a_tower_that_takes_their_mean_have_the_embedding_as_theirs():
    made = vit(pool_type="avg")
    patches = made.encode_patches(images())
    assert patches.std(dim=1).mean() > 0.01
    torch.testing.assert_close(patches.mean(dim=1), made.encode(images()).embedding)


def pooled(pool, rows_PC, heads):
    """The attention pool's formula for one image in float64: (its output, value of the mean place, of every place).

    Query: the mean place alone. Keys and values: the mean place and all others, each with its positional embedding.
    """

    def linear(layer, x):
        return x @ layer.weight.double().T + layer.bias.double()

    placed = torch.cat([rows_PC.mean(dim=0, keepdim=True), rows_PC]) + pool.positional_embedding.double()
    query, key, value = (linear(layer, placed) for layer in (pool.q_proj, pool.k_proj, pool.v_proj))
    width = placed.shape[1] // heads
    parts = []
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        weight = torch.softmax(key[:, columns] @ query[0, columns] / width**0.5, dim=0)
        parts.append(weight @ value[:, columns])
    return linear(pool.c_proj, torch.cat(parts)), linear(pool.c_proj, value), weight


def test_places_of_a_resnet_are_what_its_attention_pool_takes_the_mean_of(resnet):
    tower, pool = resnet.network.visual, resnet.network.visual.attnpool
    with torch.no_grad():
        found = tower.forward_intermediates(resnet.preprocessing(images(size=96)), indices=[-1])
    patches, embedding = resnet.encode_patches(images(size=96)), resnet.encode(images(size=96)).embedding
    assert patches.shape == (3, 9, 24)
    for image, rows in enumerate(found["image_intermediates"][0].double().flatten(2).transpose(1, 2)):
        wanted, values, _ = pooled(pool, rows, pool.num_heads)
        torch.testing.assert_close(embedding[image].double(), wanted, rtol=1e-4, atol=1e-5)  # the formula is the pool's
        torch.testing.assert_close(patches[image].double(), values[1:], rtol=1e-4, atol=1e-5)


def test_with_one_head_a_resnets_embedding_is_a_mean_of_its_patches(resnet):
    """Output projection and mean change places where one head weighs all columns alike."""
    tower, pool = resnet.network.visual, resnet.network.visual.attnpool
    pool.num_heads = 1
    with torch.no_grad():
        rows = tower.forward_intermediates(resnet.preprocessing(images(1, 96)), indices=[-1])["image_intermediates"][0]
    _, values, weight = pooled(pool, rows[0].double().flatten(1).T, 1)
    patches = resnet.encode_patches(images(1, 96))[0].double()
    mean = weight[0] * values[0] + weight[1:] @ patches
    assert weight[1:].std() > 0.01
    torch.testing.assert_close(mean, resnet.encode(images(1, 96)).embedding[0].double(), rtol=1e-4, atol=1e-5)


def test_patches_stand_row_by_row_from_the_top_left():
    """No layer mixes patches here: only the patch that was changed can differ."""
    made = vit(layers=1)
    with torch.no_grad():
        made.network.visual.transformer.resblocks[0].attn.out_proj.weight.zero_()
    black = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    before = made.encode_patches(black)
    for row, column in ((0, 0), (0, 3), (1, 2), (3, 0)):
        lit = black.clone()
        lit[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 200
        changed = (made.encode_patches(lit) - before).abs().amax(dim=2)[0] > 1e-6
        assert changed.nonzero().flatten().tolist() == [4 * row + column]


def test_places_of_a_resnet_stand_row_by_row(resnet):
    """Receptive fields overlap: the place that changes most is the one that was lit."""
    grey = torch.full((1, 96, 96, 3), 128, dtype=torch.uint8)
    before = resnet.encode_patches(grey)
    for row, column in ((0, 2), (2, 0), (1, 1)):
        lit = grey.clone()
        lit[:, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = 255
        change = (resnet.encode_patches(lit) - before).norm(dim=2)[0]
        assert int(change.argmax()) == 3 * row + column


@pytest.mark.parametrize("model", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_close(model, precision):
    exact, lower = (teacher(model, precision=name).encode_patches(images()) for name in ("float32", precision))
    assert lower.dtype == torch.float32
    assert torch.cosine_similarity(exact, lower, dim=2).min() > 0.99
    assert (exact != lower).any()


@pytest.mark.parametrize(
    "model, told",
    [
        (VIT | {"vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2}}, "with attentional pooling"),
        (VIT | {"vision_cfg": {"timm_model_name": "resnet10t", "timm_pool": "avg", "image_size": 64}}, "TimmModel"),
    ],
    ids=["attentional pooling", "timm"],
)
def test_other_towers_are_refused_with_those_that_work(model, told):
    with pytest.raises(ConfigError, match=rf"{told}.*ViT-B-32.*RN50") as caught:
        teacher(model).encode_patches(images())
    assert "\n" not in str(caught.value)


def test_teachers_of_images_alone_are_refused():
    settings = imagenet_cnn.Settings(
        kind="imagenet_cnn", architecture="squeezenet1_1", initialisation="random", input_size=64
    )
    with pytest.raises(ConfigError, match="take kind 'clip'"):
        imagenet_cnn.build(settings, None).encode_patches(images())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp("views") / "views.safetensors"
    return path, *write_views(path, ("bar", "disc", "frame"), num_views=2, size=24, unusable=(1,))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_view_gets_its_own_tokens(drawn, batch_size):
    path, _, pictures = drawn
    made = teacher(MODEL)
    found = extraction.extract_tokens(made, read_stage(path, "views"), batch_size)
    assert (found.shape, found.dtype) == ((3, 2, 1, 24), np.float16)
    assert not found[1].any()
    for row in (0, 2):
        wanted = made.encode_patches(torch.from_numpy(pictures[row])).numpy()
        np.testing.assert_allclose(found[row], wanted, rtol=2e-3, atol=1e-4)


def test_a_shard_without_a_usable_shape_still_knows_how_many_patches_there_are(tmp_path):
    write_views(tmp_path / "none", ("bar", "disc"), num_views=2, size=24, unusable=(1,))
    shard = read_stage(tmp_path / "none", "views")
    shard["valid"][:] = False
    assert extraction.extract_tokens(vit(), shard, 4).shape == (2, 2, 16, 24)


def test_what_half_precision_cannot_hold_names_the_shape(drawn):
    path, ids, _ = drawn
    made = teacher(MODEL)
    with torch.no_grad():
        made.network.visual.attnpool.c_proj.weight.mul_(1e7)
    with pytest.raises(ArtifactError, match=rf"shape {ids[0]}: the teacher gives .* float16"):
        extraction.extract_tokens(made, read_stage(path, "views"), 4)


def test_patches_are_made_without_gradients():
    made = vit()
    assert not made.encode_patches(images()).requires_grad
    assert not clip_patches.project(made.network.visual, made.preprocessing(images())).requires_grad
