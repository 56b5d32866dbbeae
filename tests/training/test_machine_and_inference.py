"""Device, threads and batches: nothing of them may show in what is computed."""

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import MachineError
from pointlift.operators.student_output import StudentOutput
from pointlift.training.inference import embed_clouds, run_batched
from pointlift.training.machine import choose_device, reproducible, seed_layers


class Spread(nn.Module):
    """Embeds a cloud as mean and maximum; the batch norm must be in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, points_BN3):
        embedding = self.norm(torch.cat([points_BN3.mean(1), points_BN3.amax(1)], dim=1))
        index = torch.zeros(len(points_BN3), 1, dtype=torch.long)
        return StudentOutput(embedding, embedding[:, None], points_BN3[:, :1], index, {})


def test_clouds_of_different_lengths_are_embedded_whole_and_in_order():
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(length, 3)).astype(np.float32) for length in (5, 9, 5, 2, 9)]
    found = embed_clouds(Spread().train(), clouds, torch.device("cpu"))
    expected = [np.concatenate([cloud.mean(0), cloud.max(0)]) for cloud in clouds]
    np.testing.assert_allclose(found, np.array(expected) / np.sqrt(1 + 1e-5), atol=1e-6)
    assert found.dtype == np.float32


def test_no_clouds_is_said():
    with pytest.raises(ValueError, match="no clouds"):
        embed_clouds(Spread(), [], torch.device("cpu"))


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_every_row_once_whatever_the_batch(batch_size):
    points = np.arange(30, dtype=np.float32).reshape(10, 1, 3)
    found = run_batched(lambda batch: batch.sum((1, 2)), points, torch.device("cpu"), batch_size)
    np.testing.assert_array_equal(found, points.sum((1, 2)))


def test_an_operation_without_a_reproducible_form_is_refused_on_the_cpu_and_state_is_put_back():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="deterministic"), reproducible(torch.device("cpu"), 2):
        assert torch.get_num_threads() == 2
        torch.rand(3)
        torch.empty(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]), accumulate=False)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_layers_draw_what_torchs_own_seeding_gives():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**40 + 5)
        wanted = torch.rand(3), torch.nn.functional.dropout(torch.ones(20), 0.5)
        seed_layers(2**40 + 5, torch.device("cpu"))
        found = torch.rand(3), torch.nn.functional.dropout(torch.ones(20), 0.5)
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


def test_cuda_in_vain_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(MachineError, match="allowed here: auto, cpu"):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_where_there_is_one():
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"
