"""Posed frames of a made-up room, and small datasets of them in the layout of the real ones, for tests."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pointlift.geometry.visibility import depth_by_rays
from scene_layouts import SCANNET_LISTS

DEPTH_SIZE, COLOUR_SIZE = (48, 64), (97, 130)  # (H, W): nearly the same edges, as the sensor's two cameras
NUMBERS = (0, 7, 25, 50)


def room():
    """vertices (v, 3), faces (f, 3): floor and four walls of 5 x 4 x 2.6 m, and a block on the floor."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
    sides = [(0, 1, 3, 2), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5), (4, 5, 7, 6)]
    triangles = np.array([(side[a], side[b], side[c]) for side in sides for a, b, c in ((0, 1, 2), (0, 2, 3))])
    vertices = np.concatenate([corners * [5, 4, 2.6], corners * [1.2, 0.8, 0.9] + [2.2, 1.5, 0]])
    return vertices, np.concatenate([triangles[:10], triangles + 8])


def look_at(eye, target):
    """Camera to world (4, 4): along z to the target, y down, upright."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.column_stack([right, np.cross(forward, right), forward, eye])
    return pose


def pinhole(size, focal):
    """(3, 3) of a picture (H, W), the first pixel's centre at (0.5, 0.5), a little off its middle."""
    height, width = size
    return np.array([[focal, 0, width / 2 + 0.3], [0, focal * 1.01, height / 2 - 0.2], [0, 0, 1.0]])


DEPTH_PINHOLE, COLOUR_PINHOLE = pinhole(DEPTH_SIZE, 57.0), pinhole(COLOUR_SIZE, 118.0)


@dataclass(frozen=True)
class Frame:
    """pose : camera to world (4, 4); depth : (48, 64) metres of the one camera; colour : (97, 130, 3) of the other."""

    pose: np.ndarray
    depth: np.ndarray
    colour: np.ndarray


def frame(seed):
    """One frame from a random place in the room; a corner of its depth map was not measured."""
    rng = np.random.default_rng([23, seed])
    eye = [0.4 + 0.6 * rng.random(), 0.5 + 3 * rng.random(), 1.3 + 0.4 * rng.random()]
    pose = look_at(eye, [2.8, 1.9 + 0.3 * rng.random(), 0.6])
    depth = depth_by_rays(*room(), np.linalg.inv(pose)[None], DEPTH_PINHOLE, DEPTH_SIZE)[0].astype(float)
    depth = np.where(np.isfinite(depth), depth, 0.0)
    depth[:5, :9] = 0.0
    far = depth_by_rays(*room(), np.linalg.inv(pose)[None], COLOUR_PINHOLE, COLOUR_SIZE)[0]
    shade = np.where(np.isfinite(far), 255 * np.exp(-far / 3), 20)
    tint = np.linspace(0.5, 1.0, COLOUR_SIZE[1])[:, None] * [1.0, 0.8, 0.6]
    return Frame(pose, depth, np.clip(shade[..., None] * tint, 0, 255).astype(np.uint8))


ALIGNMENT = np.array([[0.8, 0.6, 0, -1.5], [-0.6, 0.8, 0, 2.0], [0, 0, 1, -0.1], [0, 0, 0, 1]])


def write_scannet_frames(root, lists=SCANNET_LISTS, numbers=NUMBERS, inside="scans"):
    """Scans as the exporter writes them, numbered through the lists; picture k of scan s is ``frame(10 s + k)``."""
    folder = root / "scannet_frames"
    (folder / "meta_data").mkdir(parents=True, exist_ok=True)
    for split, scans in lists.items():
        (folder / "meta_data" / f"scannetv2_{split}.txt").write_text("".join(f"{scan}\n" for scan in scans))
    for place, scan in enumerate(scan for scans in lists.values() for scan in scans):
        write_scan(folder / inside / scan, place, numbers)
    return folder / inside


def write_scan(folder, place, numbers):
    """The folder of one scan."""
    for name in ("color", "depth", "pose", "intrinsic"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, number in enumerate(numbers):
        made = frame(10 * place + index)
        Image.fromarray(made.colour).save(folder / "color" / f"{number}.jpg", quality=95)
        millimetres = np.round(made.depth * 1000).astype(np.uint16)
        Image.fromarray(millimetres).save(folder / "depth" / f"{number}.png")
        write_matrix(folder / "pose" / f"{number}.txt", made.pose)
    for name, matrix in (("color", COLOUR_PINHOLE), ("depth", DEPTH_PINHOLE)):
        whole = np.eye(4)
        whole[:3, :3] = matrix
        whole[:2, 2] -= 0.5  # files count from the first pixel's centre
        write_matrix(folder / "intrinsic" / f"intrinsic_{name}.txt", whole)
        write_matrix(folder / "intrinsic" / f"extrinsic_{name}.txt", np.eye(4))
    words = " ".join(f"{value:.6f}" for value in ALIGNMENT.reshape(-1))
    (folder / f"{folder.name}.txt").write_text(f"axisAlignment = {words} \ncolorHeight = 97\nsceneType = Office\n")


def write_matrix(path, matrix):
    path.write_text("".join(" ".join(f"{value:f}" for value in row) + "\n" for row in matrix))
