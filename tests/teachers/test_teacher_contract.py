"""Every teacher there is keeps the promises of its room. A new one may say how it is built in examples/<kind>.json."""

import json
from pathlib import Path

import pytest
import torch

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.contracts.teacher_blocks import TeacherSettings

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def block_of(kind):
    example = Path(__file__).parent / "examples" / f"{kind}.json"
    return json.loads(example.read_text()) if example.exists() else {"kind": kind, "initialisation": "random"}


def teacher_of(kind):
    member = rooms.load("teachers", kind)
    return member.build(parse(member.Settings, block_of(kind), "teacher"), None)


@pytest.fixture(scope="module", params=rooms.available("teachers"))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def teacher(kind):
    return teacher_of(kind)


def images(count=5, seed=0):
    return torch.randint(0, 256, (count, 80, 80, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_settings_are_read_without_torch_and_are_strict(kind):
    found = rooms.settings_class("teachers", kind)
    assert TeacherSettings.__name__ in [base.__name__ for base in found.__mro__]
    assert parse(found, block_of(kind) | {"batch_size": 7}, "teachers.x").batch_size == 7


@pytest.mark.parametrize("device", DEVICES)
def test_shapes_types_and_finite_values(teacher, device):
    found = teacher.to(device).encode(images().to(device), tokens=True)
    teacher.to("cpu")
    assert found.embedding.shape == (5, teacher.width)
    assert found.embedding.dtype == torch.float32
    assert found.embedding.isfinite().all()
    if found.tokens is not None:
        assert found.tokens.shape[0] == 5
        assert found.tokens.dtype == torch.float32
        assert found.tokens.isfinite().all()


def test_tokens_only_when_asked_and_the_embedding_does_not_change(teacher):
    plain, asked = teacher.encode(images()), teacher.encode(images(), tokens=True)
    assert plain.tokens is None
    torch.testing.assert_close(plain.embedding, asked.embedding)


def test_frozen(teacher):
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.encode(images()).embedding.requires_grad
    teacher.train()
    assert not any(module.training for module in teacher.modules())


def test_an_image_alone_is_embedded_as_in_its_batch(teacher):
    together, alone = teacher.encode(images()).embedding, teacher.encode(images()[2:3]).embedding
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-4 * float(together.abs().max()))


def test_the_same_weights_and_bits_when_built_again(kind, teacher):
    again = teacher_of(kind)
    for (name, left), right in zip(teacher.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(left, right), name
    assert torch.equal(teacher.encode(images()).embedding, again.encode(images()).embedding)


def test_half_precision_can_tell_images_apart(teacher):
    stored = teacher.encode(images()).embedding.half()
    assert stored.isfinite().all()
    assert len({tuple(row.tolist()) for row in stored}) == len(stored)
    spread, size = stored.float().std(dim=0).mean(), stored.float().abs().mean()
    assert spread > 0.002 * size


def test_nonnegative_is_what_it_says(teacher):
    smallest = float(teacher.encode(images(16, seed=1)).embedding.min())
    assert (smallest >= 0.0) == teacher.nonnegative


def test_images_of_another_form_are_refused(teacher):
    with pytest.raises(ValueError, match=r"uint8 \(B, H, W, 3\)"):
        teacher.encode(images().float())
    with pytest.raises(Exception, match="square"):
        teacher.encode(images()[:, :60])


def test_one_that_reads_text_says_each_class_in_its_images_space(kind, teacher):
    reads = rooms.settings_class("teachers", kind).model_validate_json(json.dumps(block_of(kind))).reads_text()
    assert reads == hasattr(teacher, "encode_class_prompts")
    if reads:
        found = teacher.encode_class_prompts(["cup", "office_chair"], ["a {}", "a render of a {}"])
        assert found.shape == (2, teacher.width) and found.dtype == torch.float32
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
