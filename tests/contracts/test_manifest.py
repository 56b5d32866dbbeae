"""Manifests that nobody wrote as they stand are told, not tripped over."""

import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import COLUMNS, read_manifest


@pytest.mark.parametrize(
    ("label", "split", "told"),
    [
        ("two", "train", "a label is no number"),
        ("9" * 30, "train", "a label is no number"),
        ("2", "dev", "unknown split"),
    ],
)
def test_a_damaged_entry_is_told(tmp_path, label, split, told):
    row = {**dict.fromkeys(COLUMNS, "a"), "label": label, "split": split}
    path = tmp_path / "m.csv"
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(ArtifactError, match=rf"m.csv: {told}"):
        read_manifest(path)
