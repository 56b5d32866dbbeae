"""Teacher ``clip``: any image-text model of open_clip (Radford et al. 2021), pretrained, trained here, or random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import digest, stable_seed
from pointlift.contracts.prompts import one_place
from pointlift.contracts.shards import Array
from pointlift.contracts.teacher_blocks import TeacherSettings
from pointlift.teachers import clip_network, clip_patches, contrastive
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded, settle_batch_norm
from pointlift.teachers.teacher import Teacher, TeacherOutput
from pointlift.teachers.training_views import TrainingViews

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Settings(TeacherSettings):
    """Which model, and where its weights come from: exactly one source."""

    model: str | dict[str, Any]
    """An open_clip architecture, ``hf-hub:`` name, or open_clip model config (embed_dim, vision_cfg, text_cfg)."""
    pretrained: str | None = None
    """Tag of published weights, fetched once by open_clip."""
    initialisation: Literal["pretrained", "random"] = "pretrained"
    """pretrained: from ``pretrained``, ``weights_file``, ``training`` or the hub. random: the random-teacher arm."""
    random_seed: int = Field(default=0, ge=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the weights and the arithmetic. bfloat16 is faster on a processor that has it."""
    prompts: tuple[str, ...] = Field(default=("a render of a {}",), min_length=1)
    """Captions of a class; {} is its name. Several are averaged."""
    mean: tuple[float, float, float] | None = None
    """Only where a local checkpoint wants other pixels than its architecture's default says."""
    std: tuple[float, float, float] | None = None
    _one_place = field_validator("prompts")(one_place)

    @field_validator("model")
    @classmethod
    def _whole_config(cls, model: str | dict[str, Any]) -> str | dict[str, Any]:
        needed = ("embed_dim", "vision_cfg", "text_cfg")
        missing = [key for key in needed if key not in model] if isinstance(model, dict) else []
        if missing:
            raise ValueError(f"an inline open_clip config needs {', '.join(needed)}; missing: {', '.join(missing)}")
        return model

    @model_validator(mode="after")
    def _one_source(self) -> Settings:
        hub = isinstance(self.model, str) and self.model.startswith("hf-hub:")
        given = {
            "pretrained": self.pretrained is not None,
            "weights_file": self.weights_file is not None,
            "training": self.training is not None,
            "initialisation: random": self.initialisation == "random",
            "an hf-hub: model": hub and self.initialisation != "random",
        }
        chosen = [name for name, is_given in given.items() if is_given]
        if len(chosen) != 1:
            told = ", ".join(chosen) or "none"
            raise ValueError(f"weights come from exactly one of {', '.join(given)}; given: {told}")
        return self

    def learns_from_labels(self) -> bool:
        """Its captions name the classes."""
        return True

    def reads_text(self) -> bool:
        """Images and texts are in one space."""
        return True


class ClipTeacher(Teacher):
    """A frozen open_clip model: images and texts in one space."""

    nonnegative = False

    def __init__(self, settings: Settings, network: clip_network.ImageTextNetwork) -> None:
        super().__init__(_preprocessing(settings, network))
        self.settings, self.network = settings, network
        self._tokenizer: clip_network.Tokenizer | None = None
        self.freeze()
        blank = torch.zeros(1, self.preprocessing.size, self.preprocessing.size, 3, dtype=torch.uint8)
        self.width = int(self.encode(blank).embedding.shape[1])

    def _encode(self, pixels_B3HW: Tensor, tokens: bool) -> TeacherOutput:
        # The weights themselves are of the chosen precision: autocast would cast them anew for every batch.
        pixels_B3HW = pixels_B3HW.to(_DTYPES[self.settings.precision])
        tower = self.network.visual
        if not tokens or not hasattr(tower, "forward_intermediates"):
            return TeacherOutput(self.network.encode_image(pixels_B3HW).float(), None)
        found = tower.forward_intermediates(pixels_B3HW, indices=[-1], normalize_intermediates=True, output_fmt="NCHW")
        tokens_BPD = found["image_intermediates"][0].flatten(2).transpose(1, 2)
        return TeacherOutput(found["image_features"].float(), tokens_BPD.float().contiguous())

    def _encode_patches(self, pixels_B3HW: Tensor) -> Tensor:
        pixels_B3HW = pixels_B3HW.to(_DTYPES[self.settings.precision])
        return clip_patches.project(self.network.visual, pixels_B3HW).float().contiguous()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids of texts by open_clip's tokenizer of this model, int64 (K, context length)."""
        if self._tokenizer is None:
            self._tokenizer = clip_network.tokenizer(self.settings.model)
        return self._tokenizer(list(texts))

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Embed K texts: (K, D) float32, as the network gives it (not normalised)."""
        return self.network.encode_text(self.tokenize(texts).to(self.device)).float()

    def encode_class_prompts(self, class_names: Sequence[str], prompts: Sequence[str] | None = None) -> Tensor:
        """One unit vector per class, (K, D) float32: the mean of its prompts' unit vectors (same paper, 3.1.4).

        prompts : with {} for the name; None: those of the block, which are also its captions in training. Raises
        ``ConfigError`` for two classes whose prompts the network reads as the same.
        """
        captions = class_captions(self.settings.prompts if prompts is None else prompts, class_names)
        ids_KTL = self.tokenize(captions).unflatten(0, (len(class_names), -1))
        _require_different(class_names, ids_KTL)
        return contrastive.class_embedding(self.network, ids_KTL)


def build(settings: Settings, weights: Path | None) -> ClipTeacher:
    """Make the frozen teacher. ``weights``: the file train_teacher made, or the resolved ``weights_file``; else None.

    Raises ``ConfigError`` for an unknown architecture or tag, ``ArtifactError`` for a file that does not hold this
    model, ``MachineError`` when published weights cannot be fetched; each in one line.
    """
    needs_file = settings.training is not None or settings.weights_file is not None
    if needs_file != (weights is not None):
        source = settings.weights_file or ("train_teacher" if needs_file else "no file")
        raise ConfigError(f"teacher clip: its weights come from {source}, but the file handed over is {weights}")
    if weights is not None:
        network = clip_network.from_file(settings.model, weights, settings.precision)
    elif settings.initialisation == "random":
        network = _random(settings)
    else:
        network = clip_network.from_tag(settings.model, settings.pretrained, settings.precision)
    return ClipTeacher(settings, network)


def train(settings: Settings, views: TrainingViews, seed: int, **options: Any) -> dict[str, Tensor]:
    """Train the model of a block with ``training``; returns its weights, of the last epoch, as an open_clip checkpoint.

    options : history, device, threads, checkpoints, curves and code of ``training.engine.fit``. The history has
    contrastive_loss and, where there is a val split, the zero-shot accuracy on it per view and per shape.
    """
    if settings.training is None:
        raise ConfigError("train_teacher: this teacher's block has no training")
    class_names = views.class_names()
    network = clip_network.untrained(settings.model, stable_seed(seed, "clip"))
    preprocessing = _preprocessing(settings, network)

    def resized(images_VHW3: Array) -> Array:
        return preprocessing.resize(torch.from_numpy(images_VHW3)).contiguous().numpy()

    train_views, val_views = views.labelled("train", resized), views.labelled("val", resized)
    if train_views is None:
        raise ArtifactError("train_teacher: the dataset has no usable shape in its train split")
    ids_KTL = clip_network.tokenizer(settings.model)(class_captions(settings.prompts, class_names))
    contrastive.train(
        network,
        preprocessing,
        ids_KTL.unflatten(0, (len(class_names), -1)),
        train_views,
        val_views=val_views,
        recipe=settings.training.recipe,
        seed=stable_seed(seed, "train_teacher"),
        identity=digest(settings.model_dump(mode="json")),
        **options,
    )
    return {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}


def class_captions(prompts: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """The captions of every class, class by class, in the order of ``prompts``; names as they are spoken."""
    spoken = [name.replace("_", " ").replace("-", " ").lower() for name in class_names]
    return [prompt.format(name) for name in spoken for prompt in prompts]


def _require_different(class_names: Sequence[str], ids_KTL: Tensor) -> None:
    """Tokenizers cut off what is too long; a name at the end of a long prompt would go unread."""
    first: dict[bytes, str] = {}
    for name, ids_TL in zip(class_names, ids_KTL, strict=True):
        other = first.setdefault(ids_TL.numpy().tobytes(), name)
        if other != name:
            raise ConfigError(
                f"teacher clip: the prompts of {other!r} and {name!r} are the same to this model, which reads "
                f"{ids_TL.shape[1]} tokens; shorten the prompts, or tell the classes apart by name"
            )


def _random(settings: Settings) -> clip_network.ImageTextNetwork:
    network = clip_network.untrained(settings.model, settings.random_seed, settings.precision)
    tower, dtype = network.visual, _DTYPES[settings.precision]
    with seeded("clip", settings.random_seed, "batch norm"):
        settle_batch_norm(tower, lambda pixels_B3HW: tower(pixels_B3HW.to(dtype)), _size(network))
    return network


def _size(network: clip_network.ImageTextNetwork) -> int:
    wanted = network.visual.preprocess_cfg
    size = wanted["size"]
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    if height != width:
        raise ConfigError(f"teacher clip: the model looks at {width} x {height} pixels; square ones alone are offered")
    return height


def _preprocessing(settings: Settings, network: clip_network.ImageTextNetwork) -> Preprocessing:
    wanted = network.visual.preprocess_cfg
    return Preprocessing(
        _size(network),
        settings.mean or wanted["mean"],
        settings.std or wanted["std"],
        interpolation="bilinear" if wanted["interpolation"] == "bilinear" else "bicubic",
    )
