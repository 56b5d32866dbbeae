"""Take few-shot folds of the literature (a folder of 0.pkl, 1.pkl ...) over as an index file. Nothing is unpickled.

Called by people, once per folder; commit what it writes below workflow_scripts/pointlift/episodes to use it in a task:
python workflow_scripts/import_episodes.py --dataset modelnet40_resampled --folder 5way_10shot --output
workflow_scripts/pointlift/episodes/mn40_pointbert/5w10s.json
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import yaml

from pointlift import rooms
from pointlift.configuration import check_yaml, read_config
from pointlift.contracts.command import run
from pointlift.contracts.episodes import write_episodes
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.datasets.episode_import import import_episodes


def main(arguments: argparse.Namespace) -> None:
    check_yaml(arguments.config)
    config = read_config(yaml.safe_load(arguments.config.read_text(encoding="utf-8")))
    block = config.datasets.get(arguments.dataset)
    if block is None or block.has_meshes:
        raise ConfigError(f"{arguments.dataset}: no dataset of config.yaml that comes as points")
    paths = sorted(arguments.folder.glob("*.pkl"), key=lambda path: (len(path.stem), path.stem))
    if not paths or [path.stem for path in paths] != [str(number) for number in range(len(paths))]:
        raise ArtifactError(f"{arguments.folder}: must hold the folds 0.pkl, 1.pkl ... without a gap")
    name = f"{arguments.output.parent.name}/{arguments.output.stem}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+/[a-z0-9-]+", name):
        raise ConfigError(f"{arguments.output}: must end in <name>/<ways>w<shots>s.json")
    folder = None if block.folder is None else Path(config.paths.data) / block.folder
    dataset = rooms.load("datasets", block.kind).build(block, folder)
    write_episodes(arguments.output, import_episodes(paths, dataset, name, block.id_base or arguments.dataset))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--dataset", required=True, help="block of config.yaml whose shapes the clouds were taken from")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    run(main, parser.parse_args())
