"""What jobs inherit beside their settings, because it changes no result: programs, device, where raw files lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pointlift.raw_data import set_environment

if TYPE_CHECKING:
    from pointlift.configuration import Config

#: Link to ``paths.archives`` in the working folder.
ARCHIVES = ".snakemake/archives"


#: Folders that DVC versions and that some suites leave empty: DVC wants every output of a stage to be there.
VERSIONED = (
    "results/meshes",
    "results/manifest",
    "results/points",
    "results/views",
    "results/visibility",
    "results/teachers",
    "results/features",
    "results/tokens",
    "results/prompts",
    "results/students",
    "results/embeddings",
    "results/finetuned",
    "results/metrics",
    "results/report",
)


def prepare_environment(config: Config) -> None:
    """Set the environment of this process, which its jobs inherit, and make the folders that DVC versions.

    PATH: jobs run with the Python that runs Snakemake, whether or not its environment is activated.
    POINTLIFT_DEVICE: where torch computes. POINTLIFT_URLS, _ARCHIVES, _MIRROR: where raw files come from.
    """
    programs = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])
    os.environ["POINTLIFT_DEVICE"] = config.device
    set_environment(config)
    for name in VERSIONED:
        Path(name).mkdir(parents=True, exist_ok=True)
    _link_archives(config.paths.archives)


def _link_archives(archives: str | None) -> None:
    """Give ``paths.archives`` one name in the working folder: inputs stay the same wherever it lies."""
    if archives is None:
        return
    link, wanted = Path(ARCHIVES), Path(archives).resolve()
    if not link.is_symlink() or link.readlink() != wanted:
        link.parent.mkdir(exist_ok=True)
        fresh = link.with_name(f"{link.name}.{os.getpid()}")
        fresh.symlink_to(wanted)
        fresh.replace(link)


def gpus_per_job(config: Config) -> int:
    """1 where jobs run on a GPU, for the scheduler."""
    has_gpu = config.device == "auto" and Path("/dev/nvidia0").exists()
    return int(config.device == "cuda" or has_gpu)
