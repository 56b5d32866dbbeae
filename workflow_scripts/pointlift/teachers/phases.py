"""Training in two phases: what the first one made is kept until the second is over, and their histories become one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pointlift.contracts.files import atomic_path, write_text
from pointlift.contracts.hashing import canonical_json
from pointlift.teachers.view_network import state_of

_log = logging.getLogger(__name__)
_HISTORY, _FINISHED = "history.jsonl", "finished.safetensors"


class Phases:
    """The folders in which phases keep their state, below the checkpoints of the whole training.

    options : of ``training.engine.fit``, for the whole training.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options, self._history = options, Path(options["history"])
        self._folder = Path(options.get("checkpoints") or self._history.parent / "checkpoints")
        self._names: list[str] = []

    def options(self, name: str) -> dict[str, Any]:
        """The options with which ``fit`` trains a phase; phases come in the order in which this is called."""
        self._names += [name] if name not in self._names else []
        curves = self._options.get("curves")
        own = {"history": self._folder / name / _HISTORY, "checkpoints": self._folder / name}
        return {**self._options, **own, "curves": None if curves is None else Path(curves) / name}

    def once(self, name: str, network: nn.Module, identity: str, work: Callable[[dict[str, Any]], None]) -> None:
        """Train ``network`` in place by ``work(options)``, or give it what an earlier try of this identity made."""
        options, path = self.options(name), self._folder / name / _FINISHED
        kept = _kept(path, identity) if (self._folder / name / _HISTORY).is_file() else None
        if kept is not None:
            _log.info("%s: phase %s was finished by an earlier try", path, name)
            network.load_state_dict(kept)
            return
        work(options)
        with atomic_path(path) as temporary:
            save_file(state_of(network), temporary, metadata={"identity": identity})

    def close(self) -> None:
        """Write the history of all phases, epochs and steps counted on, and forget what was kept."""
        lines, epochs, steps = list[str](), 0, 0
        for name in self._names:
            rows = [json.loads(line) for line in (self._folder / name / _HISTORY).read_text("utf-8").splitlines()]
            lines += [canonical_json({**r, "epoch": r["epoch"] + epochs, "step": r["step"] + steps}) for r in rows]
            epochs, steps = epochs + len(rows), steps + rows[-1]["step"]
        write_text(self._history, "".join(line + "\n" for line in lines))
        for name in self._names:
            for file in (_HISTORY, _FINISHED):
                (self._folder / name / file).unlink(missing_ok=True)
        for folder in (*(self._folder / name for name in self._names), self._folder):
            with suppress(OSError):  # someone else's files are in it
                folder.rmdir()


def _kept(path: Path, identity: str) -> dict[str, Tensor] | None:
    """The tensors of a finished phase; None where there is none, it is damaged, or of another identity."""
    try:
        with safe_open(str(path), framework="pt") as stream:
            if (stream.metadata() or {}).get("identity") == identity:
                return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return None
    return None
