"""The folder in which a dataset's raw files lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import file_sha256, stable_seed

SplitName = Literal["train", "val", "test"]
LARGEST_LIST = 1 << 24  # bytes
#: What an error says of counts that nobody of this project could see in the files.
UNCHECKED = "the official counts are published or recalled, not checked against the data itself"


def require_folder(folder: Path | None, kind: str) -> Path:
    """The folder, or ``ArtifactError`` that says how to get one."""
    if folder is None:
        raise ArtifactError(f"a dataset of kind {kind} needs files: name its `folder` in config.yaml")
    if not Path(folder).is_dir():
        raise ArtifactError(
            f"{folder}: no such folder; put the files of this dataset of kind {kind} there, or change its `folder` "
            "or paths.data in config.yaml"
        )
    return Path(folder)


def require_below(folder: Path | None, kind: str, name: str, file: str) -> Path:
    """``folder/name`` or ``folder`` itself, whichever holds ``file``."""
    root = require_folder(folder, kind)
    for place in (root / name, root):
        if (place / file).exists():
            return place
    raise ArtifactError(f"{root}: holds no {name}/{file}; it must be laid out as the {kind} archive is")


def require_counts(
    kind: str,
    where: Path,
    found: Mapping[SplitName, int],
    official: Mapping[SplitName, int],
    partial: bool,
    *,
    checked: bool,
) -> None:
    """Raise ``ArtifactError`` unless a split has as many shapes as the published set, or the block says ``partial``.

    ``checked`` : whether the official counts were seen in the data itself; the error says so where they were not.
    """
    if partial or dict(found) == dict(official):
        return
    told = ", ".join(f"{found[split]} {split} (official {official[split]})" for split in official)
    raise ArtifactError(
        f"{where}: {told}: not the whole set of kind {kind}, or files of another variant"
        f"{'' if checked else f' ({UNCHECKED})'}; get the official files, or say `partial: true` in the dataset's "
        "block, which then stands in its protocol"
    )


def checksum(path: Path) -> str:
    """sha256 of the file, "" when it cannot be read or is no plain file."""
    try:
        return file_sha256(path) if path.is_file() else ""
    except OSError:
        return ""


def read_lines(path: Path) -> list[str]:
    """The lines of a list file that are not empty, stripped. Raises ``ArtifactError`` when it cannot be read."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device need never end
            raise ArtifactError(f"{path}: a folder, a pipe or a device, must be a list file")
        if path.stat().st_size > LARGEST_LIST:
            raise ArtifactError(f"{path}: larger than {LARGEST_LIST} bytes, which no list file is")
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: the list cannot be read ({error}); get the dataset's files again") from None


def split_or_val(shape_id: str, is_test: bool, purpose: str, val_share: float) -> SplitName:
    """test, or train of which a share is val, by a stable hash of the id: for sets without an official val split."""
    if is_test:
        return "test"
    return "val" if stable_seed(shape_id, purpose, "val") / 2**63 < val_share else "train"
