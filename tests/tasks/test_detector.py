"""The detector learns, wherever a scene stands; its boxes are what its numbers say; no parameter is left out."""

import math

import numpy as np
import pytest
import torch

from pointlift import rooms
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.operators.extent import Extent, extent
from pointlift.operators.initialisation import initialised
from pointlift.tasks.box_coding import BoxHeads, decode_heading, encode_heading, shares
from pointlift.tasks.detector import Detector
from pointlift.tasks.query_decoder import FourierPlaces, Queries
from students.test_student_contract import SMALL as STUDENTS
from tasks.detection_cases import NAMES, Rooms, batch_of, detector, settings, student, train

ORIENTED = pytest.mark.parametrize("oriented", [False, True])
AS_IT_IS = {"flip_x": False, "flip_y": False, "rotation_degrees": 0.0, "scale": [1.0, 1.0]}


@ORIENTED
@pytest.mark.parametrize("start", ["zeros", "tokens"])
def test_every_parameter_gets_a_gradient(oriented, start):
    given = Rooms(oriented=oriented)
    model = detector(given, oriented=oriented, match_weights={"centre": 1.0}, query_start=start)
    values = model(batch_of(given, range(4), oriented=oriented))
    assert ("heading_loss" in values) == oriented
    sum(value for name, value in values.items() if name.endswith("_loss")).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.ndim < 2 or parameter.grad.any(), name


@ORIENTED
def test_four_scenes_are_learned_by_heart(oriented):
    given = Rooms(oriented=oriented)
    model = detector(given, oriented=oriented, augmentation=AS_IT_IS, reach=1.0)
    batch = batch_of(given, range(4), oriented=oriented, augmentation=AS_IT_IS)
    found = train(model, batch, 160, 0.01)
    assert found[0]["total"] > 10.0 and found[-1]["total"] < 0.05 * found[0]["total"]
    assert found[-1]["train_giou"] > 0.85


def test_boxes_that_cannot_leave_their_query_are_not_learned():
    """So the test before can fail."""
    given = Rooms()
    model = detector(given, augmentation=AS_IT_IS, reach=0.001)
    found = train(model, batch_of(given, range(4), augmentation=AS_IT_IS), 60, 0.01)
    assert found[-1]["total"] > 0.2 * found[0]["total"]


@ORIENTED
def test_boxes_move_with_their_scene(oriented):
    """By a step that is exact in float32, far off."""
    given, model = Rooms(oriented=oriented), None
    points = torch.from_numpy(np.stack([given.load(row).points[:200] for row in range(2)]))
    points = (points * 256).round() / 256
    model = detector(given, oriented=oriented).eval()
    here, there = model.answer(points), model.answer(points + torch.tensor([512.0, -256.0, 32.0]))
    moved = there[0] - torch.tensor([512.0, -256.0, 32.0, 0, 0, 0, 0])
    torch.testing.assert_close(moved, here[0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(there[1], here[1], rtol=1e-4, atol=1e-4)


def test_losses_do_not_hang_on_where_a_scene_stands():
    batches = [batch_of(Rooms(shift=shift), augmentation=AS_IT_IS) for shift in (0.0, 64.0)]
    here, there = (detector(Rooms()).eval()(batch) for batch in batches)
    for name, value in here.items():
        torch.testing.assert_close(there[name], value, rtol=1e-3, atol=1e-3)


def test_the_unit_is_what_the_student_sees_alone():
    given, batch = Rooms(), batch_of(Rooms(), augmentation=AS_IT_IS)
    one = initialised(lambda: Detector(student(radius=0.6), 3, settings()), "d").eval()
    other = initialised(lambda: Detector(student(radius=0.3), 3, settings(unit=2.0)), "d").eval()
    for name, value in one(batch).items():
        torch.testing.assert_close(other(batch)[name], value, rtol=1e-4, atol=1e-5)
    assert len(given.box_names) == 3


@pytest.mark.parametrize("kind", rooms.available("students"))
def test_any_student_that_gives_tokens_is_taken(kind):
    member = rooms.load("students", kind)
    block = parse(member.Settings, {"kind": kind, **STUDENTS.get(kind, {})}, "student")
    one = initialised(lambda: member.build(block), "student", 0)
    model = initialised(lambda: Detector(one, len(NAMES), settings(num_queries=4, unit=2.0)), "head", 0)
    values = model(batch_of(Rooms()))
    assert all(torch.isfinite(value) for value in values.values())


def test_more_queries_than_tokens_is_a_mistake_of_the_config():
    with pytest.raises(ConfigError, match=r"num_queries: 25 .* gives 24"):
        detector(Rooms(), num_queries=25)(batch_of(Rooms()))


def test_the_same_seed_gives_the_same_bytes():
    def bits():
        given = Rooms(oriented=True)
        model = detector(given, oriented=True, dropout=0.1, head_dropout=0.3)
        torch.manual_seed(3)
        found = train(model, batch_of(given, range(4), oriented=True), 3, 0.01)
        return [weight.numpy().tobytes() for weight in model.state_dict().values()], found

    assert bits() == bits()


@pytest.mark.parametrize("bins", [2, 12])
def test_headings_come_back_from_their_bins(bins):
    heading = torch.linspace(-3.1415, 3.1415, 501, dtype=torch.float64)
    number, place = encode_heading(heading, bins)
    assert number.min() >= 0 and number.max() < bins and place.abs().max() <= 1.0 + 1e-9
    logits = torch.nn.functional.one_hot(number, bins).double()
    residual = torch.where(logits > 0, place[:, None], 0.3)
    torch.testing.assert_close(decode_heading(logits, residual), heading, rtol=0, atol=1e-9)


def test_a_heading_by_hand():
    number, place = encode_heading(torch.tensor([0.0, math.pi / 2, -0.1, math.pi]), 12)
    assert number.tolist() == [0, 3, 0, 6]
    torch.testing.assert_close(place, torch.tensor([0.0, 0.0, -0.1 * 12 / math.pi, 0.0]), atol=1e-5, rtol=0)


def test_boxes_of_zero_weights_stand_at_their_query_half_as_large_as_the_scene():
    heads = BoxHeads(8, 3, 12, 0.5, 0.0).eval()
    for parameter in heads.parameters():
        torch.nn.init.zeros_(parameter)
    within = Extent(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[4.0, 6.0, 2.0]]))
    places = torch.tensor([[[2.0, 3.0, 1.0], [4.0, 4.0, 0.5]]])
    said = heads(Queries(places, torch.zeros(2, 1, 2, 8)), within)
    wanted = torch.cat([places, torch.tensor([2.0, 3.0, 1.0, 0.0]).expand(1, 2, 4)], dim=2)
    torch.testing.assert_close(said.boxes, wanted.expand(2, 1, 2, 7))
    assert said.logits.shape == (2, 1, 2, 4) and said.heading_residual.shape == (2, 1, 2, 12)
    centre, size = shares(said.boxes, within)
    torch.testing.assert_close(size, torch.full_like(size, 0.5))
    torch.testing.assert_close(centre[0, 0, 0], torch.tensor([0.25, 1 / 6, 0.5]))


@pytest.mark.parametrize("start", ["zeros", "tokens"])
def test_queries_start_from_nothing_or_from_the_token_they_stand_at(start):
    """Layers that find nothing leave what was there: the norm of it, behind each of them."""
    points = torch.from_numpy(np.stack([Rooms().load(row).points[:200] for row in range(2)]))
    model = detector(Rooms(), query_start=start, num_queries=5).eval()
    decoder = model.head.decoder
    for layer in decoder.layers:
        for last in (layer.own.out, layer.cross.out, layer.mlp.second):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
    with torch.no_grad():
        output = model.student(points)
        queries = decoder(output, extent(points))
        near = torch.cdist(queries.places, output.token_xyz).argmin(dim=2)
        tokens = decoder.project(output.tokens.flatten(0, 1)).unflatten(0, (2, 24))
        wanted = decoder.norm(torch.stack([rows[index] for rows, index in zip(tokens, near, strict=True)]))
    assert queries.rows.shape == (2, 2, 5, 32)
    wanted = wanted.expand(2, -1, -1, -1) if start == "tokens" else torch.zeros(2, 2, 5, 32)
    torch.testing.assert_close(queries.rows, wanted, rtol=1e-5, atol=1e-5)


def test_places_are_sines_and_cosines():
    torch.manual_seed(0)
    places, shown = torch.rand(1, 5, 3), FourierPlaces(6)
    angles = 2 * math.pi * places.double() @ shown.frequencies.double()
    torch.testing.assert_close(shown(places).double(), torch.cat([angles.sin(), angles.cos()], 2), atol=1e-5, rtol=0)
    assert "frequencies" in shown.state_dict() and not list(shown.parameters())


@ORIENTED
def test_half_precision_has_finite_gradients_and_losses_near_those_of_full_precision(oriented):
    model, batch = (
        detector(Rooms(oriented=oriented), oriented=oriented),
        batch_of(Rooms(oriented=oriented), (0, 1, 2), oriented=oriented),
    )
    whole = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(batch)
    total = sum(value for name, value in half.items() if name.endswith("_loss"))
    total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert total.dtype == torch.float32
    for name, value in whole.items():
        if name.endswith("_loss"):
            torch.testing.assert_close(half[name], value, rtol=0.1, atol=0.05)
