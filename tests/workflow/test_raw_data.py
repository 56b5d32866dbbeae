"""Raw data as the workflow sees it: mistakes in blocks, what decides a rerun, licence gates, the status table."""

import copy
import csv
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

import file_server
import point_layouts
from pointlift import rooms
from pointlift.configuration import read_config
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.geometry import clouds
from pointlift.graph import Graph
from pointlift.jobs import Jobs
from pointlift.local_files import require_local_files

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
URL = "https://example.org/set.zip"
FETCHED = {"kind": "psb", "protocol": "psb/leaf", "folder": "set", "files": [{"name": "set.zip", "urls": [URL]}]}
LICENCE = {
    "name": "Owner's terms",
    "page": "https://example.org/form",
    "terms": "research only, signed",
    "expected": ["chair", "table/*.off"],
}
GATED = {"kind": "folder", "folder": "owned", "licence": LICENCE, "num_points": 64}


def jobs(**datasets) -> Jobs:
    values = copy.deepcopy(CONFIG)
    values["suite"] = "nano"
    values["datasets"].update(datasets)
    return Jobs(Graph(read_config(values)))


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({**FETCHED, "folder": None}, r"datasets\.mine\.folder: missing"),
        ({**FETCHED, "folder": "../set"}, r"folder: '\.\./set' is not allowed"),
        ({**FETCHED, "folder": "downloads/set"}, "a folder of their own"),
        ({**FETCHED, "archive": "set.zip"}, "name the file in one of them"),
        ({**FETCHED, "licence": LICENCE}, "are never fetched"),
        ({**FETCHED, "files": [{"name": "a.zip"}] * 2}, "'a.zip' stands there twice"),
        ({**FETCHED, "files": [{"name": "a.zip", "urls": ["http://example.org/a"]}]}, "must begin with https://"),
        ({**FETCHED, "files": [{"name": "../a.zip"}]}, "datasets.mine.files.0.name"),
        ({**GATED, "folder": None}, r"datasets\.mine\.folder: missing"),
        ({**GATED, "licence": {**LICENCE, "expected": []}}, r"licence.*expected"),
    ],
)
def test_what_cannot_be_meant_is_told(block, told):
    with pytest.raises(ConfigError, match=told):
        jobs(mine=block)


def test_two_blocks_agree_about_the_files_they_share():
    same = {**FETCHED, "folder": "else"}
    jobs(mine=FETCHED, yours=same, ours=FETCHED)
    with pytest.raises(ConfigError, match="'set' is made of other files by 'mine'"):
        jobs(mine=FETCHED, yours={**FETCHED, "files": [{"name": "other.zip"}]})
    with pytest.raises(ConfigError, match="has another sha256"):
        jobs(mine=FETCHED, yours={**same, "files": [{"name": "set.zip", "sha256": "0" * 64}]})


def test_where_a_file_comes_from_reruns_nothing_and_which_file_it_is_does():
    def settings(**file):
        block = {**FETCHED, "files": [{"name": "set.zip", "urls": [URL], **file}]}
        told = jobs(mine=block)
        return told.download_data("set"), told.prepare_meshes("mine", "0000"), told.build_manifest("mine")

    before = settings()
    assert settings(urls=["https://example.org/elsewhere"]) == before
    assert URL not in "".join(before)
    named = jobs(mine={**FETCHED, "licence": "some name"})
    assert (named.prepare_meshes("mine", "0000"), named.build_manifest("mine")) == before[1:]
    changed = settings(sha256="0" * 64)
    assert changed[0] != before[0]  # and by its index, an input, all that follows
    assert "licence" not in before[1] and "files" not in before[1]


def test_a_gate_is_a_job_and_its_terms_rerun_no_mesh(tmp_path):
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "a.off").touch()
    absolute = {**GATED, "folder": str(tmp_path)}
    told, other = jobs(mine=absolute), jobs(mine={**absolute, "licence": {**LICENCE, "terms": "other words"}})
    assert told.graph.raw_index("mine") == ["results/manifest/mine.raw.json"]
    assert told.graph.shards("mine") == {"0000": ()}  # table/*.off is missing
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "b.off").touch()
    assert jobs(mine=absolute).graph.shards("mine") == {"0000": ("chair/a.off", "table/b.off")}
    assert told.check_data("mine") != other.check_data("mine")
    assert jobs(mine=absolute).build_manifest("mine") == other.build_manifest("mine")


def test_an_archive_that_its_owner_gives_says_whom_to_ask():
    values = copy.deepcopy(CONFIG)
    values["suite"] = "princeton"
    values["datasets"]["lpsb"]["licence"] = LICENCE
    with pytest.raises(ConfigError, match=r"lpsb\.archive: lpsb_\S+ \(ask at https://example\.org/form; Owner's terms"):
        require_local_files(Graph(read_config(values)))


OFF = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 2 0\n0 0 3\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"


def overlay(checkout, **datasets):
    """A config beside the shipped one, with a suite that uses these datasets."""
    values = {"datasets": datasets, "tasks": {}, "suites": {}, "suite": "mixed"}
    for name in datasets:
        values["tasks"][f"on_{name}"] = {"kind": "linear_probe", "dataset": name}
    tasks = ["nano_linear_probe", *values["tasks"]]
    values["suites"]["mixed"] = {"runs": ["nano_scratch"], "tasks": tasks, "seeds": [0]}
    (checkout.folder / "overlay.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return ["--configfile", "overlay.yaml"]


def lines(checkout, name):
    return (checkout.folder / name).read_text(encoding="utf-8").splitlines()


def test_a_gate_stops_before_any_job_and_keep_going_makes_the_rest(checkout):
    words = overlay(checkout, owned=GATED, other={**GATED, "folder": "other", "licence": {**LICENCE, "name": "Two"}})
    for more in ([], ["--dry-run"]):
        stopped = checkout.snakemake(*words, *more, suite="mixed", check=False)
        assert stopped.returncode == 1 and "Traceback" not in stopped.stderr
        assert stopped.stderr.count("given by their owner alone") == 2
        for part in (
            "datasets.owned",
            "data/other",
            *(LICENCE[key] for key in ("page", "terms")),
            "Two",
            "table/*.off",
        ):
            assert part in stopped.stderr
        assert not list((checkout.folder / "results").rglob("*.safetensors"))
    assert "prepare_meshes" in checkout.snakemake("--dry-run", "--keep-going", *words, suite="mixed").stdout
    targets = ["results/manifest/nano_shapes.csv", "results/manifest/owned.csv"]
    failed = checkout.snakemake(*targets, "--keep-going", *words, suite="mixed", check=False)
    assert failed.returncode == 1 and "ask at:  https://example.org/form" in failed.stderr
    assert (checkout.folder / targets[0]).is_file() and not (checkout.folder / targets[1]).exists()
    for name in ("chair/a.off", "chair/b.off", "table/c.off"):
        path = checkout.folder / "data" / "owned" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OFF)
    checkout.snakemake(targets[1], *words, suite="mixed")
    table = list(csv.DictReader(lines(checkout, targets[1])))
    assert [row["shape_id"] for row in table] == ["chair/a.off", "chair/b.off", "table/c.off"]


def test_a_dataset_that_its_own_files_list_is_fetched_first(checkout):
    with file_server.running() as server:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as packed:
            for name in ("chair/a.off", "table/b.off"):
                packed.writestr(name, OFF)
        server.add("/set.zip", stream.getvalue())
        block = {**FETCHED, "kind": "folder", "files": [{"name": "set.zip", "urls": [server.url("/set.zip")]}]}
        words = overlay(checkout, mine=block)
        for more in ([], ["--keep-going"], ["--dry-run"]):
            stopped = checkout.snakemake(*words, *more, suite="mixed", check=False)
            assert stopped.returncode == 1 and "snakemake --cores 1 data/set/index.json" in stopped.stderr
        checkout.snakemake("data/set/index.json", *words, suite="mixed")
    checkout.snakemake("results/manifest/mine.csv", *words, suite="mixed")
    rows = list(csv.DictReader(lines(checkout, "results/manifest/mine.csv")))
    assert [row["shape_id"] for row in rows] == ["chair/a.off", "table/b.off"]
    checkout.snakemake("--dry-run", *words, suite="mixed")


def psb_archive() -> bytes:
    """The benchmark's layout with a few of its meshes; those that are not there are quarantined one by one."""
    stream = io.BytesIO()
    halves = {"train": "PSB 1\n1 1\n\nvase 0 1\n0\n", "test": "PSB 1\n1 1\n\nvase 0 1\n1\n"}
    with zipfile.ZipFile(stream, "w") as packed:
        for name, text in halves.items():
            packed.writestr(f"psb/{name}.cla", text)
        for number in range(2):
            packed.writestr(f"psb/m{number}.off", OFF)
    return stream.getvalue()


def status(checkout, words):
    printed = checkout.snakemake("data_status", *words, suite="mixed").stdout
    rows = {row["dataset"]: row for row in csv.DictReader(lines(checkout, "results/data_status.csv"))}
    assert all(name in printed for name in rows)
    return rows


def test_a_fetched_dataset_and_the_status_of_all(checkout):
    with file_server.running() as server:
        served = server.add("/set.zip", psb_archive())
        file = {"name": "set.zip", "urls": [server.url("/404"), server.url("/set.zip")]}
        words = overlay(checkout, owned=GATED, mine={**FETCHED, "files": [file]})
        before = status(checkout, words)
        assert set(before) == {*CONFIG["datasets"], "owned", "mine"}
        assert (before["mine"]["state"], before["mine"]["missing"]) == ("missing", "set.zip")
        assert before["owned"]["state"] == "missing" and "table/*.off in data/owned" in before["owned"]["missing"]
        assert {name: row["kind"] for name, row in before.items() if name in CONFIG["datasets"]} == {
            name: block["kind"] for name, block in CONFIG["datasets"].items()
        }
        assert before["owned"]["licence"] == "Owner's terms" and before["nano_shapes"]["state"] == "generated"
        checkout.snakemake("data/set/index.json", "--keep-going", *words, suite="mixed")
    entry = {"bytes": len(served.content), "sha256": hashlib.sha256(served.content).hexdigest()}
    assert json.loads((checkout.folder / "data.lock.json").read_text())["files"]["set.zip"] == entry
    after = status(checkout, words)["mine"]
    assert (after["state"], after["files"], after["checks"]) == ("present", "4", "sha256; files; bytes; 1809 shapes")
    (checkout.folder / "data/set/psb/m1.off").unlink()
    damaged = status(checkout, words)["mine"]
    assert damaged["state"] == "damaged" and "3 files are there, 4 were unpacked" in damaged["missing"]


WRITERS = {
    "modelnet_h5": (point_layouts.write_modelnet_h5, {}),
    "modelnet_resampled": (point_layouts.write_modelnet_resampled, {}),
    "shapenet_part": (point_layouts.write_shapenet_part, {}),
    "scanobjectnn": (point_layouts.write_scanobjectnn, {"variant": "obj_bg"}),
}


def test_archives_as_the_published_ones_come_over_a_net_that_cuts_and_are_opened(checkout, tmp_path):
    """Zip files in the layout of four real sets: one cut at 30 %, one wrong at its first mirror, one absent there."""
    blocks, served, kinds = {}, {}, list(WRITERS)
    with file_server.running() as server:
        for kind, (write, more) in WRITERS.items():
            write(tmp_path / kind)
            content = Path(shutil.make_archive(str(tmp_path / kind), "zip", tmp_path / kind)).read_bytes()
            served[kind] = server.add(f"/{kind}.zip", content)
            file = {"name": f"{kind}.zip", "urls": [server.url(f"/{kind}.zip")]}
            file["sha256"] = hashlib.sha256(content).hexdigest()
            block = {"kind": kind, "folder": f"served/{kind}", "partial": True, "num_points": 64, **more}
            named = parse(rooms.settings_class("datasets", kind), {**block, "protocol": "test/one"}, kind)
            blocks[kind] = {**block, "files": [file], "protocol": named.required_protocol()}
        cut = served[kinds[0]]
        cut.faults, cut.cut_at = 1, 3 * len(cut.content) // 10
        wrong = server.add("/wrong.zip", served[kinds[1]].content[::-1])
        for kind, first in zip(kinds[1:3], ("/wrong.zip", "/absent.zip"), strict=True):
            blocks[kind]["files"][0]["urls"].insert(0, server.url(first))
        (checkout.folder / "overlay.yaml").write_text(
            yaml.safe_dump({"datasets": {f"served_{kind}": block for kind, block in blocks.items()}}), encoding="utf-8"
        )
        indices = [f"data/served/{kind}/index.json" for kind in kinds]
        checkout.snakemake(*indices, "--configfile", "overlay.yaml")
    begun_again = int(cut.requests[1].removeprefix("bytes=").removesuffix("-"))
    assert begun_again > 0 and cut.sent == cut.cut_at + len(cut.content) - begun_again
    assert len(wrong.requests) == 1 and all(served[kind].sent == len(served[kind].content) for kind in kinds[1:])
    downloads = [path.name for path in (checkout.folder / "data" / "downloads").iterdir() if path.suffix != ".lock"]
    assert sorted(downloads) == sorted(f"{kind}.zip" for kind in kinds)
    for kind, block in blocks.items():
        settings = parse(rooms.settings_class("datasets", kind), block, kind)
        dataset = rooms.load("datasets", kind).build(settings, checkout.folder / "data/served" / kind)
        assert len(dataset.ids) > 3
        for shape_id in dataset.ids:
            assert len(clouds.check(dataset.load_points(shape_id)).points) >= 100
