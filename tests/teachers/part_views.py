"""Drawn pictures with a map of two parts each: the left and the right half of every figure."""

import numpy as np

from pointlift.contracts.images import pack_images, unpack_images
from pointlift.contracts.stages import read_stage, write_stage
from teachers.pictures import CLASSES

PART_NAMES = [f"{name}/{side}" for name in CLASSES for side in ("left", "right")]


def halves(image, figure):
    """The map uint8 (H, W) of one picture: the figure's two parts, cut at its middle column; 255 elsewhere."""
    shown = (image < 255).any(axis=-1)
    middle = np.flatnonzero(shown.any(axis=0)).mean()
    part = 2 * CLASSES.index(figure) + (np.arange(image.shape[1]) > middle)
    return np.where(shown, part[None], 255).astype(np.uint8)


def add_maps(path, class_names=CLASSES, part_names=PART_NAMES):
    """Give a shard of ``pictures.write_views`` its maps; every shape of it must be valid."""
    shard = read_stage(path, "views")
    images = unpack_images(shard["image_bytes"], shard["image_offsets"])
    figures = np.repeat([shape_id.split("-")[0] for shape_id in shard.ids], shard["foreground"].shape[1])
    maps = np.stack([halves(image, figure) for image, figure in zip(images, figures, strict=True)])
    map_bytes, offsets = pack_images(maps)
    arrays = {**shard.arrays, "part_map_bytes": map_bytes, "part_map_offsets": offsets}
    names = {"class_names": list(class_names), "part_names": list(part_names)}
    write_stage(path, "views", shard.ids, arrays, quarantine={}, **names)
    return maps
