"""Run in a process of its own: photograph the subjects and leave every array in one npz file."""

import sys

import numpy as np
import subjects

from pointlift.contracts.blocks import Cameras, Light
from pointlift.rendering.mesh import Settings, build

SUN = (Light(azimuth_degrees=0.0, elevation_degrees=90.0, strength=0.6),)
FROM_ABOVE = Settings(kind="mesh", image_size=96, lights=SUN)


def main(path):
    taken = {}
    default = build(Settings(kind="mesh", image_size=96))
    lit = build(Settings(kind="mesh", image_size=96, shading="lit"))
    large = build(Settings(kind="mesh", image_size=224))
    around = build(Settings(kind="mesh", image_size=64, cameras=Cameras(layout="sphere", num_views=9, distance=2.0)))
    for name in ("sphere", "torus", "chair", "soup"):
        vertices, faces = getattr(subjects, name)()
        taken[f"{name}.images"], taken[f"{name}.foreground"] = default.photograph(vertices, faces)
        taken[f"{name}.lit"] = lit.render(vertices, faces)
        taken[f"{name}.depth96"] = default.depth(vertices, faces)
        taken[f"{name}.depth224"] = large.depth(vertices, faces)
        taken[f"{name}.around"] = around.depth(vertices, faces)
    vertices, faces = subjects.sphere()
    taken["sphere.foreground224"] = large.photograph(vertices, faces)[1]

    above = build(FROM_ABOVE)
    vertices, faces = subjects.chair()
    taken["chair.above"] = above.render(vertices, faces)
    taken["chair.above_turned"] = above.render(subjects.turned(vertices, 2 * np.pi / 6), faces)
    taken["chair.above_inverted"] = above.render(vertices, faces[:, ::-1])
    taken["chair.lit_inverted"] = lit.render(vertices, faces[:, ::-1])
    taken["chair.depth_inverted"] = default.depth(vertices, faces[:, ::-1])
    np.savez(path, **taken)


if __name__ == "__main__":
    main(sys.argv[1])
