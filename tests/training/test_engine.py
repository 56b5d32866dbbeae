"""The engine: resumable to the step with the same bits, honest about what goes wrong."""

import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import PointliftError
from pointlift.contracts.recipe import Augmentation, Recipe
from pointlift.training.data import TensorData
from pointlift.training.engine import fit


class KilledError(Exception):
    pass


def network() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 4))


def clouds(count: int = 22) -> TensorData:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(count, 8, 3)).astype(np.float32)
    return TensorData({"points": points, "label": rng.integers(0, 4, count)})


def losses_of(model: nn.Module, kill_at: int | None = None):
    calls = 0

    def losses(batch):
        nonlocal calls
        if calls == kill_at:
            raise KilledError
        calls += 1
        logits = model(batch["points"].mean(1))
        loss = nn.functional.cross_entropy(logits, batch["label"])
        return {"task_loss": loss, "spread": logits.std()}

    return losses


def recipe(**changes) -> Recipe:
    values = {
        "epochs": 4,
        "batch_size": 4,
        "learning_rate": 0.01,
        "augmentation": Augmentation(scale=(0.8, 1.2), shift=0.1, rotation="up", jitter=0.01),
    }
    return Recipe(**(values | changes))


def train(tmp_path, name: str, kill_at: int | None = None, changes: dict | None = None, **options):
    model = options.pop("model", None) or network()
    folder = tmp_path / name
    fit(
        model,
        losses_of(model, kill_at),
        clouds(),
        recipe(**(changes or {})),
        seed=options.pop("seed", 3),
        checkpoints=folder / "checkpoints",
        history=folder / "history.jsonl",
        device="cpu",
        **options,
    )
    return model, (folder / "history.jsonl").read_bytes()


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("kill_at", [1, 7, 10])  # in the first epoch, in the middle of one, at the first step of one
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, optimiser, kill_at):
    changes = {"optimiser": optimiser}
    whole, whole_history = train(tmp_path, "whole", changes=changes)
    with pytest.raises(KilledError):
        train(tmp_path, "killed", kill_at=kill_at, changes=changes, checkpoint_seconds=0.0)
    resumed, history = train(tmp_path, "killed", changes=changes, checkpoint_seconds=0.0)
    assert same_bits(whole, resumed)
    assert history == whole_history
    assert not (tmp_path / "killed" / "checkpoints" / "state.pt").exists()


def test_a_resumed_run_does_only_the_steps_that_are_left(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, "run", kill_at=7, checkpoint_seconds=0.0)
    model, calls = network(), []
    losses = losses_of(model)
    fit(
        model,
        lambda batch: calls.append(1) or losses(batch),
        clouds(),
        recipe(),
        seed=3,
        checkpoints=tmp_path / "run" / "checkpoints",
        history=tmp_path / "h",
        device="cpu",
    )
    assert len(calls) == 4 * 5 - 7


def test_what_was_collected_survives_a_kill(tmp_path):
    def collect(kept):
        def at_end(epoch):
            kept[f"epoch{epoch}"] = torch.full((2,), float(epoch))
            return {"score": epoch / 10}

        return at_end

    kept: dict = {}
    with pytest.raises(KilledError):
        train(tmp_path, "run", kill_at=12, checkpoint_seconds=0.0, kept=kept, on_epoch_end=collect(kept))
    fresh: dict = {}
    _, history = train(tmp_path, "run", checkpoint_seconds=0.0, kept=fresh, on_epoch_end=collect(fresh))
    assert sorted(fresh) == ["epoch0", "epoch1", "epoch2", "epoch3"]
    assert [json.loads(line)["score"] for line in history.splitlines()] == [0.0, 0.1, 0.2, 0.3]


def test_a_checkpoint_of_other_settings_seed_or_weights_is_left_aside(tmp_path, caplog):
    other = network()
    with torch.no_grad():
        other[0].weight.add_(0.1)
    for name, options in {
        "recipe": {"changes": {"learning_rate": 0.02}},
        "seed": {"seed": 4},
        "weights": {"model": other},
        "identity": {"identity": "weight 0"},
        "code": {"code": "5e1f"},
    }.items():
        with pytest.raises(KilledError):
            train(tmp_path, name, kill_at=7, checkpoint_seconds=0.0)
        caplog.clear()
        train(tmp_path, name, **options)
        assert "starting anew" in caplog.text, name


def test_a_damaged_checkpoint_is_left_aside(tmp_path, caplog):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "state.pt").write_bytes(b"half a file")
    train(tmp_path, "run", changes={"epochs": 1})
    assert "not a readable checkpoint" in caplog.text


def test_two_runs_are_identical_and_seeds_differ(tmp_path):
    one, history = train(tmp_path, "one")
    two, again = train(tmp_path, "two")
    other, _ = train(tmp_path, "three", seed=4)
    assert same_bits(one, two) and history == again
    assert not same_bits(one, other)


def test_history_has_one_line_per_epoch_with_means_and_no_times(tmp_path):
    seen = []

    def losses(batch):
        value = float(len(seen))
        seen.append(value)
        return {"a_loss": model.weight.sum() * 0 + value, "reported": torch.tensor(2 * value)}

    model = nn.Linear(1, 1)
    options = {"history": tmp_path / "h.jsonl", "curves": tmp_path / "curves"}
    fit(model, losses, clouds(), recipe(), seed=0, device="cpu", **options)
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert [line["a_loss"] for line in lines] == [2.0, 7.0, 12.0, 17.0]
    assert [line["reported"] for line in lines] == [4.0, 14.0, 24.0, 34.0]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert set(lines[0]) == {"epoch", "step", "lr", "a_loss", "reported"}
    assert list((tmp_path / "curves").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves", "h.jsonl"]  # no checkpoint is left


def test_a_loss_that_is_not_finite_stops_with_step_and_term(tmp_path):
    def losses(batch):
        value = model.weight.sum()
        losses.calls += 1
        return {"good_loss": value, "view_loss": value * (float("nan") if losses.calls > 6 else 1.0)}

    losses.calls = 0
    model = nn.Linear(1, 1)
    with pytest.raises(PointliftError, match=r"step 6 \(epoch 1\): view_loss is nan"):
        fit(model, losses, clouds(), recipe(), seed=0, checkpoints=tmp_path, history=tmp_path / "h", device="cpu")


def test_a_step_that_meets_nan_before_its_loss_stops_as_clearly(tmp_path):
    def losses(batch):
        raise FloatingPointError("tokens of the student are NaN")

    model = nn.Linear(1, 1)
    with pytest.raises(PointliftError, match=r"step 0 \(epoch 0\): tokens .* NaN; lower the learning rate"):
        fit(model, losses, clouds(), recipe(), seed=0, history=tmp_path / "h", device="cpu")


def test_losses_must_hold_something_to_minimise(tmp_path):
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="ends in _loss"):
        fit(
            model,
            lambda batch: {"value": model.weight.sum()},
            clouds(),
            recipe(),
            seed=0,
            checkpoints=tmp_path,
            history=tmp_path / "h",
            device="cpu",
        )


def test_one_sgd_step_is_the_closed_form(tmp_path):
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    data = TensorData({"points": np.ones((4, 2, 3), np.float32)})
    once = Recipe(epochs=1, batch_size=4, optimiser="sgd", learning_rate=0.5, weight_decay=0.1)
    fit(
        model,
        lambda batch: {"out_loss": model(batch["points"]).mean()},
        data,
        once,
        seed=0,
        checkpoints=tmp_path,
        history=tmp_path / "h",
        device="cpu",
    )
    torch.testing.assert_close(model.weight.detach(), before - 0.5 * (torch.ones(1, 3) + 0.1 * before))


def test_gradients_are_clipped_to_the_norm(tmp_path):
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    once = Recipe(epochs=1, batch_size=4, optimiser="sgd", learning_rate=1.0, gradient_clip=0.25)
    data = TensorData({"points": np.full((4, 2, 3), 10.0, np.float32)})
    fit(
        model,
        lambda batch: {"out_loss": model(batch["points"]).mean()},
        data,
        once,
        seed=0,
        checkpoints=tmp_path,
        history=tmp_path / "h",
        device="cpu",
    )
    assert (model.weight.detach() - before).norm().item() == pytest.approx(0.25, abs=1e-4)


def test_bf16_trains_close_to_fp32_with_fp32_weights(tmp_path):
    full, _ = train(tmp_path, "full", changes={"epochs": 1, "optimiser": "sgd"})
    mixed, _ = train(tmp_path, "mixed", changes={"epochs": 1, "optimiser": "sgd", "precision": "bf16-mixed"})
    assert mixed[0].weight.dtype == torch.float32
    assert not same_bits(full, mixed)
    torch.testing.assert_close(full[0].weight, mixed[0].weight, atol=0.002, rtol=0)


def test_one_row_is_refused_before_a_batch_norm_meets_it(tmp_path):
    model = network()
    options = {"seed": 0, "history": tmp_path / "h", "device": "cpu"}
    with pytest.raises(PointliftError, match=r"at least 2 usable rows.*there is 1: add shapes to the train split"):
        fit(model, losses_of(model), clouds(1), recipe(), **options)
    fit(model, losses_of(model), clouds(2), recipe(), **options)  # fewer than a batch are one batch
    assert json.loads((tmp_path / "h").read_text().splitlines()[-1])["step"] == 4


def test_gradients_are_clipped_at_lower_precision_too(tmp_path):
    changes = {"precision": "bf16-mixed", "gradient_clip": 0.01, "optimiser": "adamw", "epochs": 1}
    clipped, _ = train(tmp_path, "clipped", changes=changes)
    free, _ = train(tmp_path, "free", changes=changes | {"gradient_clip": None})
    assert not same_bits(clipped, free)


def test_the_state_of_torch_is_put_back_and_the_log_is_plain(tmp_path, caplog):
    model = network()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        train(tmp_path, "run", threads=2, model=model)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    assert "training epoch 4/4" in caplog.text
