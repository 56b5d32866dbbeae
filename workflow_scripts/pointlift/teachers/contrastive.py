"""Training an image-text model on renders and class captions (after Radford et al. 2021, figure 3).

With class captions, many images of a batch share one text. So the texts of a batch are the K class captions, each once:
image to text is a cross-entropy over the classes, text to image one over the batch's images whose targets are spread
evenly over the images of that class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointlift.contracts.recipe import Recipe
from pointlift.teachers.clip_network import ImageTextNetwork
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.token_table import CompactTokenTable
from pointlift.teachers.views import LabelledViews
from pointlift.training.data import TensorData
from pointlift.training.engine import fit

_LARGEST_LOGIT_SCALE = math.log(100.0)
_EVALUATION_BATCH = 256


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
    return mean_direction(text_TD.unflatten(0, caption_ids_KTL.shape[:2]))


def mean_direction(text_KTD: Tensor) -> Tensor:
    """Directions (K, D) of the means over T unit vectors; (K, T, D) of any length in: long ones weigh no more."""
    return F.normalize(F.normalize(text_KTD, dim=-1).mean(dim=1), dim=-1)


class CaptionContrast(nn.Module):
    """What is trained: an open_clip model, with its preprocessing and the captions it learns to tell pictures by."""

    caption_ids: Tensor

    def __init__(self, network: ImageTextNetwork, preprocessing: Preprocessing, caption_ids_KTL: Tensor) -> None:
        """``caption_ids_KTL``: int64, token ids of T captions of each of K classes."""
        super().__init__()
        self.network, self.preprocessing = network, preprocessing
        self.register_buffer("caption_ids", caption_ids_KTL)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``contrastive_loss`` of a batch: ``image`` (B, 3, H, H) uint8 at the network's size, ``label`` (B,).

        Draws from torch's CPU generator: which images are mirrored, and one of the T captions for every class.
        """
        with torch.no_grad():  # what the step before made of it
            self.network.logit_scale.clamp_(max=_LARGEST_LOGIT_SCALE)
        pixels_B3HW = self.preprocessing.standardise(_mirror(batch["image"]))
        image_BD = self.network.encode_image(pixels_B3HW.contiguous(memory_format=torch.channels_last))
        text_KD = self.network.encode_text(_draw_captions(self.caption_ids))
        unit_BD, unit_KD = F.normalize(image_BD.float(), dim=-1), F.normalize(text_KD.float(), dim=-1)
        with torch.autocast(unit_BD.device.type, enabled=False):  # the loss itself in float32 at any precision
            loss = class_caption_loss(unit_BD, unit_KD, batch["label"], self.network.logit_scale.exp())
        return {"contrastive_loss": loss}

    @torch.no_grad()
    def evaluate(self, views: LabelledViews) -> dict[str, float]:
        """Zero-shot accuracy on views (S, V, 3, H, H), per view, and per shape over its views. In eval mode."""
        text_KD = class_embedding(self.network, self.caption_ids)
        batches = torch.from_numpy(views.images).flatten(0, 1).split(_EVALUATION_BATCH)
        pixels = (self.preprocessing.standardise(batch.to(text_KD.device)) for batch in batches)
        image_ID = torch.cat([self.network.encode_image(batch) for batch in pixels])
        image_SVD = image_ID.float().unflatten(0, views.images.shape[:2])
        label_S = torch.from_numpy(views.label).to(text_KD.device)
        per_view, per_shape = zero_shot_accuracy(image_SVD, text_KD, label_S)
        return {"val_view_accuracy": per_view, "val_shape_accuracy": per_shape}


def train(
    network: ImageTextNetwork,
    preprocessing: Preprocessing,
    caption_ids_KTL: Tensor,
    train_views: LabelledViews,
    *,
    val_views: LabelledViews | None,
    recipe: Recipe,
    identity: str = "",
    **options: Any,
) -> None:
    """Train ``network`` in place on views (S, V, 3, H, H) uint8: an epoch sees every view once, mirrored at random.

    ``options``: seed, history, device, threads, checkpoints, curves, code ... of ``training.engine.fit``; history has
    ``contrastive_loss`` and, where there is a val split, ``evaluate``'s values of it.
    """
    network.visual.to(memory_format=torch.channels_last)  # a third faster for convolutions on a processor
    data = _views_data(train_views)
    with CompactTokenTable(network, caption_ids_KTL) as table:
        model = CaptionContrast(network, preprocessing, table.ids_KTL)
        judged = "" if val_views is None else _views_data(val_views).checksum()
        look = None if val_views is None else lambda _: model.evaluate(val_views)
        fit(model, model, data, recipe, on_epoch_end=look, identity=f"{identity} {judged}", **options)
    with torch.no_grad():
        network.logit_scale.clamp_(max=_LARGEST_LOGIT_SCALE)


def _views_data(views: LabelledViews) -> TensorData:
    """One row per view."""
    shapes, num_views = views.images.shape[:2]
    images = views.images.reshape(shapes * num_views, *views.images.shape[2:])
    return TensorData({"image": images, "label": np.repeat(views.label, num_views)})


def _draw_captions(ids_KTL: Tensor) -> Tensor:
    classes, templates, _ = ids_KTL.shape
    drawn_K = torch.randint(templates, (classes,)).to(ids_KTL.device)
    return ids_KTL[torch.arange(classes, device=ids_KTL.device), drawn_K]


def _mirror(images_B3HW: Tensor) -> Tensor:
    mirrored_B = (torch.rand(len(images_B3HW)) < 0.5).to(images_B3HW.device)
    return torch.where(mirrored_B[:, None, None, None], images_B3HW.flip(-1), images_B3HW)
