"""Attention against its formula in float64, and what blocks must leave alone."""

import math

import pytest
import torch

from pointlift.operators.transformer import Attention, Block, DropPath, Mlp, start_small

BATCH, ROWS, WIDTH, CONTEXT = 3, 7, 12, 5


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_attention(layer, rows, context):
    """One cloud, query by query and head by head, from the weights alone."""
    width = rows.shape[1]
    size = width // layer.heads
    if layer.crosses:
        w_query, (w_key, w_value) = layer.query.weight, layer.key_value.weight.split(width)
    else:
        w_query, w_key, w_value = layer.query_key_value.weight.split(width)
    found = []
    for row in rows:
        side_by_side = []
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            query = w_query[part] @ row
            scores = [math.exp(float(query @ (w_key[part] @ other)) / math.sqrt(size)) for other in context]
            values = [w_value[part] @ other for other in context]
            side_by_side.append(sum(s * v for s, v in zip(scores, values, strict=True)) / sum(scores))
        found.append(layer.out.weight @ torch.cat(side_by_side) + layer.out.bias)
    return torch.stack(found)


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_equals_its_formula(heads):
    layer, rows = Attention(WIDTH, heads).double(), drawn(BATCH, ROWS, WIDTH)
    with torch.no_grad():
        wanted = torch.stack([slow_attention(layer, cloud, cloud) for cloud in rows])
        torch.testing.assert_close(layer(rows), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 4])
def test_cross_attention_equals_its_formula(heads):
    layer = Attention(WIDTH, heads, context_width=CONTEXT).double()
    rows, context = drawn(BATCH, ROWS, WIDTH), drawn(BATCH, 9, CONTEXT, seed=1)
    with torch.no_grad():
        wanted = torch.stack([slow_attention(layer, *pair) for pair in zip(rows, context, strict=True)])
        torch.testing.assert_close(layer(rows, context), wanted, rtol=1e-10, atol=1e-12)


def test_a_context_goes_with_its_width_alone():
    rows, context = torch.randn(BATCH, ROWS, WIDTH), torch.randn(BATCH, 4, CONTEXT)
    with pytest.raises(ValueError, match="needs a context"):
        Attention(WIDTH, 2, context_width=CONTEXT)(rows)
    with pytest.raises(ValueError, match="no other one"):
        Attention(WIDTH, 2)(rows, context)
    with pytest.raises(ValueError, match="5 heads do not divide the width 12"):
        Attention(WIDTH, 5)


def test_mlp_equals_its_formula():
    layer, rows = Mlp(WIDTH, 20, 6).double(), drawn(BATCH, ROWS, WIDTH)
    with torch.no_grad():
        hidden = rows @ layer.first.weight.T + layer.first.bias
        hidden = hidden * 0.5 * (1.0 + torch.erf(hidden / math.sqrt(2.0)))
        wanted = hidden @ layer.second.weight.T + layer.second.bias
        torch.testing.assert_close(layer(rows), wanted, rtol=1e-10, atol=1e-12)


def test_a_block_adds_normed_attention_then_a_normed_mlp():
    block, rows = Block(WIDTH, 3, mlp_ratio=1.5).double(), drawn(BATCH, ROWS, WIDTH)

    def normed(norm, x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()

    with torch.no_grad():
        assert block.mlp.first.weight.shape == (18, WIDTH)
        wanted = rows + block.attention(normed(block.attention_norm, rows))
        wanted = wanted + block.mlp(normed(block.mlp_norm, wanted))
        torch.testing.assert_close(block(rows), wanted, rtol=1e-10, atol=1e-12)


def test_rows_may_be_permuted_and_a_context_too():
    rows, context = drawn(BATCH, ROWS, WIDTH), drawn(BATCH, 9, CONTEXT, seed=1)
    order, other = torch.randperm(ROWS), torch.randperm(9)
    own, cross = Block(WIDTH, 3).double(), Block(WIDTH, 3, context_width=CONTEXT).double()
    with torch.no_grad():
        torch.testing.assert_close(own(rows[:, order]), own(rows)[:, order], rtol=1e-9, atol=1e-11)
        moved = cross(rows[:, order], context[:, other])
        torch.testing.assert_close(moved, cross(rows, context)[:, order], rtol=1e-9, atol=1e-11)
        assert not torch.allclose(cross(rows, context + 1.0), cross(rows, context), rtol=1e-3)


def test_drop_path_keeps_the_mean_and_drops_whole_clouds():
    layer, rows = DropPath(0.25), torch.ones(40_000, 2, 3)
    dropped = layer.train()(rows)
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    # The mean of n draws of 0 or 1 / (1 - p) has sd sqrt(p / (1 - p) / n) = 0.003.
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.015)


def test_drop_path_does_nothing_in_eval_mode_or_at_zero():
    rows, before = torch.randn(BATCH, ROWS, WIDTH), torch.get_rng_state()
    assert DropPath(0.5).eval()(rows) is rows
    assert DropPath(0.0).train()(rows) is rows
    assert torch.equal(torch.get_rng_state(), before), "no number is drawn where nothing is dropped"
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        DropPath(1.0)


@pytest.mark.parametrize("context_width", [None, CONTEXT])
def test_half_precision_is_near_and_every_parameter_gets_a_gradient(context_width):
    block, rows = Block(WIDTH, 3, drop_path=0.1, context_width=context_width), torch.randn(BATCH, ROWS, WIDTH)
    given = [rows] if context_width is None else [rows, torch.randn(BATCH, 4, CONTEXT)]
    whole = block.eval()(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = block(*given)
    assert (half - whole).abs().mean() < 0.02 * whole.std()
    (half * torch.randn(half.shape)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.any() and parameter.grad.dtype == torch.float32, name


def test_a_small_start():
    block = Block(64, 4)
    block.apply(start_small)
    weights = torch.cat([layer.weight.flatten() for layer in block.modules() if isinstance(layer, torch.nn.Linear)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert not any(layer.bias.any() for layer in (block.attention.out, block.mlp.first, block.mlp.second))
