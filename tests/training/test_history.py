"""What a run says while it runs: quiet in a log, a bar on a terminal, curves that a reader of TensorBoard finds."""

import io
import logging
import sys

from pointlift.training import history
from pointlift.training.history import Progress, TensorBoard


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_few_lines_and_always_the_last(caplog, monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 12.0, 13.0])  # start, then the end of each epoch
    monkeypatch.setattr(history.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO):
        progress = Progress(4, 10, 0, "training")
        for epoch in range(4):
            progress.epoch(epoch, {"task_loss": 0.5})
        progress.close()
    said = [record.getMessage().split("  ")[0] for record in caplog.records]
    assert said == ["training epoch 1/4", "training epoch 3/4", "training epoch 4/4"]
    assert "task_loss 0.5" in caplog.text and "13.0 s" in caplog.text


def test_a_terminal_gets_a_bar_and_no_lines(caplog, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with caplog.at_level(logging.INFO):
        progress = Progress(1, 4, 2, "training")
        progress.step()
        progress.step()
        progress.epoch(0, {"task_loss": 0.25})
        progress.close()
    assert "100%" in terminal.getvalue() and "task_loss 0.25" in terminal.getvalue()
    assert caplog.text == ""


def read(folder) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("task_loss")]


def test_curves_can_be_read_back_and_go_on_after_a_kill(tmp_path):
    first = TensorBoard(tmp_path / "curves", 0)
    for step, value in ((5, 2.0), (10, 1.5), (15, 1.25)):
        first.add(step, {"task_loss": value})
    first.close()
    again = TensorBoard(tmp_path / "curves", 10)  # the checkpoint was written before step 10 was drawn
    again.add(10, {"task_loss": 1.0})
    again.close()
    assert read(tmp_path / "curves") == [(5, 2.0), (10, 1.0)]


def test_a_run_that_starts_anew_forgets_the_old_curves(tmp_path):
    for value in (2.0, 3.0):
        curves = TensorBoard(tmp_path / "curves", 0)
        curves.add(5, {"task_loss": value})
        curves.close()
    assert read(tmp_path / "curves") == [(5, 3.0)]
