"""Run in a process of its own: what one renderer gives of what it draws, as JSON."""

import json
import sys

import numpy as np
import subjects

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.settings import parse
from pointlift.rendering.surfaces import surface_of
from pointlift.rooms import load, settings_class


def main(kind):
    block = {"kind": kind, "image_size": 40, "cameras": {"layout": "pointmcd16"}}
    settings = parse(settings_class("rendering", kind), block, "rig")
    renderer = load("rendering", kind).build(settings)
    surface = surface_of(settings, {"meshes": subjects.meshes, "points": subjects.points}[settings.draws](), 0)
    vertices, faces = surface.vertices, surface.faces
    images, foreground = renderer.photograph(vertices, faces)
    arrays = {
        "world_to_camera": renderer.world_to_camera,
        "intrinsics": renderer.intrinsics,
        "render": renderer.render(vertices, faces),
        "foreground": foreground,
        "depth": renderer.depth(vertices, faces),
        "part_maps": renderer.part_maps(vertices, faces, np.arange(len(faces)) % 250),
    }
    assert np.array_equal(images, arrays["render"])
    told = {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}
    try:
        renderer.render(vertices, faces[:0])
    except UnusableShapeError as error:
        told["empty"] = type(error).__name__
    renderer.close()
    print(json.dumps(told | {"torch": "torch" in sys.modules}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
