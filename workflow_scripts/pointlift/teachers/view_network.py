"""What teachers that are trained on views share: preprocessing, first weights, and which file they come from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.teacher_blocks import ViewTeacherSettings
from pointlift.teachers import imagenet_network
from pointlift.teachers.preprocessing import Preprocessing


def preprocessing_of(settings: ViewTeacherSettings) -> Preprocessing:
    """Pixels in [0, 1], standardised where the block says how."""
    return Preprocessing(settings.input_size, settings.mean, settings.std, interpolation=settings.interpolation)


def require_weights(settings: ViewTeacherSettings, weights: Path | None) -> None:
    """Raise ``ConfigError`` unless a weights file is handed over just where the block asks for one."""
    needs_file = settings.training is not None or settings.weights_file is not None
    if needs_file != (weights is not None):
        source = settings.weights_file or ("train_teacher" if needs_file else "no file")
        raise ConfigError(
            f"teacher {settings.kind}: its weights come from {source}, but the file handed over is {weights}"
        )


def first_network(settings: ViewTeacherSettings, architecture: str, backbone: Path | None) -> nn.Module:
    """The ImageNet classifier whose trunk training starts from; random ones draw from torch's global generator.

    backbone : the resolved ``backbone_file``. Raises ``ConfigError`` when block and file disagree.
    """
    if (settings.backbone_file is None) != (backbone is None):
        raise ConfigError(
            f"teacher {settings.kind}: backbone_file is {settings.backbone_file!r}, the file handed over is {backbone}"
        )
    if settings.initialisation == "random":
        return imagenet_network.untrained(architecture)
    return imagenet_network.pretrained(architecture, backbone, settings.kind)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Its weights as train_teacher saves them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
