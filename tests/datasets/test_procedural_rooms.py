import numpy as np
import pytest
import trimesh
from made_rooms import opened, room_of

from pointlift.contracts.errors import ConfigError, UnusableShapeError
from pointlift.contracts.stages import POINT_ATTRIBUTES
from pointlift.datasets import made_room
from pointlift.datasets.ingest import load_points_shard
from pointlift.datasets.room_clouds import sensed
from pointlift.geometry.boxes import oriented_iou, points_inside
from pointlift.geometry.cameras import camera_positions
from pointlift.geometry.meshes import Mesh, face_areas
from pointlift.geometry.rays import RayScene
from pointlift.geometry.sampling import sample_surface

NUMBERS = range(12)
EXACT = {"noise": 0.0, "missing": 0.0, "grazing_degrees": 0.0}


def as_rows(items):
    return np.array([[*item.centre, *item.size, item.heading] for item in items])


def surface_of(item, count=600):
    return sample_surface(Mesh(item.vertices, item.faces), count, np.random.default_rng(0))[0]


def within(polygon, places):
    """Crossing number: whether places (n, 2) lie inside the polygon (k, 2)."""
    x, y = places.T
    inside = np.zeros(len(places), dtype=bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (ay > y) != (by > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < ax + (y - ay) / (by - ay) * (bx - ax))
    return inside


# ---- what stands where


@pytest.mark.parametrize("number", NUMBERS)
def test_no_two_objects_share_space(number):
    """By clipping footprints and by points of surfaces; the builder looks for a separating axis."""
    items = room_of(opened(), number).items
    boxes = as_rows(items)
    overlap = oriented_iou(boxes, boxes)
    np.fill_diagonal(overlap, 0.0)
    assert overlap.max() < 1e-9
    smaller = boxes - [0, 0, 0, 0.002, 0.002, 0.002, 0]
    for number, item in enumerate(items):
        others = np.delete(smaller, number, axis=0)
        assert not points_inside(np.concatenate([surface_of(item), item.vertices]), others).any()


@pytest.mark.parametrize("number", NUMBERS)
def test_everything_is_inside_the_room_and_rests(number):
    room = room_of(opened(max_clutter=4), number)
    tables = [item for item in room.items if item.top is not None]
    for item in room.items:
        assert within(room.plan.outline, item.vertices[:, :2]).all()
        assert item.vertices[:, 2].max() < room.plan.height
        low = item.vertices[:, 2].min()
        if item.class_name != "clutter":
            assert low == pytest.approx(0.0, abs=1e-12)
            continue
        foot = item.vertices[item.vertices[:, 2] < low + 1e-9]
        above = foot + np.array([0.0, 0.0, 0.01])
        down = np.broadcast_to([0.0, 0.0, -1.0], foot.shape)
        drops = [RayScene(table.vertices, table.faces, np.zeros(3)).first_hits(above, down)[0] for table in tables]
        assert np.min([np.abs(drop - 0.01).max() for drop in drops]) < 1e-5, "its whole foot is on one table"


def test_headings_are_mostly_along_the_walls_and_backs_are_to_them():
    against = []
    for number in NUMBERS:
        room = room_of(opened(), number)
        for item in room.items:
            if item.family in ("bed", "cabinet", "shelf", "sofa", "desk", "bench"):
                quarter = item.heading / (np.pi / 2)
                straight = abs(quarter - round(quarter)) < 1e-9
                behind = item.centre[:2] + (item.size[1] / 2 + 0.15) * np.array(
                    [-np.sin(item.heading), np.cos(item.heading)]
                )
                against.append(straight and not within(room.plan.outline, behind[None])[0])
    assert len(against) > 30 and 0.7 < np.mean(against) < 1.0


def test_rooms_differ_and_have_the_sizes_of_rooms():
    rooms = [room_of(opened(), number) for number in range(40)]
    areas = [room.plan.area for room in rooms]
    assert min(areas) > 4 and max(areas) < 36 and len(set(areas)) == 40
    notched = [room for room in rooms if room.plan.notch.any()]
    assert 4 <= len(notched) <= 20
    assert {item.class_name for room in rooms for item in room.items} >= {*made_room.FURNITURE, "clutter"}
    assert min(sum(item.class_name != "clutter" for item in room.items) for room in rooms) >= 2
    for room in rooms:
        floor = room.semantic[room.surface] == 0
        assert face_areas(Mesh(room.vertices, room.faces))[floor].sum() == pytest.approx(room.plan.area)
        corners = room.plan.outline
        following = np.roll(corners, -1, axis=0)
        enclosed = (corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum() / 2
        assert enclosed == pytest.approx(room.plan.area)
        walls = face_areas(Mesh(room.vertices, room.faces))[room.semantic[room.surface] == 1].sum()
        assert walls == pytest.approx(room.plan.height * np.linalg.norm(following - corners, axis=1).sum())


# ---- what is seen of it


@pytest.mark.parametrize("number", NUMBERS[:4])
def test_a_point_has_the_label_of_the_surface_nearest_to_it(number):
    dataset = opened(sensor=EXACT)
    room, cloud = room_of(dataset, number), dataset.load_points(dataset.ids[number])
    triangles = room.vertices[room.faces]
    for row in np.random.default_rng(0).permutation(len(cloud.points))[:60]:
        point = cloud.points[row]
        nearest = trimesh.triangles.closest_point(triangles, np.broadcast_to(point, (len(triangles), 3)))
        distance = np.linalg.norm(nearest - point, axis=1)
        own = (room.instance[room.surface] == cloud.instance_label[row]) & (
            room.semantic[room.surface] == cloud.semantic_label[row]
        )
        assert distance[own].min() < 2e-4
        assert distance[own].min() <= distance.min() + 2e-4


def test_names_of_labels_are_those_of_the_objects():
    dataset = opened()
    for number, shape_id in enumerate(dataset.ids):
        cloud, room = dataset.load_points(shape_id), room_of(dataset, number)
        for label in np.unique(cloud.instance_label):
            classes = {dataset.semantic_names[i] for i in cloud.semantic_label[cloud.instance_label == label]}
            assert classes == ({room.items[label].class_name} if label >= 0 else {"floor", "wall"})


def beyond(box, points):
    """How far each point lies outside a box (7,), along the worst of its own axes; below 0 inside."""
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    x, y, z = (points - box[:3]).T
    local = np.stack([cosine * x + sine * y, cosine * y - sine * x, z], axis=1)
    return (np.abs(local) - box[3:6] / 2).max(axis=1), np.abs(local).max(axis=0, initial=0.0)


@pytest.mark.parametrize("rotation", ["none", "up"])
def test_the_points_of_an_object_lie_in_its_tight_box_but_for_noise(rotation):
    dataset = opened(rotation=rotation, min_box_points=1)
    for number, shape_id in enumerate(dataset.ids):
        room, cloud = room_of(dataset, number), dataset.load_points(shape_id)
        boxes = np.column_stack([cloud.boxes.centre, cloud.boxes.size, cloud.boxes.heading])
        seen = np.unique(cloud.instance_label[cloud.instance_label >= 0]).tolist()
        furniture = [i for i in seen if room.items[i].class_name != "clutter"]
        assert [dataset.box_names[i] for i in cloud.boxes.label] == [room.items[i].class_name for i in furniture]
        for frame in (sensed(room, index, dataset._settings) for index in range(4)):
            hit = np.isfinite(frame.depth)
            error = 6 * 0.0015 * 1.2 * (frame.depth**2 * np.linalg.norm(frame.rays, axis=-1))[hit]
            for instance, box in zip(furniture, boxes, strict=True):
                own = room.instance[frame.surface[hit]] == instance
                assert (beyond(box, frame.points[own])[0] < error[own] + 1e-4).all()


def test_boxes_are_tight_about_whole_objects():
    dataset = opened(rotation="up", min_box_points=1, max_clutter=0)
    for number, shape_id in enumerate(dataset.ids):
        room, boxes = room_of(dataset, number), dataset.load_points(shape_id).boxes
        for box in np.column_stack([boxes.centre, boxes.size, boxes.heading]):
            own = [
                room.vertices[np.unique(room.faces[room.instance[room.surface] == instance])]
                for instance in range(len(room.items))
            ]
            middles = [(vertices.min(axis=0) + vertices.max(axis=0)) / 2 for vertices in own]
            vertices = own[int(np.argmin(np.linalg.norm(np.array(middles) - box[:3], axis=1)))]
            outside, reach = beyond(box, vertices)
            assert outside.max() < 1e-9
            np.testing.assert_allclose(reach, box[3:6] / 2, atol=1e-9)


def test_an_exact_sensor_gives_points_within_the_boxes():
    dataset = opened(sensor=EXACT, min_box_points=1, max_clutter=0)
    cloud = dataset.load_points(dataset.ids[0])
    boxes = np.column_stack([cloud.boxes.centre, cloud.boxes.size + 1e-3, cloud.boxes.heading])
    inside = points_inside(cloud.points, boxes)
    of_objects = cloud.instance_label >= 0
    assert (inside[:, of_objects].sum(axis=0) == 1).all()
    assert "clutter" not in dataset.semantic_names


def test_cameras_stand_inside_at_eye_height_and_in_nothing():
    for number in NUMBERS:
        room = room_of(opened(), number)
        poses = np.array([made_room.stand(room, frame) for frame in range(6)])
        places = camera_positions(poses)
        assert within(room.plan.outline, places[:, :2]).all()
        assert ((places[:, 2] > 1.3) & (places[:, 2] < 1.8)).all()
        assert not points_inside(places, as_rows(room.items)).any()
        assert len(np.unique(places, axis=0)) == 6


def test_objects_are_seen_in_part():
    """Their far sides are missing, and some of what a camera would see alone is behind others."""
    dataset = opened(sensor=EXACT)
    shares, hidden = [], 0
    for number, shape_id in enumerate(dataset.ids):
        room, cloud = room_of(dataset, number), dataset.load_points(shape_id)
        for instance in np.unique(cloud.instance_label[cloud.instance_label >= 0]):
            item, seen = room.items[instance], cloud.points[cloud.instance_label == instance]
            surface = surface_of(item, 400)
            near = np.linalg.norm(surface[:, None] - seen[None], axis=-1).min(axis=1) < 0.08
            shares.append(near.mean())
        position = -made_room.stand(room, 0)[:3, :3].T @ made_room.stand(room, 0)[:3, 3]
        for item in room.items:
            towards = surface_of(item, 200) - position
            alone = RayScene(item.vertices, item.faces, np.zeros(3))
            origins = np.broadcast_to(position, towards.shape)
            first, _ = room.rays.first_hits(origins, towards)
            hidden += bool((first < alone.first_hits(origins, towards)[0] - 1e-3).mean() > 0.1)
    assert np.mean(np.array(shares) < 0.9) > 0.8
    assert np.median(shares) > 0.1
    assert hidden >= len(dataset.ids)


def test_only_what_is_seen_enough_has_a_box():
    few, many = opened(min_box_points=1), opened(min_box_points=150)
    fewer = 0
    for shape_id in few.ids:
        cloud = many.load_points(shape_id)
        furniture = cloud.semantic_label >= many.semantic_names.index("bed")
        furniture &= cloud.semantic_label != many.semantic_names.index("clutter")
        _, counts = np.unique(cloud.instance_label[furniture], return_counts=True)
        assert len(cloud.boxes.label) == (counts >= 150).sum()
        fewer += len(few.load_points(shape_id).boxes.label) - len(cloud.boxes.label)
    assert fewer > 0


def test_a_ceiling_is_a_class_of_its_own():
    dataset = opened(ceiling=True)
    assert dataset.semantic_names[:3] == ("floor", "wall", "ceiling")
    tall = opened(ceiling=True, sensor={"height": 120, **EXACT}).load_points("room-a-00000")
    heights = tall.points[tall.semantic_label == 2, 2]
    np.testing.assert_allclose(heights, room_of(dataset, 0).plan.height, atol=1e-4)
    assert len(heights)


def test_a_turned_room_is_the_same_room_turned():
    straight, turned = opened(), opened(rotation="up")
    one, other = straight.load_points(straight.ids[1]), turned.load_points(turned.ids[1])
    angle = room_of(turned, 1).turn
    assert angle and abs(len(one.points) - len(other.points)) < 0.01 * len(one.points)
    rotation = trimesh.transformations.rotation_matrix(angle, [0, 0, 1])[:3, :3]
    np.testing.assert_allclose(other.boxes.centre, one.boxes.centre @ rotation.T, atol=1e-9)
    np.testing.assert_array_equal(other.boxes.size, one.boxes.size)
    difference = other.boxes.heading - one.boxes.heading - angle
    np.testing.assert_allclose(np.exp(1j * difference), 1.0, atol=1e-9)
    np.testing.assert_allclose(other.points.mean(axis=0), rotation @ one.points.mean(axis=0), atol=0.02)
    assert (np.abs(other.boxes.heading) <= np.pi).all()


# ---- what an id means


def bytes_of(cloud):
    arrays = [cloud.points, *(getattr(cloud, name) for name in POINT_ATTRIBUTES)]
    boxes = [cloud.boxes.centre, cloud.boxes.size, cloud.boxes.heading, cloud.boxes.label]
    return b"".join(array.tobytes() for array in [*arrays, *boxes] if array is not None)


def test_a_room_depends_on_its_id_seed_and_layout_alone():
    wanted = bytes_of(opened().load_points("room-a-00003"))
    for changes in ({"num_rooms": 30}, {"shard_size": 1}, {"subsample": "random"}, {"protocol": "other/name"}):
        made_room.make_room.cache_clear()
        assert bytes_of(opened(**changes).load_points("room-a-00003")) == wanted
    others = [opened().load_points("room-a-00002"), opened(seed=1).load_points("room-a-00003")]
    others.append(opened(series="b").load_points("room-b-00003"))
    assert len({wanted, *(bytes_of(other) for other in others)}) == 4


def test_more_frames_leave_the_first_ones_as_they_are():
    two, four = (opened(num_frames=count).load_points("room-a-00001") for count in (2, 4))
    np.testing.assert_array_equal(four.points[: len(two.points)], two.points)
    np.testing.assert_array_equal(four.instance_label[: len(two.points)], two.instance_label)


def test_splits_are_exact_and_stay_when_rooms_are_added():
    few, many = opened(num_rooms=10), opened(num_rooms=20)
    splits = [few.entry(shape_id).split for shape_id in few.ids]
    assert [splits.count(name) for name in ("train", "val", "test")] == [6, 1, 3]
    assert [many.entry(shape_id).split for shape_id in few.ids] == splits
    assert many.ids[:10] == few.ids


def test_checksums_follow_what_is_made():
    dataset = opened()
    sums = {dataset.entry(shape_id).sha256 for shape_id in dataset.ids}
    assert len(sums) == len(dataset.ids)
    assert opened(colour=False).entry(dataset.ids[0]).sha256 not in sums


def test_ids_of_others_are_refused():
    dataset = opened()
    for wrong in ("room-b-00000", "room-a-0000", "room-a-0000x", "room-a_00000", "room-a-00000-00"):
        with pytest.raises(ConfigError, match="no room of this dataset"):
            dataset.load_points(wrong)


def test_a_room_without_a_place_to_stand_is_quarantined(monkeypatch):
    monkeypatch.setattr(made_room, "_BODY", 10.0)
    dataset = opened(series="full")
    with pytest.raises(UnusableShapeError, match="no place for a camera"):
        dataset.load_points(dataset.ids[0])
    assert dataset.entry(dataset.ids[0]).sha256 == ""
    arrays, attributes = load_points_shard(dataset, dataset.ids[:2], dataset._settings)
    assert not arrays["valid"].any() and set(attributes["quarantine"]) == set(dataset.ids[:2])


def test_a_shard_holds_all_points_and_boxes():
    dataset = opened()
    arrays, attributes = load_points_shard(dataset, dataset.ids[:2], dataset._settings)
    clouds = [dataset.load_points(shape_id) for shape_id in dataset.ids[:2]]
    assert np.diff(arrays["point_offsets"]).tolist() == [len(cloud.points) for cloud in clouds]
    np.testing.assert_array_equal(arrays["points"], np.concatenate([c.points for c in clouds]).astype(np.float32))
    assert arrays["box_offsets"][-1] == sum(len(cloud.boxes.label) for cloud in clouds) > 0
    assert attributes["semantic_names"] == list(dataset.semantic_names)


def test_classes_may_be_chosen():
    dataset = opened(classes=["table", "chair"], max_clutter=0)
    assert dataset.box_names == ("chair", "table")
    assert dataset.semantic_names == ("floor", "wall", "chair", "table")
    assert {item.family for number in range(6) for item in room_of(dataset, number).items} == {"chair", "table"}


def test_the_x_of_a_box_points_out_of_the_front():
    """What is high of a chair or a sofa is its back."""
    dataset = opened(min_box_points=1)
    backs = []
    for number, shape_id in enumerate(dataset.ids):
        room, cloud = room_of(dataset, number), dataset.load_points(shape_id)
        boxes = np.column_stack([cloud.boxes.centre, cloud.boxes.size, cloud.boxes.heading])
        by_place = {tuple(np.round(item.centre, 9)): item for item in room.items}
        for box in boxes:
            item = by_place[tuple(np.round(box[:3], 9))]
            if item.family in ("chair", "sofa"):
                offset = surface_of(item) - box[:3]
                along = offset[:, 0] * np.cos(box[6]) + offset[:, 1] * np.sin(box[6])
                backs.append(along[offset[:, 2] > 0.3 * box[5]].mean() / box[3])
    assert len(backs) > 5 and max(backs) < -0.2
