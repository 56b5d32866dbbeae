"""Files from a server on loopback that fails in every way we know: whole and checked, or not there at all."""

import hashlib
import io
import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest

import file_server
from pointlift.contracts.errors import ArtifactError, MachineError
from pointlift.contracts.raw_data import RawFile
from pointlift.datasets.sources import Places, obtain
from pointlift.datasets.transfer import Patience

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]
CUT = 3 * len(CONTENT) // 10
PATIENCE = Patience(connect_s=5, stall_s=5, tries=3, pause_s=0.01, spare_bytes=0)


@pytest.fixture
def server():
    with file_server.running() as running:
        yield running


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "downloads", tmp_path / "data.lock.json")


def raw(*urls, sha256=SHA256, size=1_000_003, name="sets/set.bin"):
    return RawFile(name=name, urls=urls, sha256=sha256, bytes=size)


def names(places):
    """Everything in the folder of downloads but lock files."""
    files = (path.relative_to(places.downloads).as_posix() for path in places.downloads.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.endswith(".lock"))


def require_whole(found, places):
    assert found.path == places.downloads / "sets/set.bin"
    assert (found.path.read_bytes(), found.sha256) == (CONTENT, SHA256)
    assert names(places) == ["sets/set.bin"]


def test_a_file_comes_whole_and_once(server, places):
    served = server.add("/set", CONTENT)
    for _ in range(2):
        require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    assert (served.sent, served.requests) == (len(CONTENT), [None])


def test_a_cut_is_resumed_and_no_byte_sent_twice(server, places):
    served = server.add("/set", CONTENT, faults=1, cut_at=CUT)
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    begun_again = int(served.requests[1].removeprefix("bytes=").removesuffix("-"))
    assert CUT - (1 << 16) <= begun_again <= CUT  # one block in flight may be lost
    assert served.sent == CUT + len(CONTENT) - begun_again


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(server, places):
    served = server.add("/set", CONTENT, faults=1, cut_at=CUT)
    with pytest.raises(ArtifactError, match="attempts brought nothing new"):
        obtain(raw(server.url("/set")), places, replace(PATIENCE, tries=1))
    assert names(places) == ["sets/set.bin.part", "sets/set.bin.part.json"]
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    assert served.sent < 1.1 * len(CONTENT)


def test_many_cuts_that_each_bring_something_are_outlived(server, places):
    served = server.add("/set", CONTENT, pause_s=0.0)
    served.faults, served.cut_at = 1, CUT
    pauses = []
    original = file_server.Handler._send

    def cut_further_each_time(handler, record, start, failing):
        record.cut_at = start + 150_000
        record.faults = 1 if start < 700_000 else 0
        pauses.append(start)
        original(handler, record, start, start < 700_000)

    file_server.Handler._send = cut_further_each_time
    try:
        require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    finally:
        file_server.Handler._send = original
    assert len(pauses) > PATIENCE.tries


def test_a_server_without_ranges_starts_anew(server, places):
    served = server.add("/set", CONTENT, faults=1, cut_at=CUT, ranges=False)
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    assert served.sent == CUT + len(CONTENT)


@pytest.mark.parametrize("etag", ['"two"', None])
def test_a_file_that_changed_after_the_cut_is_not_mixed(server, places, etag):
    served = server.add("/set", OTHER, faults=1, cut_at=CUT)
    with pytest.raises(ArtifactError):
        obtain(raw(server.url("/set"), sha256=None), places, replace(PATIENCE, tries=1))
    served.content, served.etag = CONTENT, etag
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)


def test_without_a_sign_that_it_is_the_same_file_a_transfer_starts_anew(server, places):
    served = server.add("/set", CONTENT, faults=1, cut_at=CUT, etag=None)
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    assert served.requests == [None, None]


def test_a_part_of_unknown_origin_is_not_trusted(server, places):
    served = server.add("/set", CONTENT)
    (places.downloads / "sets").mkdir(parents=True)
    (places.downloads / "sets" / "set.bin.part").write_bytes(OTHER[:5000])
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    assert served.requests == [None]


def test_a_wrong_checksum_is_removed_and_the_other_mirror_tried(server, places, caplog):
    server.add("/bad", OTHER)
    server.add("/good", CONTENT)
    require_whole(obtain(raw(server.url("/bad"), server.url("/good")), places, PATIENCE), places)
    assert "must be" in caplog.text
    server.add("/good", OTHER)
    (places.downloads / "sets" / "set.bin").unlink()
    with pytest.raises(ArtifactError, match="no source gives it") as caught:
        obtain(raw(server.url("/bad"), server.url("/good")), places, PATIENCE)
    assert str(caught.value).count(f"must be {SHA256}") == 2
    assert names(places) == []


def test_an_absent_file_is_not_asked_for_twice(server, places):
    server.add("/good", CONTENT)
    gone = server.add("/gone", status=410, faults=99)
    require_whole(obtain(raw(server.url("/404"), server.url("/gone"), server.url("/good")), places, PATIENCE), places)
    assert len(gone.requests) == 1
    with pytest.raises(ArtifactError, match=r"HTTP 404.*\n.*paths\.archives"):
        obtain(raw(server.url("/404"), name="other.bin"), places, PATIENCE)


def test_a_busy_server_is_asked_again(server, places):
    served = server.add("/set", CONTENT, status=503, faults=2)
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    assert len(served.requests) == 3


def test_a_stalled_connection_is_left_and_resumed(server, places):
    served = server.add("/set", CONTENT, faults=1, stall_at=CUT)
    began = time.monotonic()
    require_whole(obtain(raw(server.url("/set")), places, replace(PATIENCE, stall_s=0.3)), places)
    assert time.monotonic() - began < 5
    assert served.sent < 1.1 * len(CONTENT)
    server.add("/set2", CONTENT, faults=99, stall_at=0)
    with pytest.raises(ArtifactError, match="stalled"):
        obtain(raw(server.url("/set2"), name="two.bin"), places, replace(PATIENCE, stall_s=0.1))


def test_nobody_listens(places, server):
    silent = server.url("/set").replace(str(server.server_address[1]), "9")
    server.add("/set", CONTENT)
    require_whole(obtain(raw(silent, server.url("/set")), places, PATIENCE), places)


def test_redirects_are_followed_only_so_far_and_only_to_allowed_places(server, places):
    server.add("/set", CONTENT)
    server.add("/here", location="/there")
    server.add("/there", location=server.url("/set"))
    require_whole(obtain(raw(server.url("/here")), places, PATIENCE), places)
    loop = server.add("/loop", location="/loop")
    with pytest.raises(ArtifactError, match="more than 10 redirects"):
        obtain(raw(server.url("/loop"), name="loop.bin"), places, PATIENCE)
    assert len(loop.requests) == 11
    for place in ("http://example.org/set", "file:///etc/hostname", "ftp://example.org/set"):
        server.add("/out", location=place)
        with pytest.raises(ArtifactError, match="which is no https address"):
            obtain(raw(server.url("/out"), name="out.bin"), places, PATIENCE)


def test_a_server_elsewhere_may_not_lead_to_this_machine(places, monkeypatch):
    class Answer:
        is_redirect, headers = True, {"location": "http://127.0.0.1/secret"}

        def close(self):
            pass

    asked = []
    monkeypatch.setattr("requests.Session.get", lambda session, url, **how: asked.append(url) or Answer())
    with pytest.raises(ArtifactError, match=r"leads to http://127\.0\.0\.1/secret"):
        obtain(raw("https://example.org/set"), places, PATIENCE)
    assert asked == ["https://example.org/set"]


def test_another_length_is_told_before_anything_comes(server, places):
    served = server.add("/set", CONTENT)
    with pytest.raises(ArtifactError, match="has 1000003 bytes there, must have 7"):
        obtain(raw(server.url("/set"), size=7), places, PATIENCE)
    assert names(places) == [] and len(served.requests) == 1


@pytest.mark.parametrize("says_length", [True, False])
def test_a_full_disk_is_told_before_or_when_it_happens(server, tmp_path, small_disk, says_length):
    served = server.add("/set", CONTENT, says_length=says_length)
    places = Places(small_disk / "downloads", tmp_path / "data.lock.json")
    with pytest.raises(MachineError, match="disk is full"):
        obtain(raw(server.url("/set")), places, PATIENCE)
    assert "sets/set.bin" not in names(places)
    if says_length:
        assert names(places) == []
        assert served.sent < len(CONTENT)


def test_offline_nothing_is_asked_and_the_error_says_what_is_missing(server, places):
    served = server.add("/set", CONTENT)
    environment = {"POINTLIFT_OFFLINE": "1", "POINTLIFT_MIRROR": "/nowhere"}
    offline = Places.of(places.downloads, places.lock, environment)
    with pytest.raises(ArtifactError, match=r"sets/set\.bin: no source.*\n.*POINTLIFT_OFFLINE is set\n.*/nowhere"):
        obtain(raw(server.url("/set")), offline, PATIENCE)
    assert served.requests == []
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
    require_whole(obtain(raw(server.url("/set")), offline, PATIENCE), places)


@pytest.mark.parametrize("key", ["archives", "mirror"])
def test_a_copy_of_the_users_wins_over_the_net_and_is_never_touched(server, places, tmp_path, key):
    served = server.add("/set", CONTENT)
    copy = tmp_path / key / "sets" / "set.bin"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(CONTENT)
    mine = replace(places, **{key: tmp_path / key})
    assert obtain(raw(server.url("/set")), mine, PATIENCE).path == copy
    copy.write_bytes(OTHER)
    with pytest.raises(ArtifactError, match="must be"):
        obtain(raw(server.url("/set")), mine, PATIENCE)
    assert copy.read_bytes() == OTHER and served.requests == []


def test_a_file_url_is_copied(places, tmp_path):
    (tmp_path / "my set").write_bytes(CONTENT)
    url = (tmp_path / "my set").as_uri()
    require_whole(obtain(raw("file:///nowhere/set", url), replace(places, offline=True), PATIENCE), places)


def test_a_checksum_nobody_gave_is_recorded_loudly_and_held_to(server, places, caplog):
    server.add("/set", CONTENT)
    file = raw(server.url("/set"), sha256=None, size=None)
    obtain(file, places, PATIENCE)
    entry = {"bytes": len(CONTENT), "sha256": SHA256}
    assert json.loads(places.lock.read_text()) == {"files": {"sets/set.bin": entry}}
    assert caplog.text.count("NOBODY VOUCHES") == 1 and SHA256 in caplog.text
    obtain(file, places, PATIENCE)
    assert caplog.text.count("NOBODY VOUCHES") == 1
    (places.downloads / "sets" / "set.bin").unlink()
    server.add("/set", OTHER)
    with pytest.raises(ArtifactError, match="recorded when it came first"):
        obtain(file, places, PATIENCE)
    assert names(places) == []


def test_a_download_that_is_not_what_the_block_asks_for_any_more_is_fetched_again(server, places):
    server.add("/set", OTHER)
    obtain(raw(server.url("/set"), sha256=hashlib.sha256(OTHER).hexdigest()), places, PATIENCE)
    server.add("/set", CONTENT)
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)


def test_the_log_says_how_fast_it_goes(server, places, caplog, monkeypatch):
    monkeypatch.setattr("pointlift.datasets.progress.EVERY_S", 0.05)
    caplog.set_level("INFO")
    server.add("/set", CONTENT, pause_s=0.005)
    obtain(raw(server.url("/set")), places, PATIENCE)
    told = [line for line in caplog.messages if "MB/s" in line]
    assert len(told) >= 3 and "s left" in told[0] and "1.0 MB of 1.0 MB (100 %)" in told[-1]


def test_a_terminal_shows_a_bar_and_the_log_no_lines_beside_it(server, places, caplog, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("pointlift.datasets.progress.EVERY_S", 0.0)
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    caplog.set_level("INFO")
    server.add("/set.zip", CONTENT, faults=1, cut_at=CUT)
    obtain(raw(server.url("/set.zip")), places, PATIENCE)
    shown = os.sys.stderr.getvalue()
    assert "set.zip" in shown and "━" in shown and "1.0/1.0 MB" in shown
    assert len([line for line in caplog.messages if "MB/s" in line]) == 1  # at the end


def test_a_disk_that_runs_full_while_copying_is_told(tmp_path, small_disk, monkeypatch):
    monkeypatch.setattr("pointlift.datasets.transfer.require_space", lambda *words: None)
    (tmp_path / "set").write_bytes(CONTENT)
    with pytest.raises(MachineError, match="disk is full"):
        obtain(raw((tmp_path / "set").as_uri()), Places(small_disk / "downloads", tmp_path / "lock.json"), PATIENCE)
    assert not (small_disk / "downloads" / "sets" / "set.bin").exists()


def test_no_proxy_stands_between_this_machine_and_itself(server, places, monkeypatch):
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:9")
    server.add("/set", CONTENT)
    require_whole(obtain(raw(server.url("/set")), places, PATIENCE), places)
