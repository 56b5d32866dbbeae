"""The training loop of teachers, distillation and finetuning: Fabric gives device, precision and processes.

Nothing random depends on what happened before: order, augmentation and dropout are seeded by (seed, step), so a run
that was killed goes on to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import PointliftError
from pointlift.contracts.files import write_text
from pointlift.contracts.hashing import canonical_json, digest, stable_seed
from pointlift.contracts.recipe import Recipe
from pointlift.training.augmentation import augment
from pointlift.training.checkpoint import Checkpoint, Position, weights_checksum
from pointlift.training.data import TrainingData
from pointlift.training.history import Progress, TensorBoard
from pointlift.training.machine import build_fabric, choose_device, reproducible, seed_layers
from pointlift.training.optimisation import build_optimiser, learning_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Losses = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def fit(
    model: nn.Module,
    losses: Losses,
    data: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    history: Path,
    checkpoints: Path | None = None,
    curves: Path | None = None,
    device: str = "auto",
    threads: int = 1,
    on_epoch_end: Callable[[int], dict[str, float]] | None = None,
    kept: dict[str, Tensor] | None = None,
    identity: str = "",
    code: str = "",
    checkpoint_seconds: float = 60.0,
) -> None:
    """Train ``model`` in place by the recipe; it is on the CPU, in eval mode, when this returns.

    model : holds every parameter that is to be trained; ``losses`` calls it, or parts of it.
    losses : batch -> values; those whose key ends in ``_loss`` are summed and minimised, the others reported.
    data : ``batch["points"]`` (B, N, 3), where there is one, is augmented.
    history : JSON lines file, one per epoch: epoch, step, lr, the mean of every value. Written when training is over.
    checkpoints : folder for the state of an unfinished run, removed on success; by default beside ``history``.
    curves : folder for TensorBoard's event files, which hold times: never among a rule's outputs. None: no curves.
    on_epoch_end : called with the epoch (from 0), model in eval mode on its device; what it returns is reported too.
    kept : tensors that ``on_epoch_end`` collects; they are saved and restored with a checkpoint.
    identity, code : what else the result depends on (weights of losses ...; a hash of the code); a checkpoint of
    another identity or code is not used.

    Raises ``PointliftError`` naming step and term when a loss is not finite, or a loss raises ``FloatingPointError``;
    and when there is but one row to train on.
    """
    if len(data) < 2:
        raise PointliftError(
            "training needs at least 2 usable rows, as batch norms take statistics over them; there is 1: "
            "add shapes to the train split, or mend those that are quarantined"
        )
    machine = choose_device(device)
    with reproducible(machine, threads):
        parts = [identity, code, recipe.model_dump(mode="json"), seed, weights_checksum(model), data.checksum()]
        folder = checkpoints or Path(history).parent / "checkpoints"
        checkpoint = Checkpoint(folder, digest(parts, 32), checkpoint_seconds)
        fabric = build_fabric(device, recipe.precision)
        training = _Training(model, losses, data, recipe, seed=seed, fabric=fabric, kept=kept)
        lines = training.run(checkpoint, curves, on_epoch_end)
    write_text(history, "".join(line + "\n" for line in lines))
    checkpoint.remove()
    model.cpu().eval()


class _Objective(nn.Module):
    """Model and losses as one module, so that Fabric's precision and gradient exchange see every call."""

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.model = model
        self._losses = (losses,)  # in a tuple: a loss that is a module must not be registered a second time

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._losses[0](batch)


class _Training:
    def __init__(
        self,
        model: nn.Module,
        losses: Losses,
        data: TrainingData,
        recipe: Recipe,
        *,
        seed: int,
        fabric: Fabric,
        kept: dict[str, Tensor] | None,
    ) -> None:
        fabric.launch()
        self.model, self.data, self.recipe, self.seed, self.fabric = model, data, recipe, seed, fabric
        self.kept = {} if kept is None else kept
        self.steps_per_epoch = data.num_batches(recipe.batch_size)
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.position = Position()
        optimiser = build_optimiser(model.parameters(), recipe)
        self.objective, self.optimiser = fabric.setup(_Objective(model, losses), optimiser)

    def run(
        self, checkpoint: Checkpoint, events: Path | None, on_epoch_end: Callable[[int], dict[str, float]] | None
    ) -> list[str]:
        """Train from where an earlier try stood to the end; returns the history lines."""
        self._restore(checkpoint)
        done = self.position.epoch * self.steps_per_epoch + self.position.step
        progress = Progress(self.recipe.epochs, self.steps_per_epoch, done, "training")
        curves = TensorBoard(events, done) if events is not None and self.fabric.is_global_zero else None
        try:
            while self.position.epoch < self.recipe.epochs:
                self._epoch(checkpoint, progress)
                values = self._close_epoch(on_epoch_end)
                progress.epoch(self.position.epoch - 1, values)
                if curves is not None:
                    curves.add(self.position.epoch * self.steps_per_epoch, values)
        finally:
            progress.close()
            if curves is not None:
                curves.close()
        return self.position.lines

    def _epoch(self, checkpoint: Checkpoint, progress: Progress) -> None:
        self.model.train()
        position = self.position
        for batch in self.data.batches(position.epoch, self.recipe.batch_size, self.seed, start=position.step):
            self._step(batch, position.epoch * self.steps_per_epoch + position.step)
            position.step += 1
            progress.step()
            if checkpoint.due() and self.fabric.is_global_zero:
                checkpoint.save(position, self._states())

    def _step(self, batch: dict[str, Tensor], step: int) -> None:
        seed_layers(stable_seed(self.seed, step, "layers"), self.fabric.device)
        if "points" in batch:
            generator = torch.Generator().manual_seed(stable_seed(self.seed, step, "augmentation"))
            batch["points"] = augment(batch["points"], self.recipe.augmentation, generator)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, step, self.total_steps)
        share = {name: self.fabric.to_device(part) for name, part in self._share(batch).items()}
        try:
            values = self.objective(share)
        except FloatingPointError as error:
            raise self._diverged(step, str(error)) from None
        self._add(values, step)
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(_total(values))
        if self.recipe.gradient_clip is not None:
            self.fabric.clip_gradients(self.objective, self.optimiser, max_norm=self.recipe.gradient_clip)
        self.optimiser.step()

    def _share(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """This process's rows. All draw the whole batch, so that its numbers do not depend on their count."""
        world, rank = self.fabric.world_size, self.fabric.global_rank
        if world == 1:
            return batch
        rows = len(batch["index"]) // world
        if rows < 2:  # as a batch of one: nothing for batch norms to take statistics over
            raise PointliftError(
                f"a batch of {len(batch['index'])} cannot be shared by {world} processes, at least 2 rows each; "
                "raise batch_size or start fewer"
            )
        return {name: part[rank * rows : (rank + 1) * rows] for name, part in batch.items()}

    def _add(self, values: dict[str, Tensor], step: int) -> None:
        """Add up the values of a step; one transfer from the device for all of them."""
        numbers = torch.stack([torch.as_tensor(value).detach().float().cpu() for value in values.values()]).tolist()
        for name, number in zip(values, numbers, strict=True):
            if not math.isfinite(number):
                raise self._diverged(step, f"{name} is {number}")
            self.position.sums[name] = self.position.sums.get(name, 0.0) + number

    def _diverged(self, step: int, what: str) -> PointliftError:
        return PointliftError(
            f"training stopped at step {step} (epoch {step // self.steps_per_epoch}): {what}; "
            "lower the learning rate, add warm-up steps or set gradient_clip, and check the input"
        )

    def _close_epoch(self, on_epoch_end: Callable[[int], dict[str, float]] | None) -> dict[str, float]:
        position = self.position
        values = {name: total / self.steps_per_epoch for name, total in position.sums.items()}
        if self.fabric.world_size > 1:
            means = self.fabric.all_reduce(torch.tensor(list(values.values()), dtype=torch.float64))
            values = dict(zip(values, means.tolist(), strict=True))  # type: ignore[union-attr]
        if on_epoch_end is not None:
            self.model.eval()
            with torch.no_grad():
                values.update(on_epoch_end(position.epoch))
        step = (position.epoch + 1) * self.steps_per_epoch
        rate = learning_rate(self.recipe, step - 1, self.total_steps)
        position.lines.append(canonical_json({"epoch": position.epoch, "step": step, "lr": rate, **values}))
        position.epoch, position.step, position.sums = position.epoch + 1, 0, {}
        return values

    def _states(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "kept": self.kept}

    def _restore(self, checkpoint: Checkpoint) -> None:
        found = checkpoint.load()
        if found is None:
            return
        self.position, states = found
        self.model.load_state_dict(states["model"])
        self.optimiser.load_state_dict(states["optimiser"])
        self.kept.update(states["kept"])


def _total(values: dict[str, Tensor]) -> Tensor:
    terms = [value for name, value in values.items() if name.endswith("_loss")]
    if not terms:
        raise ValueError(f"no value to minimise: none of {sorted(values)} ends in _loss")
    return torch.stack([term.float() for term in terms]).sum()
