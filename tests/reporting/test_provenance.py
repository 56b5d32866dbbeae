import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pointlift.reporting import provenance


def test_versions_and_digest_are_told_and_what_is_handed_in_wins() -> None:
    found = provenance.gather({"commit": "handed in"}, {"runs": {"mcd": 1}})
    assert found["commit"] == "handed in"
    assert found["versions"]["numpy"] == np.__version__
    assert found["config digest"] != provenance.gather({}, {"runs": {"mcd": 2}})["config digest"]
    assert "config digest" not in provenance.gather({}, {})


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_says_when_files_differ_from_it(tmp_path: Path) -> None:
    assert provenance._commit(tmp_path).startswith("unknown")
    (tmp_path / "file").write_text("a", encoding="utf-8")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "file"], [*identity, "commit", "-q", "-m", "m"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = provenance._commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("b", encoding="utf-8")
    assert provenance._commit(tmp_path) == f"{clean} with uncommitted changes"
