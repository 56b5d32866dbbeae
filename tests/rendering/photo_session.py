"""Run in a process of its own, one per picture size: photograph the subjects, leave the arrays in one npz file."""

import sys

import numpy as np
import subjects

from pointlift.contracts.rig_blocks import Cameras, Light
from pointlift.rendering.mesh import Settings, build

SUN = (Light(azimuth_degrees=0.0, elevation_degrees=90.0, strength=0.6),)
FROM_ABOVE = Settings(kind="mesh", image_size=96, lights=SUN)
NAMES = ("sphere", "torus", "chair", "soup")


def small():
    rig = Cameras(layout="sphere", num_views=9, distance=2.0)
    around = build(Settings(kind="mesh", image_size=64, cameras=rig))
    return {f"{name}.around": around.depth(*getattr(subjects, name)()) for name in NAMES}


def large():
    renderer = build(Settings(kind="mesh", image_size=224))
    taken = {f"{name}.depth224": renderer.depth(*getattr(subjects, name)()) for name in NAMES}
    return {**taken, "sphere.foreground224": renderer.photograph(*subjects.sphere())[1]}


def middle():
    taken = {}
    default = build(Settings(kind="mesh", image_size=96))
    lit = build(Settings(kind="mesh", image_size=96, shading="lit"))
    for name in NAMES:
        vertices, faces = getattr(subjects, name)()
        taken[f"{name}.images"], taken[f"{name}.foreground"] = default.photograph(vertices, faces)
        taken[f"{name}.lit"] = lit.render(vertices, faces)
        taken[f"{name}.depth96"] = default.depth(vertices, faces)
    above = build(FROM_ABOVE)
    vertices, faces = subjects.chair()
    taken["chair.above"] = above.render(vertices, faces)
    taken["chair.above_turned"] = above.render(subjects.turned(vertices, 2 * np.pi / 6), faces)
    taken["chair.above_inverted"] = above.render(vertices, faces[:, ::-1])
    taken["chair.lit_inverted"] = lit.render(vertices, faces[:, ::-1])
    taken["chair.depth_inverted"] = default.depth(vertices, faces[:, ::-1])
    return taken


if __name__ == "__main__":
    np.savez(sys.argv[2], **{"64": small, "96": middle, "224": large}[sys.argv[1]]())
