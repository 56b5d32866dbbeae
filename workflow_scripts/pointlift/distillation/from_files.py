"""A distillation from the files of the stages before it to the files it leaves."""

from __future__ import annotations

from argparse import Namespace

from torch import nn

from pointlift.contracts.command import training_options
from pointlift.distillation.arms import apply_arm
from pointlift.distillation.methods import build_method, method_settings
from pointlift.distillation.pairs import READ_STAGES, classes_of, read_split_pairs
from pointlift.distillation.projector import save_projector
from pointlift.distillation.training import DistillationSettings, distil
from pointlift.operators.student_output import shape_of
from pointlift.operators.target_statistics import target_statistics


def distil_from_files(student: nn.Module, settings: DistillationSettings, arguments: Namespace) -> None:
    """Train the student in place; its method's head and the history are left beside ``arguments.output``.

    arguments : the paths of ``train_student``, and device, threads, checkpoints, curves and code.
    """
    block = method_settings(settings.method or {})
    shards = {name: getattr(arguments, name) for name in READ_STAGES}
    pairs, val = read_split_pairs(shards, arguments.manifest, arguments.exclude, settings.max_quarantined)
    pairs, val = pairs.for_method(block.reads()), val and val.for_method(block.reads())
    pairs = apply_arm(pairs, settings.arm, settings.seed, classes_of(arguments.manifest))
    shape, targets = shape_of(student), None if pairs.target is None else target_statistics(pairs.target)
    method = build_method(block, shape, targets, settings.seed)
    distil(student, method, pairs, settings, arguments.output.parent, val=val, **training_options(arguments))
    save_projector(arguments.projector, method, block.model_dump(mode="json"), shape, targets)
