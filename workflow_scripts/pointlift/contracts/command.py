"""The frame of every entry point: one typed settings string in, one clear line out when a user's mistake stops it."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pointlift.contracts.errors import ArtifactError, PointliftError

#: Errors of the machine that a user can mend: no space, quota, read-only, no rights.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


class Parser(argparse.ArgumentParser):
    """An argument parser that knows the arguments entry points share."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description)
        self.add_argument(
            "--settings", type=_read_json, required=True, help="the rule's slice of the config, as JSON; -: stdin"
        )

    def add_paths(self, *names: str, many: tuple[str, ...] = ()) -> Parser:
        """Add required ``--name PATH`` arguments; those in ``many`` take any number of paths."""
        for name in names:
            self.add_argument(f"--{name}", type=Path, required=True, nargs="*" if name in many else None)
        return self

    def add_optional_paths(self, *names: str, text: str) -> Parser:
        """Add ``--name PATH ...`` arguments that may be left out: no paths then. ``text``: what --help says of them."""
        for name in names:
            self.add_argument(f"--{name}", type=Path, nargs="*", default=[], help=text)
        return self

    def add_compute(self) -> Parser:
        """Add ``--threads`` (torch threads; bits depend on them, so each rule fixes them) and ``--device``.

        The device is the environment's ``POINTLIFT_DEVICE`` (set by the Snakefile from config.yaml) unless given.
        """
        self.add_argument("--threads", type=int, default=1)
        self.add_argument(
            "--device", choices=("auto", "cpu", "cuda"), default=os.environ.get("POINTLIFT_DEVICE", "auto")
        )
        return self

    def add_training(self) -> Parser:
        """Add ``add_compute`` and what a training job keeps outside its outputs; see ``training_options``."""
        self.add_argument("--checkpoints", type=Path, help="folder of an unfinished run, removed when it is done")
        self.add_argument("--curves", type=Path, help="folder for TensorBoard's event files; none are written without")
        self.add_argument("--code", default="", help="hash of this job's code: a run begun by other code starts anew")
        return self.add_compute()

    def add_seeds(self) -> Parser:
        """Add ``--seeds``, for ``each_seed``."""
        self.add_argument("--seeds", type=int, nargs="+", required=True, help="one after another, each as if alone")
        return self


def _read_json(text: str) -> Any:
    """JSON, or where it says ``-`` that of standard input: Linux takes no single argument of 128 KiB or more."""
    return json.loads(sys.stdin.read() if text == "-" else text)


def training_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``Parser.add_training`` by the names that ``training.engine.fit`` knows."""
    return {name: getattr(arguments, name) for name in ("device", "threads", "checkpoints", "curves", "code")}


def each_seed(main: Callable[[Any], None], *names: str) -> Callable[[Any], None]:
    """``main`` for one seed, called for every one of ``Parser.add_seeds``, as in a job of its own.

    It then finds its ``seed`` in the settings; in the place of every list in ``names`` the path that stands where the
    seed does, or None where the list is empty; and places for what is unfinished that end in ``.seed<number>``. Raises
    ``ArtifactError`` when a list is not as long as the seeds are many.
    """

    def every(arguments: argparse.Namespace) -> None:
        lists = {name: getattr(arguments, name) for name in names}
        for name, paths in lists.items():
            if paths and len(paths) != len(arguments.seeds):
                told = f"--{name}: {len(paths)} paths for {len(arguments.seeds)} seeds"
                raise ArtifactError(f"{told}; give one for each, in their order")
        for number, seed in enumerate(arguments.seeds):
            own: dict[str, Any] = {"settings": {**arguments.settings, "seed": seed}}
            own |= {name: paths[number] if paths else None for name, paths in lists.items()}
            for name in ("checkpoints", "curves"):
                place = getattr(arguments, name)
                own[name] = None if place is None else place.with_name(f"{place.name}.seed{seed}")
            main(argparse.Namespace(**{**vars(arguments), **own}))

    return every


def run(main: Callable[[Any], None], arguments: argparse.Namespace) -> None:
    """Call ``main``; a ``PointliftError``, a full disk and lacking rights are told in one line; all else is a trace."""
    level = os.environ.get("POINTLIFT_LOG", "INFO")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        main(arguments)
    except PointliftError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        sys.exit(f"error: {error.filename or 'writing'}: {error.strerror}; make room or set the rights, and run again")
