"""A network whose middle may come from a 2D network: what it says of its parts, and how its stages are filled.

Who trains such a network needs no more than this file: ``takes_image_weights`` says whether it is one,
``image_source`` which 2D weights fit, ``load_image_stages`` fills it, ``stage_groups`` gives the groups of a module
that holds it, for ``operators.regimes``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from pointlift.operators.inflation import Inflation, Origin, load_inflated
from pointlift.operators.regimes import TensorGroups, group_tensors


class ImageStages(nn.Module, ABC):
    """Input parts, stages and an output; the stages may be filled from a 2D network.

    image_source : name of the 2D architecture that fits, as its source names it.
    input_parts, stage_parts : submodules (or tensors) as ``regimes.group_tensors`` takes them; all else is output.
    copied : tensors are taken as they are, as the network's own layers are those of images; nothing is inflated.
    """

    image_source: str
    input_parts: tuple[str, ...]
    stage_parts: tuple[str, ...]
    copied: bool = False

    @abstractmethod
    def source_names(self, excluded: Collection[int] = ()) -> Mapping[str, str]:
        """From the names of this network's stage tensors to those of the 2D source, without counters of batch norms.

        excluded : numbers of stages, from 1, that keep their own weights. Raises ``ConfigError`` for one that is not.
        """

    def load_image_stages(
        self, source: Mapping[str, Tensor], inflation: Inflation, excluded: Collection[int] = ()
    ) -> dict[str, Origin]:
        """Fill the stages in place from the stage tensors of the 2D network; says where each tensor came from.

        Raises ``ArtifactError`` when a tensor finds no source or one of another shape; nothing is changed then.
        """
        names = self.source_names(excluded)
        return load_inflated(self, names.keys(), source, names, None if self.copied else inflation)


def takes_image_weights(network: nn.Module) -> bool:
    """Whether the stages of a network may be filled from a 2D one."""
    return isinstance(network, ImageStages)


def stage_groups(module: nn.Module, student: ImageStages) -> TensorGroups:
    """The groups of all tensors of ``module``, which is the student, or holds it: heads beside it are output.

    Names are those of the state of ``module``. Raises ``ValueError`` when the student is not part of it.
    """
    for name, part in module.named_modules():
        if part is student:
            prefix = f"{name}." if name else ""
            inputs, stages = (
                [prefix + inside for inside in parts] for parts in (student.input_parts, student.stage_parts)
            )
            return group_tensors(module, inputs, stages)
    raise ValueError("the student is no part of the module")
