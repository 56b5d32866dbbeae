"""download_data as the workflow calls it."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile

import file_server


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


def fetching(repository, folder, name, urls, **environment):
    """The command that makes ``folder/name`` of a file that is fetched, and its environment."""
    program = str(repository / "workflow_scripts" / "download_data.py")
    settings = {"files": [{"name": "set.zip", "sha256": None, "bytes": None}]}
    command = [sys.executable, program, "--settings", json.dumps(settings), "--folder", str(folder / "data" / name)]
    command += ["--output", str(folder / "data" / name / "index.json"), "--downloads", str(folder / "downloads")]
    command += ["--lock", str(folder / "data.lock.json")]
    return command, {**os.environ, "POINTLIFT_URLS": json.dumps({"set.zip": urls}), **environment}


def archive_of(size):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("set/a.bin", bytes(size))
    return stream.getvalue()


def test_two_processes_fetch_one_file_once(tmp_path, repository):
    with file_server.running() as server:
        served = server.add("/set.zip", archive_of(2_000_000), pause_s=0.005)
        processes = []
        for name in ("one", "two"):
            command, environment = fetching(repository, tmp_path, name, [server.url("/set.zip")])
            processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        told = [process.communicate(timeout=60)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], told
        assert served.sent == len(served.content) and len(served.requests) == 1
        assert sum("NOBODY VOUCHES" in words for words in told) == 1
        assert sum("another process is at it" in words for words in told) == 1
        index = json.loads((tmp_path / "data" / "one" / "index.json").read_text())
        assert index == json.loads((tmp_path / "data" / "two" / "index.json").read_text())
        assert index["sources"] == {"set.zip": hashlib.sha256(served.content).hexdigest()}


def test_a_killed_job_leaves_no_final_name_and_the_next_goes_on(tmp_path, repository):
    with file_server.running() as server:
        served = server.add("/set.zip", archive_of(2_000_000), faults=1, stall_at=800_000)
        command, environment = fetching(repository, tmp_path, "one", [server.url("/set.zip")])
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        part = tmp_path / "downloads" / "set.zip.part"
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 500_000) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert part.exists() and not part.with_name("set.zip").exists() and not (tmp_path / "data" / "one").exists()
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
        assert served.requests[1] is not None
        assert served.sent <= len(served.content) + 300_000
        assert (tmp_path / "data" / "one" / "set" / "a.bin").stat().st_size == 2_000_000
        assert sorted(path.name for path in part.parent.iterdir() if path.suffix != ".lock") == ["set.zip"]


def test_offline_is_one_clear_line_of_error(tmp_path, repository):
    command, environment = fetching(repository, tmp_path, "one", ["https://example.org/set.zip"], POINTLIFT_OFFLINE="1")
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and result.stderr.startswith("error: set.zip: no source gives it")
    assert "Traceback" not in result.stderr
