"""Pooling by view against the definition written out in full, the published vectors, and what must always hold."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pointlift.operators.visible_pooling import gather_visible, max_pool, visible_max_pool

TOKENS = torch.tensor([[[1.0, 0, 5], [2, 3, 0], [0, 4, 1], [6, 1, 2]]])
SEEDS = range(5)


def naive(tokens_BGC, visible_BVG):
    """Multiply every mask in, take the maximum: the definition for tokens >= 0, with a (B, V, G, C) array."""
    return (tokens_BGC[:, None] * visible_BVG[..., None]).amax(dim=2)


def scene(seed, batch=3, views=4, tokens=17, width=6, share=0.3):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, tokens, width, generator=generator, dtype=torch.float64).relu()
    mask = torch.rand(batch, views, tokens, generator=generator) < share
    mask[0, 0] = False  # a view that sees nothing
    return values, mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [("1111", (6, 4, 5)), ("1100", (2, 3, 5)), ("0010", (0, 4, 1)), ("0000", (0, 0, 0))],
)
def test_published_vectors(mask, expected):
    visible = torch.tensor([[[bit == "1" for bit in mask]]])
    assert visible_max_pool(TOKENS, visible).tolist() == [[list(map(float, expected))]]


@pytest.mark.parametrize(
    ("mask", "as_product", "among_visible"), [("1100", (0, 0, 2), (-1, 0, 2)), ("0010", (0, 1, 0), (-3, 1, -2))]
)
def test_of_signed_tokens_it_is_the_maximum_among_the_visible(mask, as_product, among_visible):
    """Where the two definitions part: a mask multiplied in would show zeros of hidden tokens."""
    visible = torch.tensor([[[bit == "1" for bit in mask]]])
    assert naive(TOKENS - 3.0, visible)[0, 0].tolist() == list(as_product)
    assert max_pool((TOKENS - 3.0)[:, visible[0, 0]])[0].tolist() == list(among_visible)
    assert visible_max_pool(TOKENS - 3.0, visible)[0, 0].tolist() == list(among_visible)


def test_one_nan_is_never_hidden_by_a_maximum_or_a_mask():
    tokens = TOKENS.clone()
    tokens[0, 3, 1] = math.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        visible_max_pool(tokens, torch.tensor([[[True, True, True, False]]]))


def test_a_mask_of_another_type_or_shape_is_refused():
    # So a mask never holds NaN; that answers need none at all: tests/entry/test_finetune_student.py.
    with pytest.raises(TypeError, match="bool"):
        visible_max_pool(TOKENS, torch.ones(1, 1, 4))
    with pytest.raises(ValueError, match="does not fit"):
        visible_max_pool(TOKENS, torch.ones(1, 1, 5, dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_definition_bit_by_bit(seed, dtype):
    tokens, visible = scene(seed)
    tokens = tokens.to(dtype)
    assert torch.equal(visible_max_pool(tokens, visible), naive(tokens, visible))


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_equal_those_of_the_definition(seed):
    """Where the maximum is unique and above 0, as almost surely for random tokens."""
    tokens, visible = scene(seed)
    weights = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found, wanted = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    (visible_max_pool(found, visible) * weights).sum().backward()
    (naive(wanted, visible) * weights).sum().backward()
    alive = tokens > 0
    torch.testing.assert_close(found.grad[alive], wanted.grad[alive], rtol=1e-12, atol=0)


def test_gradient_against_finite_differences():
    tokens = torch.rand(2, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
    visible = torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(2)) < 0.5
    assert torch.autograd.gradcheck(lambda t: visible_max_pool(t, visible), (tokens.requires_grad_(),))


@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_and_lesser_tokens_get_no_gradient(seed):
    tokens, visible = scene(seed)
    tokens.requires_grad_()
    pooled = visible_max_pool(tokens, visible)
    pooled.sum().backward()
    never_seen = ~visible.any(dim=1)
    assert never_seen.any()
    assert not tokens.grad[never_seen].any()
    is_maximum = ((tokens[:, None] == pooled[:, :, None]) & visible[..., None]).any(dim=1)
    assert not tokens.grad[~is_maximum].any()


def test_ties_and_empty_views_have_finite_gradients_of_the_right_sum():
    tokens = torch.ones(1, 5, 2, requires_grad=True)
    visible = torch.tensor([[[1, 1, 0, 0, 1], [0, 0, 0, 0, 0]]]).bool()
    visible_max_pool(tokens, visible).sum().backward()
    assert tokens.grad.sum(dim=1).tolist() == [[1.0, 1.0]]
    assert not tokens.grad[:, 2:4].any()


def test_no_view_sees_anything():
    tokens = torch.rand(2, 5, 3, requires_grad=True)
    pooled = visible_max_pool(tokens, torch.zeros(2, 4, 5, dtype=torch.bool))
    pooled.sum().backward()
    assert pooled.shape == (2, 4, 3)
    assert not pooled.any()
    assert not tokens.grad.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_all_visible_is_the_global_maximum(seed):
    tokens, visible = scene(seed)
    pooled = visible_max_pool(tokens, torch.ones_like(visible))
    assert torch.equal(pooled, tokens.amax(dim=1)[:, None].expand_as(pooled))


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_tokens_and_mask_belong_together(seed):
    tokens, visible = scene(seed)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(seed))
    pooled = visible_max_pool(tokens, visible)
    assert torch.equal(visible_max_pool(tokens[:, order], visible[:, :, order]), pooled)
    assert not torch.equal(visible_max_pool(tokens[:, order], visible), pooled)


@pytest.mark.parametrize("seed", SEEDS)
def test_views_permute_seeing_more_never_lowers_and_views_unite(seed):
    tokens, visible = scene(seed)
    pooled = visible_max_pool(tokens, visible)
    assert torch.equal(visible_max_pool(tokens, visible.flip(1)), pooled.flip(1))
    _, more = scene(seed + 100)
    assert (visible_max_pool(tokens, visible | more) >= pooled).all()
    united = visible_max_pool(tokens, visible.any(dim=1, keepdim=True))
    assert torch.equal(pooled.amax(dim=1, keepdim=True), united)


class LargestTensor(TorchDispatchMode):
    """Notes the bytes of the largest tensor any operation makes."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return made


def largest_tensor(function, views):
    batch, tokens, width = 2, 64, 128
    values = torch.rand(batch, tokens, width, requires_grad=True)
    visible = torch.rand(batch, views, tokens) < 0.5
    with LargestTensor() as watch:
        function(values, visible).sum().backward()
    return watch.bytes / (batch * tokens * width * 4)


def test_no_array_grows_with_views_times_tokens_times_width():
    assert largest_tensor(visible_max_pool, 2) == largest_tensor(visible_max_pool, 16) == 1.0
    assert largest_tensor(naive, 16) == 16.0  # the watch sees what it should


def test_max_pool_is_the_maximum_of_any_sign_with_and_without_gradient():
    tokens = torch.randn(3, 9, 4, dtype=torch.float64, requires_grad=True)
    wanted = tokens.detach().amax(dim=1)
    assert torch.equal(max_pool(tokens), wanted)
    with torch.no_grad():
        assert torch.equal(max_pool(tokens), wanted)
    assert torch.autograd.gradcheck(max_pool, (tokens,))


def test_the_mask_of_tokens_follows_the_points_they_came_from():
    visible = torch.rand(2, 3, 10) < 0.5
    index = torch.tensor([[7, 0, 3], [9, 9, 1]])
    found = gather_visible(visible, index)
    wanted = [[[bool(visible[b, v, n]) for n in index[b]] for v in range(3)] for b in range(2)]
    assert found.tolist() == wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    tokens, visible = scene(0)
    weights = torch.randn(3, 4, 6, dtype=torch.float64)
    results = []
    for device in ("cpu", "cuda"):
        values = tokens.to(device).requires_grad_()
        pooled = visible_max_pool(values, visible.to(device))
        (pooled * weights.to(device)).sum().backward()
        results.append((pooled.detach().cpu(), values.grad.cpu()))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
