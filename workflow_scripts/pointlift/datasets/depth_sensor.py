"""A depth camera in a made room: what a perfect one sees, and what a real one returns of it.

A real one errs in depth more with the square of the distance (Khoshelham and Oude Elberink, Sensors 12, 2012: a few
millimetres near by, about 4 cm at the end of its range of 5 m). It gives nothing back here and there, and where it
looks along a surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointlift.contracts.procedural_blocks import SensorSettings
from pointlift.contracts.shards import Array
from pointlift.datasets.made_room import Room
from pointlift.geometry.cameras import camera_positions, pixel_rays

_LIGHT = np.array([0.36, 0.48, 0.8])  # a unit vector
_AMBIENT = 0.45
BACKGROUND = 255  # as in the pictures of meshes


@dataclass(frozen=True)
class Frame:
    """One picture, pixel by pixel.

    depth : (H, W) float64, along the camera axis in metres, inf where nothing comes back; surface : (H, W) int64,
    which of the room's surfaces is there, -1 for none; slant : (H, W) float64, the angle in radians between ray and
    surface, 0 for none; colour : (H, W, 3) uint8; rays : (H, W, 3) float64, directions in the room of depth 1;
    position : (3,).
    """

    depth: Array
    surface: Array
    slant: Array
    colour: Array
    rays: Array
    position: Array

    @property
    def points(self) -> Array:
        """(n, 3) float64: the points of the pixels with a return, row by row."""
        hit = np.isfinite(self.depth)
        points: Array = self.position + self.depth[hit][:, None] * self.rays[hit]
        return points


def pinhole(image_size: tuple[int, int], field_of_view_degrees: float) -> Array:
    """Pinhole matrix (3, 3) float64 of a picture (H, W); the field of view spans its width."""
    height, width = image_size
    focal = width / 2 / np.tan(np.deg2rad(field_of_view_degrees) / 2)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def see(room: Room, world_to_camera: Array, intrinsics: Array, image_size: tuple[int, int]) -> Frame:
    """What a perfect camera (4, 4), (3, 3) sees at its pixel centres (H, W)."""
    rays = pixel_rays(world_to_camera[None], intrinsics, image_size)[0]
    position = camera_positions(world_to_camera[None])[0]
    directions = rays.reshape(-1, 3)
    depth, face = room.rays.first_hits(np.broadcast_to(position, directions.shape), directions)
    hit = face >= 0
    normal = np.where(hit[:, None], room.normals[face], 0.0)
    cosine = np.abs((normal * directions).sum(axis=1)) / np.linalg.norm(directions, axis=1)
    surface = np.where(hit, room.surface[face], -1)
    light = _AMBIENT + (1 - _AMBIENT) * np.abs(normal @ _LIGHT)
    shown = np.where(hit[:, None], np.round(255 * light[:, None] * room.paint[surface]), BACKGROUND)
    return Frame(
        depth.astype(np.float64).reshape(image_size),
        surface.reshape(image_size),
        np.arcsin(np.minimum(cosine, 1.0)).reshape(image_size),
        shown.astype(np.uint8).reshape(*image_size, 3),
        rays,
        position,
    )


def returned(frame: Frame, sensor: SensorSettings, rng: np.random.Generator) -> Frame:
    """What a real sensor returns of a frame: noise in depth, and returns that are lost. Colours stay."""
    lost = rng.uniform(size=frame.depth.shape) < sensor.missing
    error = rng.normal(size=frame.depth.shape)
    lost |= (frame.slant < np.deg2rad(sensor.grazing_degrees)) | ~(frame.depth <= sensor.farthest)
    depth = np.where(lost, 0.0, frame.depth)
    depth = depth + sensor.noise * depth**2 * error
    lost |= depth <= 0  # the sensor sees nothing behind itself, however much it errs
    depth = np.where(lost, np.inf, depth)
    surface = np.where(lost, -1, frame.surface)
    return Frame(depth, surface, frame.slant, frame.colour, frame.rays, frame.position)
