"""Renderer ``mesh``: grey CAD pictures and exact depth of triangle meshes, by pyrender over EGL.

Light is Lambert's, from lights that stand still in the world, and by default baked into the face colours: a flat pass
draws several times faster than pyrender's physically based one on a processor.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.rig_blocks import LitRigSettings
from pointlift.contracts.shards import Array
from pointlift.geometry import cameras
from pointlift.rendering import context, part_maps, shading

_WHITE = (1.0, 1.0, 1.0, 1.0)  # floats: pyrender reads integers as 0 to 255
_OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_REACH = 1.5  # what is drawn lies within this many radii of the origin
_LIT_GAIN = np.pi  # a physically based matt surface reflects 1/pi of what falls on it


class Settings(LitRigSettings):
    """A rig that photographs meshes."""

    shading: Literal["baked", "lit"] = "baked"
    """baked: Lambert, equally bright on both sides of a face. lit: pyrender's own shader, several times slower."""


class MeshRenderer:
    """Photographs one mesh after another from the cameras of a rig.

    world_to_camera : (V, 4, 4) float64, intrinsics : (3, 3) float64; conventions of ``geometry.cameras``. Meshes are
    normalised: what lies beyond 1.5 radii may be clipped.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.world_to_camera = cameras.world_to_camera(settings.cameras)
        self.intrinsics = cameras.intrinsics(settings.cameras, settings.image_size)
        self._lights = shading.directions(
            np.array([light.azimuth_degrees for light in settings.lights]),
            np.array([light.elevation_degrees for light in settings.lights]),
        )
        self._strengths = np.array([light.strength for light in settings.lights])
        self._offscreen = context.offscreen_renderer(settings.image_size)
        self._pyrender = context.import_pyrender()
        self._scene, self._camera = self._make_scene()

    def render(self, vertices: Array, faces: Array) -> Array:
        """Photograph a mesh, vertices (v, 3) and faces (f, 3): uint8 (V, H, W, 3), white background.

        Raises ``UnusableShapeError`` for a mesh that OpenGL would draw wrongly without a word.
        """
        return self.photograph(vertices, faces)[0]

    def photograph(self, vertices: Array, faces: Array) -> tuple[Array, Array]:
        """As ``render``, with the share of pixels that show the mesh: (V, H, W, 3) uint8 and (V,) float32."""
        flags = self._pyrender.RenderFlags
        corners, normals = drawable(vertices, faces)
        if self.settings.shading == "lit":
            node, flag = self._lit_node(corners, normals), flags.NONE
        else:
            node, flag = self._baked_node(corners, normals), flags.FLAT | flags.SKIP_CULL_FACES
        shots = self._draw([node], flag)
        images = np.stack([colour for colour, _ in shots])
        return images, np.array([(depth > 0).mean() for _, depth in shots], dtype=np.float32)

    def depth(self, vertices: Array, faces: Array) -> Array:
        """Depth along the camera axis at the pixel centres, both sides of faces seen: float32 (V, H, W), else inf.

        The segmentation pass is the one that pyrender draws without multisampling, hence at pixel centres; it culls
        back faces, hence both windings.
        """
        corners, _ = drawable(vertices, faces)
        node = self._node(shading.both_sides(corners))
        shots = self._draw([node], self._pyrender.RenderFlags.SEG, {node: 255})
        depths = np.stack([depth for _, depth in shots])
        return np.where(depths > 0, depths, np.float32(np.inf)).astype(np.float32)

    def part_maps(self, vertices: Array, faces: Array, part_label: Array) -> Array:
        """Part of the nearest face at every pixel centre, by the pass of ``depth``: uint8 (V, H, W).

        part_label : (f,) integers, indices below 255, or -1 for a face of no part; such a face hides what is behind it
        and is 255 in the map, as is the background. Where faces of two parts coincide the lower index shows.
        """
        corners, _ = drawable(vertices, faces)
        code = part_maps.codes(part_label, len(faces))
        nodes = {}
        for drawn in np.unique(code):
            own = corners.reshape(-1, 3, 3)[code == drawn].reshape(-1, 3)
            nodes[self._node(shading.both_sides(own), name=f"{drawn:03}")] = int(drawn)
        shots = self._draw(list(nodes), self._pyrender.RenderFlags.SEG, nodes)
        return part_maps.from_codes(np.stack([colour[..., 0] for colour, _ in shots]))

    def close(self) -> None:
        """Free what was drawn. The context itself stays with the process; see ``context``."""
        self._scene.clear()

    def _make_scene(self) -> tuple[Any, Any]:
        """An empty scene, and its camera node."""
        distances = np.linalg.norm(cameras.camera_positions(self.world_to_camera), axis=1)
        (fx, _, cx), (_, fy, cy), _ = self.intrinsics
        camera = self._pyrender.IntrinsicsCamera(
            fx, fy, cx, cy, znear=max(0.01, distances.min() - _REACH), zfar=distances.max() + _REACH
        )
        scene = part_maps.ordered_scene(self._pyrender)(
            bg_color=list(_WHITE), ambient_light=[float(self.settings.ambient)] * 3
        )
        if self.settings.shading == "lit":
            for direction, strength in zip(self._lights, self._strengths, strict=True):
                light = self._pyrender.DirectionalLight(color=[1.0] * 3, intensity=_LIT_GAIN * strength)
                scene.add(light, pose=_pose_with_z(direction))
        return scene, scene.add(camera)

    def _baked_node(self, corners: Array, normals: Array) -> Any:
        grey = shading.lambert(normals, self._lights, self._strengths, self.settings.ambient, self.settings.albedo)
        colours = np.ones((len(corners), 4), dtype=np.float32)
        colours[:, :3] = np.repeat(grey, 3)[:, None]
        return self._node(corners, color_0=colours)

    def _lit_node(self, corners: Array, normals: Array) -> Any:
        """Both windings with their own normals: the drawn one faces the camera, whatever the winding of the file."""
        outward = np.repeat(normals, 3, axis=0)
        material = self._material(self.settings.albedo)
        return self._node(shading.both_sides(corners), material, normals=np.concatenate([outward, -outward]))

    def _material(self, grey: float) -> Any:
        return self._pyrender.MetallicRoughnessMaterial(
            baseColorFactor=[grey, grey, grey, 1.0], metallicFactor=0.0, roughnessFactor=0.9
        )

    def _node(self, corners: Array, material: Any = None, name: str | None = None, **attributes: Array) -> Any:
        primitive = self._pyrender.Primitive(corners, material=material or self._material(1.0), **attributes)
        return self._pyrender.Node(name=name, mesh=self._pyrender.Mesh([primitive]))

    def _draw(self, nodes: list[Any], flags: int, seg_node_map: dict[Any, int] | None = None) -> list[tuple[Any, Any]]:
        """(colour, depth with background 0) of every view."""
        shots = []
        try:
            for node in nodes:
                self._scene.add_node(node)
            for matrix in self.world_to_camera:
                self._scene.set_pose(self._camera, np.linalg.inv(matrix) @ _OPENCV_TO_OPENGL)
                shots.append(self._offscreen.render(self._scene, flags, seg_node_map))
        finally:
            for node in nodes:
                self._scene.remove_node(node)
        return shots


def build(settings: Settings) -> MeshRenderer:
    """Make the renderer. Raises ``MachineError`` where there is no OpenGL, or torch is imported."""
    return MeshRenderer(settings)


def drawable(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Corners and normals of a mesh that can be drawn; OpenGL itself would leave out what is wrong in silence."""
    if len(faces) == 0 or len(vertices) == 0:
        raise UnusableShapeError("nothing to render: the mesh has no faces")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UnusableShapeError("a face names a vertex that does not exist")
    if not np.isfinite(vertices).all():
        raise UnusableShapeError("a vertex is not finite")
    return shading.corners_and_normals(vertices, faces)


def _pose_with_z(direction: Array) -> Array:
    """A pose (4, 4) whose z axis is the given unit vector: pyrender's lights shine along their own -z."""
    aside = np.eye(3)[np.argmin(np.abs(direction))]
    x = np.cross(aside, direction)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(direction, x), direction], axis=1)
    return pose
