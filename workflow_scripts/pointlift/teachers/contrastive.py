"""Training an image-text model on renders and class captions (after Radford et al. 2021, figure 3).

With class captions, many images of a batch share one text. So the texts of a batch are the K class captions, each once:
image to text is a cross-entropy over the classes, text to image one over the batch's images whose targets are spread
evenly over the images of that class.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointlift.contracts.errors import PointliftError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.recipe import Recipe
from pointlift.teachers.clip_network import ImageTextNetwork
from pointlift.teachers.token_table import CompactTokenTable
from pointlift.teachers.views import LabelledViews
from pointlift.training.optimisation import build_optimiser, learning_rate

_log = logging.getLogger(__name__)
_LARGEST_LOGIT_SCALE = float(np.log(100.0))
_EVALUATION_BATCH = 256
History = list[dict[str, float | int | None]]


@dataclass(frozen=True)
class Course:
    """What is trained, and how.

    network : an open_clip model. standardise : uint8 (B, 3, H, H) to its pixels. caption_ids : (K, T, L)
    int64, token ids of T captions of each of K classes.
    """

    network: ImageTextNetwork
    standardise: Callable[[Tensor], Tensor]
    caption_ids: Tensor
    recipe: Recipe

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device


def class_caption_loss(image_BD: Tensor, text_KD: Tensor, label_B: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE between B images and the K captions of all classes; unit vectors in, a scalar out.

    logits = scale * image text^T. Loss = (mean_b CE(logits_b over K, label_b)
    + mean over classes k in the batch of CE(logits_.k over B, uniform over the images of k)) / 2.
    """
    logits_BK = logit_scale * image_BD @ text_KD.T
    member_KB = F.one_hot(label_B, len(text_KD)).T.to(logits_BK.dtype)
    images_K = member_KB.sum(dim=1)
    per_class_K = -(member_KB * F.log_softmax(logits_BK.T, dim=1)).sum(dim=1) / images_K.clamp(min=1.0)
    text_to_image = per_class_K.sum() / (images_K > 0).sum()
    return (F.cross_entropy(logits_BK, label_B) + text_to_image) / 2.0


def zero_shot_accuracy(image_SVD: Tensor, text_KD: Tensor, label_S: Tensor) -> tuple[float, float]:
    """Share of views, and of shapes (mean of their views' unit vectors), nearest to the caption of their class."""
    unit_SVD = F.normalize(image_SVD, dim=-1)
    per_view = (unit_SVD @ text_KD.T).argmax(dim=-1) == label_S[:, None]
    per_shape = (unit_SVD.mean(dim=1) @ text_KD.T).argmax(dim=-1) == label_S
    return float(per_view.float().mean()), float(per_shape.float().mean())


@torch.no_grad()
def class_embedding(network: ImageTextNetwork, caption_ids_KTL: Tensor) -> Tensor:
    """One unit vector per class, (K, D) float32: the mean of the unit vectors of its T captions."""
    device = next(network.parameters()).device
    text_TD = network.encode_text(caption_ids_KTL.flatten(0, 1).to(device)).float()
    text_KTD = F.normalize(text_TD, dim=-1).unflatten(0, caption_ids_KTL.shape[:2])
    return F.normalize(text_KTD.mean(dim=1), dim=-1)


@torch.no_grad()
def evaluate(course: Course, views: LabelledViews | None) -> dict[str, float | None]:
    """Zero-shot accuracy on views (S, V, 3, H, H), the network in eval mode: per view, and per shape over its views."""
    course.network.eval()
    if views is None:
        return {"val_view_accuracy": None, "val_shape_accuracy": None}
    text_KD = class_embedding(course.network, course.caption_ids)
    batches = torch.from_numpy(views.images).flatten(0, 1).split(_EVALUATION_BATCH)
    image_ID = torch.cat(
        [course.network.encode_image(course.standardise(batch.to(course.device))) for batch in batches]
    )
    image_SVD = image_ID.float().unflatten(0, views.images.shape[:2])
    per_view, per_shape = zero_shot_accuracy(image_SVD, text_KD, torch.from_numpy(views.label).to(course.device))
    return {"val_view_accuracy": per_view, "val_shape_accuracy": per_shape}


def train(course: Course, train_views: LabelledViews, val_views: LabelledViews | None, seed: int) -> History:
    """Train the network in place on views (S, V, 3, H, H) uint8; one history row per epoch, as the engine's: epoch
    (from 0), step, lr and the epoch's values.

    An epoch sees every view once, mirrored at random; each step draws one of the T captions for every class.
    Everything random comes from ``seed``. Raises ``PointliftError`` naming the step when the loss is not finite.
    """
    generator = torch.Generator().manual_seed(stable_seed(seed, "train_teacher"))
    images_I3HW = torch.from_numpy(train_views.images).flatten(0, 1)
    label_I = torch.from_numpy(train_views.label).repeat_interleave(train_views.images.shape[1])
    course.network.visual.to(memory_format=torch.channels_last)  # a third faster for convolutions on a processor
    table = CompactTokenTable(course.network, course.caption_ids)
    with table:
        optimiser = build_optimiser(course.network.parameters(), course.recipe)
    batch_size = min(course.recipe.batch_size, len(label_I))
    steps = len(label_I) // batch_size
    history: History = []
    for epoch in range(course.recipe.epochs):
        course.network.train()
        losses = []
        order = torch.randperm(len(label_I), generator=generator)
        with table:
            for step, batch in enumerate(order[: steps * batch_size].split(batch_size)):
                _set_rate(optimiser, learning_rate(course.recipe, epoch * steps + step, course.recipe.epochs * steps))
                captions_KL = _draw_captions(table.ids_KTL, generator)
                losses.append(
                    _step(course, _mirror(images_I3HW[batch], generator), captions_KL, label_I[batch], optimiser)
                )
                if not np.isfinite(losses[-1]):
                    raise PointliftError(
                        f"train_teacher: the loss is {losses[-1]} at step {epoch * steps + step}; "
                        "lower the learning rate, add warm-up steps or set gradient_clip"
                    )
        loss = float(np.mean(losses))
        rate = optimiser.param_groups[0]["lr"]
        row = {"epoch": epoch, "step": (epoch + 1) * steps, "lr": rate, "contrastive_loss": loss}
        history.append({**row, **evaluate(course, val_views)})
        _log.info("%s", ", ".join(f"{key} {value}" for key, value in history[-1].items()))
    return history


def _step(
    course: Course,
    images_B3HW: Tensor,
    captions_KL: Tensor,
    label_B: Tensor,
    optimiser: torch.optim.Optimizer,
) -> float:
    network, device = course.network, course.device
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=course.recipe.precision == "bf16-mixed"):
        pixels_B3HW = course.standardise(images_B3HW.to(device)).contiguous(memory_format=torch.channels_last)
        image_BD = network.encode_image(pixels_B3HW)
        text_KD = network.encode_text(captions_KL.to(device))
    unit_BD, unit_KD = F.normalize(image_BD.float(), dim=-1), F.normalize(text_KD.float(), dim=-1)
    loss = class_caption_loss(unit_BD, unit_KD, label_B.to(device), network.logit_scale.exp())
    loss.backward()
    if course.recipe.gradient_clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), course.recipe.gradient_clip)
    optimiser.step()
    with torch.no_grad():
        network.logit_scale.clamp_(max=_LARGEST_LOGIT_SCALE)
    return float(loss.detach())


def _draw_captions(ids_KTL: Tensor, generator: torch.Generator) -> Tensor:
    classes, templates, _ = ids_KTL.shape
    return ids_KTL[torch.arange(classes), torch.randint(templates, (classes,), generator=generator)]


def _mirror(images_B3HW: Tensor, generator: torch.Generator) -> Tensor:
    mirrored_B = torch.rand(len(images_B3HW), generator=generator) < 0.5
    return torch.where(mirrored_B[:, None, None, None], images_B3HW.flip(-1), images_B3HW)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
