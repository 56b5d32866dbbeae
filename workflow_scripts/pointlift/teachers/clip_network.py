"""Making open_clip networks, with one clear line for each way in which that can fail."""

from __future__ import annotations

import difflib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import open_clip
from open_clip.pretrained import download_pretrained_from_hf
from torch import Tensor

from pointlift.contracts.errors import ArtifactError, ConfigError, MachineError
from pointlift.contracts.hashing import digest
from pointlift.operators.weight_files import UNREADABLE, first_line
from pointlift.teachers.random_network import seeded

HUB_PREFIX = "hf-hub:"
#: What open_clip needs to know about a model.
_CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg")
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
Tokenizer = Callable[[list[str]], Tensor]
#: open_clip's CLIP or CustomTextCLIP: encode_image, encode_text, logit_scale, and the image tower ``visual``.
ImageTextNetwork: TypeAlias = Any


def architecture_name(model: str | dict[str, Any]) -> str:
    """The name open_clip knows an architecture by; an inline config is made known to it first.

    Raises ``ConfigError`` for a name open_clip does not have, with the nearest ones; for an ``hf-hub:`` name
    ``MachineError`` when its config cannot be fetched, ``ArtifactError`` when that is none.
    """
    if isinstance(model, dict):
        return _register(model)
    if model.startswith(HUB_PREFIX):
        _require_hub_config(model)
        return model
    if model in open_clip.list_models():
        return model
    near = difflib.get_close_matches(model, open_clip.list_models(), n=5, cutoff=0.4)
    raise ConfigError(
        f"teacher clip: open_clip {open_clip.__version__} has no architecture {model!r}; "
        f"near: {', '.join(near) or 'none'}; all: python -c 'import open_clip; print(open_clip.list_models())'"
    )


def untrained(model: str | dict[str, Any], seed: int, precision: str = "float32") -> ImageTextNetwork:
    """A network of this architecture with random weights that depend on ``seed`` alone."""
    name = architecture_name(model)
    with seeded("clip", seed):
        return _create(name, None, precision, load_weights=False, pretrained_text=False)


def from_tag(model: str | dict[str, Any], tag: str | None, precision: str) -> ImageTextNetwork:
    """A network with published weights: an architecture and one of its tags, or an ``hf-hub:`` name (tag None).

    Raises ``ConfigError`` for a tag this architecture does not have, ``MachineError`` when weights cannot be fetched,
    ``ArtifactError`` for fetched ones that are damaged or of another architecture.
    """
    name = architecture_name(model)
    known = open_clip.list_pretrained_tags_by_model(name)
    if tag is not None and not open_clip.is_pretrained_cfg(name, tag):
        raise ConfigError(f"teacher clip: {name} has no pretrained tag {tag!r}; its tags: {', '.join(known) or 'none'}")
    quick_gelu = bool((open_clip.get_pretrained_cfg(name, tag) or {}).get("quick_gelu")) if tag else False
    path = _fetch(name, tag)
    try:
        return _create(name, tag, precision, require_pretrained=True, force_quick_gelu=quick_gelu)
    except UNREADABLE as error:
        raise _unfit(path, name, error) from None


def from_file(model: str | dict[str, Any], weights: Path, precision: str) -> ImageTextNetwork:
    """A network with the weights of a local open_clip checkpoint, read by open_clip's own loader, without pickle.

    Raises ``ArtifactError`` for a file that is missing, damaged, or of another architecture.
    """
    name = architecture_name(model)
    if not weights.is_file():
        raise ArtifactError(f"{weights}: no such weights file; put it there, or change weights_file and paths.archives")
    network = _create(name, None, precision, load_weights=False, pretrained_text=False)
    try:
        open_clip.load_checkpoint(network, str(weights), strict=True, weights_only=True)
    except UNREADABLE as error:
        raise _unfit(weights, name, error) from None
    return network


def tokenizer(model: str | dict[str, Any]) -> Tokenizer:
    """open_clip's tokenizer for this architecture: texts to int64 (K, context length)."""
    with _quiet():
        return open_clip.get_tokenizer(architecture_name(model))


def _fetch(name: str, tag: str | None) -> Path:
    """The local file of published weights, from open_clip's cache or fetched into it. Raises ``MachineError``."""
    try:
        with _quiet():
            if tag is None:
                return Path(download_pretrained_from_hf(name.removeprefix(HUB_PREFIX)))
            return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, tag)))
    except UNREADABLE as error:
        raise _unfetched(f"the weights of {f'{name} ({tag})' if tag else name}", error) from None


def _require_hub_config(name: str) -> None:
    model_id, file_name = name.removeprefix(HUB_PREFIX), "open_clip_config.json"
    try:
        with _quiet():
            path = Path(download_pretrained_from_hf(model_id, filename=file_name))
    except UNREADABLE as error:
        raise _unfetched(f"{file_name} of {name}", error) from None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        missing = [key for key in _CONFIG_KEYS if key not in config]
    except UNREADABLE as error:
        raise ArtifactError(f"{path}: not an open_clip config ({first_line(error)}); fetch it again") from None
    if missing:
        raise ArtifactError(f"{path}: not an open_clip config, its model_cfg lacks {', '.join(missing)}")


def _unfetched(what: str, error: BaseException) -> MachineError:
    return MachineError(
        f"teacher clip: {what} could not be fetched ({first_line(error)}); connect once, or give a local weights_file"
    )


def _unfit(path: Path, name: str, error: BaseException) -> ArtifactError:
    text = first_line(error)
    if "size mismatch" in text or "key(s) in state_dict" in text:
        return ArtifactError(
            f"{path}: holds another architecture than {name} ({text}); set model to the one it was made with"
        )
    return ArtifactError(f"{path}: not a readable open_clip checkpoint ({text}); delete it and fetch it again")


def _register(config: dict[str, Any]) -> str:
    name = f"inline-{digest(config)}"
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(config), encoding="utf-8")
            open_clip.add_model_config(path)
    return name


def _create(name: str, tag: str | None, precision: str, **options: Any) -> ImageTextNetwork:
    try:
        with _quiet():
            return open_clip.create_model(name, tag, precision=_PRECISIONS[precision], weights_only=True, **options)
    except (TypeError, AssertionError, ZeroDivisionError) as error:
        raise ConfigError(f"teacher clip: open_clip cannot build model {name}: {first_line(error)}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip tells every step to the root logger, and leaves files open that it has read; inside, nobody hears."""
    root = logging.getLogger()
    disabled, root.disabled = root.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        root.disabled = disabled
