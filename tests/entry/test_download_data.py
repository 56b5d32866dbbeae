"""download_data as the workflow calls it."""

import hashlib
import json
import subprocess
import sys
import zipfile


def test_an_archive_becomes_a_folder_and_an_index(tmp_path, repository):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("set/a.off", "OFF")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    command = [sys.executable, str(repository / "workflow_scripts" / "download_data.py")]
    command += ["--archive", str(archive), "--folder", str(tmp_path / "raw")]
    command += ["--output", str(tmp_path / "raw" / "index.json"), "--settings"]
    (tmp_path / "raw").mkdir()  # Snakemake makes the folder of an output before the job
    for _ in range(2):
        subprocess.run([*command, json.dumps({"archive_sha256": sha256})], check=True)
        index = json.loads((tmp_path / "raw" / "index.json").read_text())
        assert index == {"archive": "set.zip", "bytes": 3, "files": 1, "sha256": sha256}
        assert (tmp_path / "raw" / "set" / "a.off").read_text() == "OFF"
        (tmp_path / "raw" / "index.json").unlink()
    wrong = subprocess.run([*command, '{"archive_sha256": "00"}'], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: ") and "must be 00" in wrong.stderr
