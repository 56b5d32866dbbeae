"""Run in a process of its own: maps of parts, and the pictures and depth beside them, in one npz file."""

import sys

import numpy as np
import subjects

from pointlift.contracts.images import unpack_images, unpack_maps
from pointlift.contracts.rig_blocks import Cameras
from pointlift.contracts.shards import Shard
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from pointlift.rendering import mesh, points
from pointlift.rendering.surfaces import surface_of
from pointlift.rendering.views import render_shapes

RIG = {"cameras": Cameras(num_views=4), "image_size": 96}
NAMES = {"class_names": ["chair"], "part_names": [f"chair/{part}" for part in range(6)]}


def meshes():
    shard = subjects.meshes()
    labels = subjects.part_label("chair", len(shard["faces"]))
    return Shard(shard.ids, shard.arrays | {"part_label": labels}, NAMES)


def clouds():
    vertices, faces = subjects.chair()
    cloud, face, normals = sample_surface(Mesh(vertices, faces), 3000, np.random.default_rng(0))
    arrays = {"points": cloud.astype(np.float32), "point_offsets": np.array([0, 3000]), "normals": normals}
    arrays |= {"part_label": subjects.part_label("chair", len(faces))[face], "valid": np.array([True])}
    return Shard(("chair",), arrays, NAMES)


def subject(name):
    """A sphere of faces that pixels can tell apart, for a rasteriser moves their edges by a 256th of a pixel."""
    return subjects.sphere(3) if name == "sphere" else getattr(subjects, name)()


def coincident():
    """Two triangles at one place, of parts 5 and 3, the higher first."""
    corner = np.array([[-0.8, 0.0, -0.8], [0.8, 0.1, -0.8], [0.0, 0.2, 0.8]])
    return np.concatenate([corner, corner]), np.array([[0, 1, 2], [3, 4, 5]]), np.array([5, 3])


def main(path):
    taken, renderer = {}, mesh.build(mesh.Settings(kind="mesh", **RIG))
    for name in ("sphere", "torus", "chair", "soup"):
        vertices, faces = subject(name)
        taken[f"{name}.map"] = renderer.part_maps(vertices, faces, subjects.part_label(name, len(faces)))
        taken[f"{name}.turned"] = renderer.part_maps(vertices, faces[:, ::-1], subjects.part_label(name, len(faces)))
        taken[f"{name}.depth"] = renderer.depth(vertices, faces)
        taken[f"{name}.image"] = renderer.render(vertices, faces)
    for number in range(8):
        taken[f"coincident.{number}"] = renderer.part_maps(*coincident())
    for name, member, shard in (("mesh", mesh, meshes()), ("points", points, clouds())):
        for maps in (False, True):
            rig = member.Settings(kind=name, part_maps=maps, **RIG)
            drawing = member.build(rig)
            arrays, reasons = render_shapes(drawing, rig, shard)
            assert not reasons, reasons
            word = "with" if maps else "without"
            taken[f"{name}.{word}"] = arrays["image_bytes"]
            assert ("part_map_bytes" in arrays) == maps
        taken[f"{name}.stored"] = unpack_maps(arrays["part_map_bytes"], arrays["part_map_offsets"])
        taken[f"{name}.images"] = unpack_images(arrays["image_bytes"], arrays["image_offsets"])
        surface = surface_of(rig, shard, 0)
        taken[f"{name}.range"] = drawing.depth(surface.vertices, surface.faces)
    np.savez(path, **taken)


if __name__ == "__main__":
    main(sys.argv[1])
