"""Concepts from tokens: attention written out in float64, orders that must not matter, and the leak-proof form."""

import numpy as np
import pytest
import torch

from pointlift.contracts.rig_blocks import Cameras
from pointlift.distillation.concept_extractor import (
    AttendedConcepts,
    ImageQueries,
    LearnedQueries,
    PooledConcepts,
    ViewQueries,
    looked_at,
    place_and_direction,
)
from pointlift.geometry.cameras import camera_positions, world_to_camera
from pointlift.operators.student_output import StudentOutput

BATCH, TOKENS, TOKEN_WIDTH, WIDTH, TEACHER, QUERIES, HEADS = 3, 9, 10, 12, 7, 4, 3


def rows(count=TOKENS, width=TOKEN_WIDTH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, count, width, generator=generator, dtype=torch.float64)


def attended(depth=1, leak_proof=False):
    torch.manual_seed(1)
    made = AttendedConcepts(TOKEN_WIDTH, WIDTH, TEACHER, heads=HEADS, depth=depth, leak_proof=leak_proof).double()
    for parameter in made.parameters():  # else norms are 1 and biases 0, and say nothing
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def pooled(num_concepts=QUERIES):
    torch.manual_seed(1)
    return PooledConcepts(TOKEN_WIDTH, WIDTH, TEACHER, num_concepts=num_concepts).double()


def norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return centred / spread * array(layer.weight) + array(layer.bias)


def array(tensor):
    return tensor.detach().numpy()


def linear(layer, x):
    return x @ array(layer.weight).T + (0.0 if layer.bias is None else array(layer.bias))


def gelu(x):
    return x * 0.5 * (1.0 + array(torch.erf(torch.from_numpy(x / np.sqrt(2.0)))))


def slow(extractor, tokens_XC, queries_Md, leak_proof):
    """U = Q + Attention(LN(Q), LN(H)), U + MLP(LN(U)), LN(U) W: one shape, one head and one query at a time."""
    context, u = norm(extractor.context_norm, tokens_XC), queries_Md
    for number, block in enumerate(extractor.blocks):
        query = linear(block.attention.query, norm(block.attention_norm, u))
        key, value = np.split(linear(block.attention.key_value, context), 2, axis=1)
        size, found = WIDTH // HEADS, np.zeros_like(query)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for row in range(len(query)):
                weight = np.exp(key[:, part] @ query[row, part] / np.sqrt(size))
                found[row, part] = (weight / weight.sum()) @ value[:, part]
        found = linear(block.attention.out, found)
        u = found if leak_proof and number == 0 else u + found
        u = u + linear(block.mlp.second, gelu(linear(block.mlp.first, norm(block.mlp_norm, u))))
    return linear(extractor.out, norm(extractor.norm, u))


@pytest.mark.parametrize("leak_proof", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_attention_equals_its_formula(depth, leak_proof):
    extractor, tokens, queries = attended(depth, leak_proof), rows(), rows(QUERIES, WIDTH, seed=2)
    wanted = [slow(extractor, *pair, leak_proof) for pair in zip(tokens.numpy(), queries.numpy(), strict=True)]
    np.testing.assert_allclose(array(extractor(tokens, queries)), wanted, rtol=0, atol=1e-12)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="5"):
        AttendedConcepts(TOKEN_WIDTH, WIDTH, TEACHER, heads=5, depth=1, leak_proof=False)


@pytest.mark.parametrize("kind", ["attention", "mean"])
def test_the_order_of_tokens_does_not_matter(kind):
    extractor = attended() if kind == "attention" else pooled()
    asks = (rows(QUERIES, WIDTH, seed=2),) if kind == "attention" else ()
    tokens = rows()
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(5))
    found = extractor(tokens, *asks)
    assert found.shape == (BATCH, QUERIES, TEACHER)
    torch.testing.assert_close(extractor(tokens[:, order], *asks), found, rtol=0, atol=1e-12)
    assert not torch.allclose(extractor(rows(seed=9), *asks), found)


def test_concepts_follow_the_order_of_their_queries_and_shapes_do_not_meet():
    extractor, tokens, queries = attended(2), rows(), rows(QUERIES, WIDTH, seed=2)
    found = extractor(tokens, queries)
    torch.testing.assert_close(extractor(tokens, queries.flip(1)), found.flip(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(extractor(tokens[1:], queries[1:]), found[1:], rtol=0, atol=1e-12)


def test_the_pool_equals_its_formula():
    extractor, tokens = pooled(), rows()
    context = norm(extractor.context_norm, tokens.numpy())
    said = linear(extractor.mlp.second, gelu(linear(extractor.mlp.first, context.mean(1))))
    said = said.reshape(BATCH, QUERIES, WIDTH)
    wanted = linear(extractor.out, norm(extractor.norm, said))
    np.testing.assert_allclose(array(extractor(tokens)), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_where_every_token_is_the_same_a_leak_proof_query_says_nothing(depth):
    """Wherever it looks it sees the same; what the query itself holds has no other way out."""
    tokens = rows(1).expand(-1, TOKENS, -1)
    one, other = rows(QUERIES, WIDTH, seed=2), rows(QUERIES, WIDTH, seed=3)
    closed, opened = attended(depth, leak_proof=True), attended(depth, leak_proof=False)
    torch.testing.assert_close(closed(tokens, one), closed(tokens, other), rtol=0, atol=1e-12)
    assert (opened(tokens, one) - opened(tokens, other)).abs().max() > 0.1


def test_the_class_token_is_looked_at_where_there_is_one():
    tokens, summary = rows(), rows(1, seed=4).squeeze(1)
    output = StudentOutput(tokens.amax(1), tokens, torch.zeros(BATCH, TOKENS, 3), torch.zeros(BATCH, TOKENS).long(), {})
    assert torch.equal(looked_at(output), tokens)
    both = looked_at(output._replace(summary=summary))
    assert torch.equal(both, torch.cat([summary.unsqueeze(1), tokens], dim=1))
    assert not torch.allclose(pooled()(both), pooled()(tokens))


def test_cameras_are_told_by_their_place_and_where_they_look():
    matrices = world_to_camera(Cameras(layout="sphere", num_views=12, distance=2.5))
    found = place_and_direction(torch.from_numpy(matrices)[None])[0].numpy()
    np.testing.assert_allclose(found[:, :3], camera_positions(matrices), atol=1e-12)
    np.testing.assert_allclose(found[:, 3:], -found[:, :3] / 2.5, atol=1e-12)  # all of them look at the origin


def test_queries_of_every_source_have_one_row_a_concept():
    torch.manual_seed(0)
    assert LearnedQueries(QUERIES, WIDTH)(BATCH).shape == (BATCH, QUERIES, WIDTH)
    assert ImageQueries(TEACHER, WIDTH)(torch.zeros(BATCH, 5, TEACHER)).shape == (BATCH, 5, WIDTH)
    cameras = torch.eye(4).expand(BATCH, 5, -1, -1)
    assert ViewQueries(WIDTH)(cameras).shape == (BATCH, 5, WIDTH)
