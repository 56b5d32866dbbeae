"""Which test items are copies of one object: they are right or wrong together, and count as one to an interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import OBJECT, open_test_split
from pointlift.tasks.judgement import Judgement


def told_apart(judgement: Judgement, manifest: Path) -> Judgement:
    """The judgement with the object of each of its test ids, where the manifest is of a set with copies.

    Where it is not, the same judgement. Where it does not name the object of a test item, ``copies_unknown``: half a
    list would make an interval of nothing. Raises ``ArtifactError`` for a test id that the manifest does not have.
    """
    rows = open_test_split(manifest)
    if OBJECT not in rows.columns:
        return judgement
    of = dict(zip(rows["shape_id"], rows[OBJECT], strict=True))
    missing = [test_id for test_id in judgement.test_ids if test_id not in of]
    if missing:
        raise ArtifactError(f"{manifest}: has no {missing[0]}, which was tested; run snakemake to make both anew")
    objects = tuple(of[test_id] for test_id in judgement.test_ids)
    if not all(objects):
        return replace(judgement, copies_unknown=True)
    return replace(judgement, clusters=objects)
