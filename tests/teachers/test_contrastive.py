"""The loss against a slow formula and its bounds, zero-shot accuracy by hand, and what the token table leaves alone."""

import json
import math

import numpy as np
import pytest
import torch

from pointlift.contracts.errors import PointliftError
from pointlift.contracts.recipe import Recipe
from pointlift.teachers import clip_network, contrastive
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.token_table import CompactTokenTable
from pointlift.teachers.views import LabelledViews
from teachers.pictures import MODEL


def unit(*shape, seed):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=-1)


def slow_loss(image, text, label, scale):
    """Written from the definition, one exponential at a time."""
    logits = [[scale * float(i @ t) for t in text] for i in image]
    image_to_text = 0.0
    for row, wanted in zip(logits, label, strict=True):
        image_to_text -= math.log(math.exp(row[wanted]) / sum(math.exp(value) for value in row))
    text_to_image, present = 0.0, sorted(set(label))
    for k in present:
        column = [row[k] for row in logits]
        own = [value for value, wanted in zip(column, label, strict=True) if wanted == k]
        total = sum(math.exp(value) for value in column)
        text_to_image -= sum(math.log(math.exp(value) / total) for value in own) / len(own)
    return (image_to_text / len(label) + text_to_image / len(present)) / 2.0


def test_loss_against_the_slow_formula():
    label = [0, 3, 3, 1, 0, 3, 1]  # class 2 has no image in the batch
    image, text = unit(7, 5, seed=0), unit(4, 5, seed=1)
    found = contrastive.class_caption_loss(image, text, torch.tensor(label), torch.tensor(6.5, dtype=torch.float64))
    assert float(found) == pytest.approx(slow_loss(image, text, label, 6.5), rel=1e-12)


def test_loss_with_one_image_per_class_is_the_usual_symmetric_one():
    image, text, label = unit(6, 8, seed=2), unit(6, 8, seed=3), torch.arange(6)
    logits = 9.0 * image @ text.T
    usual = (torch.nn.functional.cross_entropy(logits, label) + torch.nn.functional.cross_entropy(logits.T, label)) / 2
    found = contrastive.class_caption_loss(image, text, label, torch.tensor(9.0, dtype=torch.float64))
    torch.testing.assert_close(found, usual)


def test_perfect_alignment_reaches_the_bound_of_shared_captions():
    """With n images of a class nothing is below log(n) / 2: a caption cannot prefer one of its images."""
    text = torch.eye(4, dtype=torch.float64)
    label = torch.arange(4).repeat_interleave(5)
    found = contrastive.class_caption_loss(text[label], text, label, torch.tensor(100.0, dtype=torch.float64))
    assert float(found) == pytest.approx(math.log(5) / 2, abs=1e-9)


def test_zero_shot_accuracy_per_view_and_per_shape():
    text = torch.eye(3)
    image = torch.tensor([[[5.0, 1, 0], [0, 1, 0], [3, 0, 2]], [[0, 0, 2], [0, 1, 0], [0, 1, 0]]])
    # Shape 0, class 0: two of three views, and together. Shape 1, class 2: one of three views, together class 1.
    assert contrastive.zero_shot_accuracy(image, text, torch.tensor([0, 2])) == pytest.approx((3 / 6, 1 / 2))


@pytest.fixture(scope="module")
def network():
    return clip_network.untrained(MODEL, seed=1).eval()


def captions(*templates):
    """Token ids (K, T, L) of T lists of K texts."""
    return torch.stack([clip_network.tokenizer(MODEL)(texts) for texts in templates], dim=1)


def test_the_compact_table_says_the_same(network):
    ids = captions(["a render of a cup", "a render of a vase"])
    with torch.no_grad():
        wanted = network.encode_text(ids[:, 0])
        with CompactTokenTable(network, ids) as table:
            assert network.token_embedding.num_embeddings < 12
            assert torch.equal(network.encode_text(table.ids_KTL[:, 0]), wanted)
        assert torch.equal(network.encode_text(ids[:, 0]), wanted)


def test_training_writes_its_rows_back_and_touches_no_other():
    network, ids = clip_network.untrained(MODEL, seed=2), captions(["cup", "vase"])
    before = network.token_embedding.weight.detach().clone()
    with CompactTokenTable(network, ids), torch.no_grad():
        network.token_embedding.weight += 1.0
    changed = (network.token_embedding.weight != before).any(dim=1).nonzero().flatten()
    assert changed.tolist() == torch.unique(ids).tolist()


def noise_views(shapes=6):
    images = np.random.default_rng(0).integers(0, 256, (shapes, 2, 3, 32, 32), dtype=np.uint8)
    return LabelledViews(images, np.arange(shapes) % 2)


def train(folder, seed=0, val=None, kill_at=None, **recipe):
    """Train a fresh network in ``folder``; ``kill_at``: in that step the image tower raises ``KilledError``."""
    network, calls = clip_network.untrained(MODEL, seed=3), []
    if kill_at is not None:
        network.visual.register_forward_pre_hook(lambda *_: calls.append(1) or _die(len(calls) > kill_at))
    given = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3} | recipe
    contrastive.train(
        network,
        Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        captions(["cup", "vase"], ["a cup", "one vase"]),
        noise_views(),
        val_views=val,
        recipe=Recipe(**given),
        seed=seed,
        history=folder / "history.jsonl",
        curves=folder / "curves",
        device="cpu",
        checkpoint_seconds=0.0,
    )
    return network, (folder / "history.jsonl").read_text()


class KilledError(Exception):
    pass


def _die(now):
    if now:
        raise KilledError


def same_bits(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def test_training_is_the_same_bits_for_a_seed_and_others_for_another(tmp_path):
    one, two, other = (train(tmp_path / str(name), seed) for name, seed in enumerate((0, 0, 1)))
    assert one[1] == two[1]
    assert same_bits(one[0], two[0])
    assert not same_bits(one[0], other[0])
    assert [json.loads(line)["step"] for line in one[1].splitlines()] == [3, 6]
    assert list((tmp_path / "0" / "curves").iterdir())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("kill_at", [2, 4])  # in step 2; in step 3, after a look at val
def test_a_killed_teacher_goes_on_to_the_same_bits(tmp_path, kill_at, precision):
    whole, history = train(tmp_path / "whole", val=noise_views(), precision=precision)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", val=noise_views(), kill_at=kill_at, precision=precision)
    assert (tmp_path / "killed" / "checkpoints" / "state.pt").exists()
    left = 6 + 2 - min(kill_at, 3)  # steps and looks at val that are left to do; one more would raise
    resumed, again = train(tmp_path / "killed", val=noise_views(), kill_at=left, precision=precision)
    assert same_bits(whole, resumed)
    assert again == history
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_a_checkpoint_of_another_val_split_is_left_aside(tmp_path, caplog):
    with pytest.raises(KilledError):
        train(tmp_path, val=noise_views(), kill_at=2)
    train(tmp_path, val=noise_views(shapes=4))
    assert "starting anew" in caplog.text


def test_without_a_val_split_no_accuracy_is_told(tmp_path):
    _, history = train(tmp_path, epochs=1)
    assert set(json.loads(history)) == {"epoch", "step", "lr", "contrastive_loss"}


def test_the_logit_scale_never_passes_a_hundred(tmp_path):
    network, _ = train(tmp_path, learning_rate=3.0)  # AdamW moves it by up to 3 per step
    assert float(network.logit_scale.detach()) <= math.log(100.0)


def test_a_loss_that_is_not_finite_names_its_step(tmp_path):
    with pytest.raises(PointliftError, match=r"at step [1-5] .*: contrastive_loss is nan; lower the learning rate"):
        train(tmp_path, learning_rate=1e30)


def test_the_mean_direction_of_real_texts(realdata):
    """CLIP ViT-B/32's vectors of two word lists as two templates each: by the definition, in float64."""
    folder = realdata / "clip_text_features" / "detic_vitb32"
    if not folder.is_dir():
        pytest.skip("the real CLIP text embeddings are not beside this checkout")
    lists = [
        np.load(folder / name)[:80].astype(float) for name in ("coco_clip_a+cname.npy", "o365_clip_a+cnamefix.npy")
    ]
    text_KTD = np.stack(lists, axis=1)
    assert np.linalg.norm(text_KTD, axis=-1).min() > 8.0  # as the network gave them
    found = contrastive.mean_direction(torch.from_numpy(text_KTD).float()).double().numpy()
    for row, texts in zip(found, text_KTD, strict=True):
        mean = sum(text / math.sqrt(float(text @ text)) for text in texts) / 2
        np.testing.assert_allclose(row, mean / math.sqrt(float(mean @ mean)), atol=1e-6)
    longer = torch.from_numpy(text_KTD * [[[1.0], [7.0]]]).float()
    np.testing.assert_allclose(contrastive.mean_direction(longer), found, atol=1e-6)
