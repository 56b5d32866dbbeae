"""ImageNet classifiers of torchvision without their classifiers: trunks for teachers."""

from __future__ import annotations

from pathlib import Path

import torchvision
from torch import nn

from pointlift.operators.torchvision_weights import fetched_network
from pointlift.operators.weight_files import load_strictly


def trunk_of(network: nn.Module) -> nn.Module:
    """All up to the last feature map: ``features`` where there is such a part, else all but pooling and classifier."""
    features = getattr(network, "features", None)
    return features if isinstance(features, nn.Module) else nn.Sequential(*list(network.children())[:-2])


def untrained(architecture: str) -> nn.Module:
    """The whole classifier with weights drawn from torch's global generator."""
    return torchvision.models.get_model(architecture, weights=None)


def pretrained(architecture: str, weights: Path | None, kind: str) -> nn.Module:
    """The whole classifier with the weights of a local file, or torchvision's default ones, fetched once.

    kind : of the teacher, for the error. Raises ``ArtifactError`` for a file that does not hold exactly this network,
    ``MachineError`` when torchvision's weights cannot be fetched.
    """
    if weights is not None:
        network = untrained(architecture)
        load_strictly(network, weights)
        return network
    remedy = "weights_file" if kind == "imagenet_cnn" else "backbone_file"
    return fetched_network(architecture, f"teacher {kind}", f"give a local {remedy}")
