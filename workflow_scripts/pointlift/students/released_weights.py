"""Filling a student, and the head of a released classifier, from a file that somebody else published."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.released import PRETRAINED, ReleasedFile, student_mistakes
from pointlift.operators.inflation import Origin
from pointlift.operators.weight_files import listed, read_weights, without_counters
from pointlift.students.released_layouts import (
    HEADS,
    LEFT_OUT,
    Piece,
    as_it_is,
    build_head,
    dgcnn_twins,
    encoder_pieces,
)

log = logging.getLogger(__name__)
_CLASS_TOKENS = ("class_token", "class_position")


def fill_released(
    student: nn.Module, block: Mapping[str, Any], path: Path | None, settings: ReleasedFile
) -> tuple[nn.Module | None, dict[str, Origin]]:
    """Fill ``student``, in place, from a released file: its head (None of an encoder alone), and each tensor's origin.

    block : the student's, resolved. A class token that a pretraining had none of stays as it is. Every tensor of the
    student and of the head must be in the file, and every tensor of the file in one of them (but what was there for the
    pretraining alone), of the right shape and finite. Raises ``ArtifactError`` that lists what is not, ``ConfigError``
    for a student that is another network; nothing is changed then.
    """
    wrong = student_mistakes(settings.layout, dict(block))
    if wrong:
        raise ConfigError(f"the student is not the network of layout {settings.layout}: {'; '.join(wrong)}")
    if path is None:
        raise ConfigError(f"{settings.file}: where it lies was not given")
    if settings.sha256 is not None and path.is_file() and file_sha256(path) != settings.sha256:
        raise ArtifactError(f"{path}: not the file whose sha256 the run's block names; get that one, or mend the block")
    found = without_counters(read_weights(path))
    pieces, head = encoder_pieces(settings.layout, student), None
    both = nn.ModuleDict({"student": student})
    whole = [piece._replace(ours=f"student.{piece.ours}") for piece in pieces]
    if settings.layout not in PRETRAINED:
        both["head"] = head = _head(settings, student, found)
        whole += _head_pieces(settings, head)
    made = _made(both, whole, found, settings, path)
    both.load_state_dict(made, strict=False)
    log.info("%d tensors of %s fill %d of the student and its head", len(found), path.name, len(made))
    return head, {piece.ours: Origin(" - ".join(piece.theirs), _how(piece)) for piece in pieces}


def _how(piece: Piece) -> str:
    return "copied" if len(piece.theirs) == 1 else "the bias before a batch norm is in its running mean"


def _head(settings: ReleasedFile, student: nn.Module, found: Mapping[str, Tensor]) -> nn.Module:
    """A head for as many classes as the file's last layer has; for any number where it has none, which is then told."""
    bias = found.get(f"{list(HEADS[settings.layout].values())[-1]}.bias", torch.zeros(1))
    width: int = student.width  # type: ignore[assignment]
    return build_head(settings.layout, width, bias.numel())


def _head_pieces(settings: ReleasedFile, head: nn.Module) -> list[Piece]:
    names = HEADS[settings.layout]
    ours = (name for name in without_counters(head.state_dict()))
    parts = [name.partition(".") for name in ours]
    return [Piece(f"head.{place}.{kind}", (f"{names[place]}.{kind}",), as_it_is) for place, _, kind in parts]


def _made(
    both: nn.Module, pieces: list[Piece], found: Mapping[str, Tensor], settings: ReleasedFile, path: Path
) -> dict[str, Tensor]:
    """Our tensors by name. Raises ``ArtifactError`` for all that is missing, over, differs or is of another shape."""
    wanted = without_counters(both.state_dict())
    used = {name for piece in pieces for name in piece.theirs}
    made, reshaped = dict[str, Tensor](), []
    for piece in pieces:
        if all(name in found for name in piece.theirs):
            tensor = _try(piece, found)
            if tensor is None or tensor.shape != wanted[piece.ours].shape:
                shapes = ", ".join(str(tuple(found[name].shape)) for name in piece.theirs)
                reshaped.append(f"{piece.theirs[0]} {shapes} for {tuple(wanted[piece.ours].shape)}")
            else:
                made[piece.ours] = tensor
    twins = {name: dgcnn_twins(name) for name in found} if settings.layout == "dgcnn" else {}
    told_twice = {name for name, twin in twins.items() if twin in used}
    over = set(found) - used - told_twice - {name for name in found if name.startswith(_left_out(settings))}
    unfilled = [name for name in wanted if name not in {piece.ours for piece in pieces}]
    problems = listed("missing", sorted(used - set(found)))
    problems += listed("unexpected", sorted(over)) + listed("of another shape", reshaped)
    problems += listed("differ from their twins", _differing(found, twins, told_twice))
    problems += listed("not finite", [name for name in sorted(used & set(found)) if not found[name].isfinite().all()])
    problems += listed("without a source", [name for name in unfilled if not name.endswith(_CLASS_TOKENS)])
    if problems:
        raise ArtifactError(
            f"{path}: not a file of layout {settings.layout} for this student: {'; '.join(problems)}; name the layout "
            "it has, or a student with its sizes"
        )
    return made


def _try(piece: Piece, found: Mapping[str, Tensor]) -> Tensor | None:
    """The tensor a piece makes; None where those of the file cannot even be put together."""
    try:
        return piece.make(*(found[name] for name in piece.theirs))
    except (RuntimeError, IndexError):
        return None


def _left_out(settings: ReleasedFile) -> tuple[str, ...]:
    return LEFT_OUT.get(settings.layout, ())


def _differing(found: Mapping[str, Tensor], twins: Mapping[str, str | None], told_twice: set[str]) -> list[str]:
    pairs = [(name, found.get(str(twins[name]))) for name in sorted(told_twice)]
    return [name for name, twin in pairs if twin is not None and not torch.equal(found[name], twin)]
