"""What a view costs: light baked into faces, pyrender's lit shader, and a new renderer for every mesh, in one run.

    .venv/bin/python benchmarks/render_views.py [--size 224] [--views 12] [--repeats 3]

Milliseconds per view with image and depth returned, the mesh being uploaded once per repeat; the best of the repeats.
Trust the ratios of one run more than its milliseconds.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

from pointlift.contracts.rig_blocks import Cameras
from pointlift.rendering import context
from pointlift.rendering.mesh import Settings, build


def torus(num_faces):
    """A torus of about so many faces, within the unit sphere."""
    minor = max(4, round((num_faces / 4) ** 0.5))
    return trimesh.creation.torus(0.7, 0.29, major_sections=2 * minor, minor_sections=minor)


def best(render, mesh, repeats):
    """Seconds of the fastest of ``repeats`` calls, after one that is not counted."""
    render(mesh.vertices, mesh.faces)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        render(mesh.vertices, mesh.faces)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def with_new_renderer(settings):
    """Draw with a context that is made for the one mesh and taken down after it."""

    def render(vertices, faces):
        context.close()
        build(settings).render(vertices, faces)
        context.close()

    return render


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    common = {"kind": "mesh", "image_size": arguments.size, "cameras": Cameras(num_views=arguments.views)}
    meshes = [torus(count) for count in (200, 1000, 20_000, 200_000)]
    ways = {"baked": build(Settings(**common)).render, "depth": build(Settings(**common)).depth}
    ways["lit"] = build(Settings(**common, shading="lit")).render
    ways["new renderer"] = with_new_renderer(Settings(**common))  # last: it takes the context down
    measured = {
        way: np.array([best(render, mesh, arguments.repeats) for mesh in meshes]) / arguments.views * 1e3
        for way, render in ways.items()
    }
    print(f"{arguments.views} views of {arguments.size} x {arguments.size} pixels, ms per view (times the baked one)")
    print("   faces " + "".join(f"{way:>20}" for way in measured))
    for row, mesh in enumerate(meshes):
        cells = [f"{taken[row]:10.2f} ({taken[row] / measured['baked'][row]:5.2f}x)" for taken in measured.values()]
        print(f"{len(mesh.faces):8d} " + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
