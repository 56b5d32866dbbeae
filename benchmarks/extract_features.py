"""Images per second of teachers on this machine: ``python benchmarks/extract_features.py [--threads N] [--device D]``.

One line per teacher: processor seconds (threads 1) or wall seconds, decoding of PNG views included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(_ROOT / "workflow_scripts"))

from pointlift import rooms  # noqa: E402
from pointlift.contracts.images import pack_images  # noqa: E402
from pointlift.contracts.settings import parse  # noqa: E402
from pointlift.contracts.stages import read_stage, write_stage  # noqa: E402

_TINY = {
    "embed_dim": 128,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 32, "image_size": 64},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
_RANDOM = {"initialisation": "random"}
#: name -> (block, pixels of a view, views to embed)
TEACHERS = {
    "mini clip, float32": ({"kind": "clip", "model": _TINY} | _RANDOM, 64, 2048),
    "mini clip, bfloat16": ({"kind": "clip", "model": _TINY, "precision": "bfloat16"} | _RANDOM, 64, 2048),
    "ViT-B-32, float32": ({"kind": "clip", "model": "ViT-B-32"} | _RANDOM, 224, 64),
    "ViT-B-32, bfloat16": ({"kind": "clip", "model": "ViT-B-32", "precision": "bfloat16"} | _RANDOM, 224, 64),
    "squeezenet1_0 at 227": (
        {"kind": "imagenet_cnn", "architecture": "squeezenet1_0", "input_size": 227} | _RANDOM,
        160,
        256,
    ),
    "resnet50 at 224": ({"kind": "imagenet_cnn", "architecture": "resnet50"} | _RANDOM, 224, 64),
}


def write_views(path: Path, count: int, size: int) -> None:
    """Shaded balls on white, one view a shape."""
    rng = np.random.default_rng(0)
    down, right = np.mgrid[:size, :size] / size - 0.5
    pictures = []
    for radius in rng.uniform(0.2, 0.45, count):
        height = np.sqrt(np.clip(radius**2 - down**2 - right**2, 0.0, None))
        grey = np.where(height > 0.0, 60.0 + 150.0 * height / radius, 255.0)
        pictures.append(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))
    image_bytes, offsets = pack_images(np.stack(pictures))
    arrays = {
        "image_bytes": image_bytes,
        "image_offsets": offsets,
        "foreground": np.full((count, 1), 0.3, np.float32),
        "world_to_camera": np.eye(4, dtype=np.float32)[None],
        "intrinsics": np.eye(3, dtype=np.float32),
        "valid": np.ones(count, dtype=bool),
    }
    write_stage(path, "views", [f"ball-{index}" for index in range(count)], arrays, quarantine={})


def main() -> None:
    """Measure every teacher and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--only", default="", help="teachers whose name holds this")
    arguments = parser.parse_args()
    from pointlift.teachers.extraction import extract
    from pointlift.teachers.teacher import prepare_torch

    device = prepare_torch(arguments.threads, arguments.device)
    clock = time.process_time if arguments.threads == 1 and device.type == "cpu" else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        for name, (block, size, count) in TEACHERS.items():
            if arguments.only not in name:
                continue
            write_views(Path(folder) / "views", count, size)
            views = read_stage(Path(folder) / "views", "views")
            member = rooms.load("teachers", block["kind"])
            teacher = member.build(parse(member.Settings, block, "teacher"), None).to(device)
            extract(teacher, views, 32)
            started = clock()
            extract(teacher, views, 32)
            print(f"{name:24} {device.type} threads {arguments.threads}: {count / (clock() - started):8.1f} images/s")


if __name__ == "__main__":
    main()
