"""Finetuning a student anew on each of several small training sets, all in one job that can be stopped anywhere."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import canonical_json, digest
from pointlift.contracts.shards import Array
from pointlift.contracts.stages import write_stage
from pointlift.tasks.draws import Subset
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.shapes import Shapes
from pointlift.tasks.subset_task import SubsetTask
from pointlift.training.checkpoint import Checkpoint, Position, weights_checksum
from pointlift.training.data import TensorData, TrainingData
from pointlift.training.machine import choose_device, reproducible
from pointlift.training.repeated import RepeatedData

log = logging.getLogger(__name__)


@dataclass
class Finetuned(Finetuning):
    """One training on some rows, looked at when it ends. An epoch has so many batches; None: as many as rows give."""

    rows_trained: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    batches_per_epoch: int | None = None
    device: str = "auto"
    threads: int = 1

    def _training_data(self) -> TrainingData:
        values, rows = self.shapes.values, self.rows_trained  # type: ignore[union-attr]
        self.once = TensorData({"points": values[rows], **self.task.training_arrays(self.shapes, rows)})
        return self.once if self.batches_per_epoch is None else RepeatedData(self.once, self.batches_per_epoch)

    def _train_batches(self) -> Any:
        return self.once.batches(0, self.task.settings.recipe.batch_size, self.seed)

    def _look(self, epoch: int) -> dict[str, float]:
        return super()._look(epoch) if epoch + 1 == self.task.settings.recipe.epochs else {}

    def answer(self) -> Array:
        """Class scores (S, K) float32 of the judged shapes, when training is over."""
        (scores,) = self.kept.values()
        return scores.numpy()

    def scores_of(self, rows: Array) -> Array:
        """Class scores (R, K) float32 of any rows, in eval mode, computed as training was; when that is over."""
        machine = choose_device(self.device)
        with reproducible(machine, self.threads):
            self.model.to(machine).eval()
            scores: Array = self.task.look(self.model, self.shapes, rows)["logits"]
        self.model.cpu()
        return scores


@dataclass(frozen=True)
class Training:
    """What every training on one labelled set starts from: the same student, in a copy of its own."""

    task: SubsetTask
    student: nn.Module
    shapes: Shapes
    seed: int
    rows: Array
    batches_per_epoch: int | None

    def on_labels(self) -> Finetuned:
        """Student and a new head on the labelled set."""
        return self.of(self.task, self.rows, self.batches_per_epoch)

    def of(self, task: Any, rows: Array, batches_per_epoch: int | None = None) -> Finetuned:
        """Another task's training on these rows."""
        student = copy.deepcopy(self.student)
        return Finetuned(task, student, self.shapes, self.seed, rows_trained=rows, batches_per_epoch=batches_per_epoch)


class SubsetFinetuning:
    """A student with its first weights, trained anew on every labelled set of a task; used as ``Finetuning`` is."""

    def __init__(self, task: SubsetTask, student: nn.Module, shapes: Shapes, seed: int) -> None:
        self.task, self.student, self.shapes, self.seed = task, student, shapes, seed
        self.subsets = list(task.subsets(shapes))
        first = {subset.rows.tobytes(): number for number, subset in reversed(list(enumerate(self.subsets)))}
        self._last_trained = max(first.values())
        self.answers: list[list[Array]] = []
        self._last: Finetuned | None = None
        given = {"points": shapes.values, "label": shapes.label, "split": shapes.split}
        self._checksum = [weights_checksum(student), TensorData(given).checksum()]

    def run(self, settings: FinetuneSettings, folder: Path, **compute: Any) -> None:
        """Train; writes ``folder/history.jsonl``, its values by size, means over draws.

        ``compute``: as of ``Finetuning.run``. What is done is kept below ``checkpoints`` until all is; sets of the same
        rows are trained on once.
        """
        place = Path(compute.pop("checkpoints", None) or folder / "checkpoints")
        known: dict[bytes, list[tuple[Array, list[str]]]] = {}
        records: dict[str, list[list[dict[str, float]]]] = {}
        for number, subset in enumerate(self.subsets):
            key = subset.rows.tobytes()
            if key not in known:
                known[key] = self._trained(number, settings, place / f"{number:03d}", compute)
            self.answers.append([scores for scores, _ in known[key]])
            for phase, (_, lines) in enumerate(known[key]):
                records.setdefault(self._word(subset, phase), []).append([json.loads(line) for line in lines])
        write_text(folder / "history.jsonl", "".join(f"{line}\n" for line in _mean_history(records)))
        _forget(place)

    def _trained(
        self, number: int, settings: FinetuneSettings, place: Path, compute: dict[str, Any]
    ) -> list[tuple[Array, list[str]]]:
        """Scores and history lines of the phases of one set, from an earlier try where that ended them."""
        subset = self.subsets[number]
        log.info("size %g, draw %d: %d labelled shapes", subset.size, subset.draw, len(subset.rows))
        parts = [settings.model_dump(mode="json"), compute.get("code", ""), self.seed, self._checksum]
        ended = Checkpoint(place / "ended", digest([*parts, subset.rows.tolist()], 32), 0.0)
        earlier = ended.load()
        if earlier is not None:
            told = [json.loads(lines) for lines in earlier[0].lines]
            return [(earlier[1][str(phase)].numpy(), lines) for phase, lines in enumerate(told)]
        found = self._train(subset, settings, place, compute)
        if number != self._last_trained:  # of that one the weights are wanted: its phases stay
            states = {str(phase): torch.from_numpy(scores) for phase, (scores, _) in enumerate(found)}
            ended.save(Position(lines=[canonical_json(lines) for _, lines in found]), states)
            _forget_phases(place)
        return found

    def _train(
        self, subset: Subset, settings: FinetuneSettings, place: Path, compute: dict[str, Any]
    ) -> list[tuple[Array, list[str]]]:
        training = Training(self.task, self.student, self.shapes, self.seed, subset.rows, self._batches_per_epoch())
        found = []
        for phase, each in enumerate(self.task.phases(training)):
            own = {**compute, "checkpoints": place / f"{phase}" / "training"}
            if compute.get("curves") is not None:
                own["curves"] = compute["curves"] / self._word(subset, phase) / f"draw{subset.draw}"
            lines = _resumed(each, settings, place / f"{phase}", own)
            found.append((each.answer(), lines))
            self._last = each
        return found

    def _batches_per_epoch(self) -> int | None:
        """Of the largest set, for all; None: each has its own."""
        if self.task.settings.steps == "epochs":
            return None
        batch_size = self.task.settings.recipe.batch_size
        return max(1, max(len(subset.rows) for subset in self.subsets) // batch_size)

    def _word(self, subset: Subset, phase: int) -> str:
        """How a training's values are called in the history: 5_shot."""
        named = {(one.size, one.phase): one.metric for one in self.task.measured()}
        return named[subset.size, phase].removeprefix("accuracy_")

    def save_predictions(self, path: Path) -> None:
        """Write the answers on every test shape after every training."""
        rows = self.shapes.rows(*self.task.settings.judged_splits)
        sizes, draws, phases, scores = zip(*self._every_answer(), strict=True)
        arrays: dict[str, Array] = {
            "size": np.array(sizes, dtype=np.float64),
            "draw": np.array(draws, dtype=np.int64),
            "phase": np.array(phases, dtype=np.uint8),
            "logits": np.stack(scores),
            "label": self.shapes.label[rows],
            "split": self.shapes.split[rows],
        }
        largest = max(len(subset.rows) for subset in self.subsets)
        write_stage(path, "subset_predictions", [self.shapes.ids[row] for row in rows], arrays, num_train=largest)

    def _every_answer(self) -> Iterator[tuple[float, int, int, Array]]:
        """Size, draw, phase and scores (S, K) of every training, in order."""
        for subset, answers in zip(self.subsets, self.answers, strict=True):
            for phase, scores in enumerate(answers):
                yield subset.size, subset.draw, phase, scores

    def deployed(self) -> nn.Module:
        """Student and head of the last training: of the largest set, the last of its draws that is no other one."""
        if self._last is None:
            raise ValueError("nothing was trained yet")
        return self._last.deployed()


def _resumed(training: Finetuned, settings: FinetuneSettings, place: Path, compute: dict[str, Any]) -> list[str]:
    """Run a training, or put back what an earlier try of it left when it ended; its history lines."""
    training.device, training.threads = compute.get("device", "auto"), compute.get("threads", 1)
    parts = [settings.model_dump(mode="json"), compute.get("code", ""), training.seed]
    identity = digest([*parts, weights_checksum(training.model), training.data.checksum()], 32)
    ended = Checkpoint(place, identity, 0.0)
    found = ended.load()
    if found is not None:
        position, states = found
        training.model.load_state_dict(states["model"])
        training.kept.update(states["kept"])
        return position.lines
    training.run(settings, place, **compute)
    lines = (place / "history.jsonl").read_text(encoding="utf-8").splitlines()
    ended.save(
        Position(epoch=training.task.settings.recipe.epochs, lines=lines),
        {"model": training.model.state_dict(), "kept": training.kept},
    )
    return lines


def _mean_history(records: dict[str, list[list[dict[str, float]]]]) -> list[str]:
    """One line an epoch: every value of a training, mean over draws, called by its size."""
    length = max(len(lines) for draws in records.values() for lines in draws)
    found = []
    for epoch in range(length):
        line: dict[str, float] = {"epoch": epoch}
        for word, draws in records.items():
            here = [lines[epoch] for lines in draws if epoch < len(lines)]
            for name in sorted(set(here[0]) - {"epoch", "step", "lr"}) if here else []:
                line[f"{name}_{word}"] = float(np.mean([values[name] for values in here]))
        found.append(canonical_json(line))
    return found


def _forget(place: Path) -> None:
    """Remove what all trainings left, and nothing else."""
    for each in place.glob("[0-9][0-9][0-9]"):
        _forget_phases(each)
        Checkpoint(each / "ended", "", 0.0).remove()
        with suppress(OSError):
            each.rmdir()
    with suppress(OSError):
        place.rmdir()


def _forget_phases(place: Path) -> None:
    for phase in place.glob("[0-9]"):
        Checkpoint(phase / "training", "", 0.0).remove()
        (phase / "history.jsonl").unlink(missing_ok=True)
        Checkpoint(phase, "", 0.0).remove()
