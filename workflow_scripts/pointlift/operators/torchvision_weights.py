"""Classifiers of torchvision with its own weights, fetched once: sources of teachers and of inflation."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError, MachineError
from pointlift.operators.image_networks import architecture_of, stages_of


def fetched_network(architecture: str, user: str, remedy: str) -> nn.Module:
    """The whole classifier with torchvision's default weights, kept where torch keeps its downloads.

    user, remedy : who asks and what to do instead, for the error. Raises ``MachineError`` when they cannot be fetched.
    """
    try:
        return torchvision.models.get_model(architecture, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        raise MachineError(
            f"{user}: torchvision's weights of {architecture} could not be fetched ({error}); connect once, or {remedy}"
        ) from None


def fetched_stages(name: str, user: str, remedy: str) -> dict[str, Tensor]:
    """Stage tensors of a residual network of torchvision, as ``image_networks.read_stages`` gives them from a file.

    Raises ``ConfigError`` for a network that torchvision has no weights of, ``MachineError`` as ``fetched_network``.
    """
    if not architecture_of(name).convolved_shortcuts:
        raise ConfigError(f"{user}: torchvision has no weights of {name}; {remedy}")
    return stages_of(fetched_network(name, user, remedy).state_dict(), name, f"torchvision's {name}")
