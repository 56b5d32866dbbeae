"""Run in a process of its own: photograph clouds as discs and leave every array in one npz file."""

import sys

import numpy as np
import subjects

from pointlift.contracts.images import images_of
from pointlift.contracts.rig_blocks import Cameras
from pointlift.contracts.shards import Shard
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from pointlift.geometry.surfels import discs
from pointlift.rendering import mesh
from pointlift.rendering.points import Settings, build
from pointlift.rendering.surfaces import surface_of
from pointlift.rendering.views import render_shapes

RIG = {"cameras": Cameras(num_views=4), "image_size": 96}


def main(path):
    taken = {}
    rigs = {name: Settings(kind="points", picture=name, **RIG) for name in ("splats", "depth")}
    rigs["bright"] = Settings(kind="points", picture="depth", near="bright", **RIG)
    renderers = {name: build(rig) for name, rig in rigs.items()}

    points, _, normals = sample_surface(Mesh(*subjects.sphere()), 4000, np.random.default_rng(0))
    ball = discs(points, normals, 1.2, 8)
    for name, renderer in renderers.items():
        taken[f"sphere.{name}"], taken[f"sphere.{name}.foreground"] = renderer.photograph(ball.vertices, ball.faces)
    taken["sphere.range"] = renderers["splats"].depth(ball.vertices, ball.faces)

    for name, shard in {
        "unit": subjects.points(2048),
        "metres": subjects.points(2048, unit=37.0, shift=250.0),
        "bare": subjects.points(2048, normals=False),
    }.items():
        for picture, renderer in renderers.items():
            arrays, reasons = render_shapes(renderer, rigs[picture], shard)
            assert not reasons, reasons
            taken[f"chair.{name}.{picture}"] = images_of(Shard(shard.ids, arrays), 0)
    surface = surface_of(rigs["splats"], subjects.points(2048), 0)
    taken["chair.range"] = renderers["depth"].depth(surface.vertices, surface.faces)
    # The mesh as far away as its cloud: that of the points is normalised.
    cloud = subjects.points(2048)["points"].astype(np.float64)
    centre = (cloud.min(axis=0) + cloud.max(axis=0)) / 2
    vertices, faces = subjects.chair()
    vertices = (vertices - centre) / np.linalg.norm(cloud - centre, axis=1).max()
    taken["chair.mesh"] = mesh.build(mesh.Settings(kind="mesh", **RIG)).render(vertices, faces)
    np.savez(path, **taken)


if __name__ == "__main__":
    main(sys.argv[1])
