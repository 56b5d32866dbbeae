"""Episodes: committed files are what the generator gives, by a slow formula of their own; damage is told."""

import hashlib
import json

import pytest

from pointlift.contracts import episodes as module
from pointlift.contracts.episodes import (
    COMMITTED,
    EpisodePlan,
    Episodes,
    committed_names,
    draw,
    episodes_text,
    metric_names,
    plan_of,
    read_committed,
    read_episodes,
    write_episodes,
)
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import mistakes
from pointlift.datasets import modelnet40

SETTINGS = {"5w10s": (5, 10), "5w20s": (5, 20), "10w10s": (10, 10), "10w20s": (10, 20)}


def by_class(split):
    found = {}
    for shape_id in modelnet40.split_ids(split):
        found.setdefault(shape_id.rpartition("_")[0], []).append(shape_id)
    return found


TRAIN, TEST = by_class("train"), by_class("test")


def toy(count, prefix):
    return {name: [f"{prefix}-{name}-{number}" for number in range(count)] for name in ("ball", "cone", "cube", "rod")}


@pytest.mark.parametrize("name", [*SETTINGS, "1-5-10shot"])
def test_the_committed_files_are_drawn_again_byte_for_byte(name):
    drawn = draw(f"mn40/{name}", "mn40", TRAIN, TEST, plan_of(name))
    assert (COMMITTED / f"mn40/{name}.json").read_text(encoding="utf-8") == episodes_text(drawn)


def by_the_slow_formula(seed, fold, role, words):
    """The order, written down once more: sha256 of the words with unit separators between."""

    def rank(word):
        text = "\x1f".join(["episodes", "1", str(seed), str(fold), role, word])
        return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) // 2

    return sorted(words, key=rank)


@pytest.mark.parametrize(("name", "ways", "shots"), [(name, *sizes) for name, sizes in SETTINGS.items()])
def test_committed_folds_are_as_they_are_called(name, ways, shots):
    found = read_committed(f"mn40/{name}")
    assert len(found.folds) == 10
    for number, fold in enumerate(found.folds):
        assert sorted(fold) == sorted(by_the_slow_formula(0, number, "class", TRAIN)[:ways])
        for one, way in fold.items():
            assert list(way.support) == by_the_slow_formula(0, number, "support", TRAIN[one])[:shots]
            assert list(way.queries) == by_the_slow_formula(0, number, "query", TEST[one])[:20]
    assert len({tuple(fold) for fold in found.folds}) == 10


def test_committed_shots_of_all_classes_are_nested():
    found = read_committed("mn40/1-5-10shot")
    assert found.plan.shots == (1, 5, 10)
    for fold in found.folds:
        assert set(fold) == set(TRAIN)
        assert all(len(way.support) == 10 and set(way.support) <= set(TRAIN[one]) for one, way in fold.items())
        assert not any(way.queries for way in fold.values())


def test_plans_of_one_seed_are_nested_and_other_seeds_are_others():
    small, large = read_committed("mn40/5w10s"), read_committed("mn40/10w20s")
    for one, other in zip(small.folds, large.folds, strict=True):
        assert set(one) < set(other)
        assert all(
            other[name].support[:10] == way.support and other[name].queries == way.queries for name, way in one.items()
        )
    again = draw("mn40/5w10s", "mn40", TRAIN, TEST, EpisodePlan(ways=5, shots=(10,), seed=1))
    assert all(tuple(one) != tuple(other) for one, other in zip(small.folds, again.folds, strict=True))


def test_every_class_and_shape_is_drawn_in_the_long_run():
    plan = EpisodePlan(ways=2, shots=(3,), queries=2, folds=400)
    found = draw("toy/2w3s", "toy", toy(6, "train"), toy(4, "test"), plan)
    classes = [name for fold in found.folds for name in fold]
    support = [shape_id for fold in found.folds for way in fold.values() for shape_id in way.support]
    for name in toy(1, "x"):
        assert abs(classes.count(name) - 200) < 5 * 10  # binomial, sd 10
    for shape_id in (i for ids in toy(6, "train").values() for i in ids):
        assert abs(support.count(shape_id) - 100) < 5 * 8.7


def test_the_order_of_ids_and_classes_does_not_matter():
    plan = EpisodePlan(ways=2, shots=(2,), queries=2, folds=3)
    train = {name: ids[::-1] for name, ids in reversed(toy(6, "train").items())}
    assert draw("t/2w2s", "t", train, toy(4, "test"), plan) == draw(
        "t/2w2s", "t", toy(6, "train"), toy(4, "test"), plan
    )


def test_few_test_shapes_are_all_asked_and_too_few_others_are_told():
    plan = EpisodePlan(ways=3, shots=(2,), queries=20, folds=2)
    found = draw("t/3w2s", "t", toy(2, "train"), toy(5, "test"), plan)
    assert all(len(way.queries) == 5 for fold in found.folds for way in fold.values())
    with pytest.raises(ArtifactError, match=r"2 shots need as many .* has 1; lower shots"):
        draw("t/3w2s", "t", toy(1, "train"), toy(5, "test"), plan)
    with pytest.raises(ArtifactError, match="5 ways need as many classes, there are 4"):
        draw("t/5w2s", "t", toy(2, "train"), toy(5, "test"), EpisodePlan(ways=5, shots=(2,)))
    with pytest.raises(ArtifactError, match="has no test shape"):
        draw("t/3w2s", "t", toy(2, "train"), {}, plan)


def test_a_file_comes_back_as_it_was_written(tmp_path):
    found = draw("t/3w2s", "t", toy(2, "train"), toy(5, "test"), EpisodePlan(ways=3, shots=(2,), folds=2))
    write_episodes(tmp_path / "a.json", found)
    assert read_episodes(tmp_path / "a.json") == found
    write_episodes(tmp_path / "b.json", read_episodes(tmp_path / "a.json"))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["folds"][0]["ball"]["support"].__setitem__(0, "train-ball-9"), "sha256"),
        (lambda c: c["folds"][0]["ball"]["support"].reverse(), "sha256"),
        (lambda c: c.pop("sha256"), "sha256"),
        (lambda c: c["plan"].update(seed=3), "sha256"),
        (lambda c: c["folds"].pop(), "1 folds, the plan says 2"),
        (lambda c: c["folds"][0].pop("ball"), "must have 4 classes"),
        (lambda c: c["folds"][1]["cone"]["queries"].append("train-ball-0"), "not as planned"),
        (lambda c: c["folds"][1]["cone"].update(queries=[c["folds"][1]["cone"]["support"][0]]), "stands there twice"),
        (lambda c: c["plan"].update(ways=2), "must end in 2w2s"),
        (lambda c: c.update(surprise=1), "surprise"),
        (lambda c: c["folds"][0]["ball"].update(support=[1, 2]), "valid string"),
    ],
)
def test_damage_is_told(tmp_path, change, told):
    plan = EpisodePlan(ways=4, shots=(2,), queries=3, folds=2)
    path = tmp_path / "a.json"
    content = json.loads(episodes_text(draw("t/4w2s", "t", toy(2, "train"), toy(5, "test"), plan)))
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=told) as error:
        read_episodes(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": NaN}'])
def test_what_is_no_file_of_episodes_is_told(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.json: not"):
        read_episodes(path)


def test_missing_and_oversized_files_are_told(tmp_path, monkeypatch):
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_episodes(tmp_path / "none.json")
    monkeypatch.setattr(module, "_LARGEST_FILE", 10)
    with pytest.raises(ArtifactError, match="larger than 10 bytes"):
        read_episodes(COMMITTED / "mn40/5w10s.json")
    with pytest.raises(ArtifactError, match=r"no episodes 'mn40/7w7s'; there are: .*mn40/5w10s"):
        read_committed("mn40/7w7s")


def test_every_committed_file_is_sound():
    assert {"mn40/5w10s", "mn40/10w20s", "mn40/1-5-10shot"} <= set(committed_names())
    for name in committed_names():
        assert isinstance(read_committed(name), Episodes) and read_committed(name).name == name


@pytest.mark.parametrize("name", ["5w10s", "10w20s", "1-5-10shot", "3w1-2s"])
def test_names_and_plans_say_the_same(name):
    assert plan_of(name).name == name


@pytest.mark.parametrize("name", ["", "5w", "w5s", "5w10", "05w10s", "5w10-5s", "1w3s", "5shots", "5w10s\n", "0shot"])
def test_what_is_no_name_has_no_plan(name):
    assert plan_of(name) is None


def test_metrics_carry_the_episodes():
    assert metric_names("mn40/5w10s") == ("accuracy_mn40_5w10s",)
    assert metric_names("mn40/1-5-10shot") == ("accuracy_mn40_1_shot", "accuracy_mn40_5_shot", "accuracy_mn40_10_shot")
    assert metric_names(EpisodePlan(ways=3, shots=(1, 2))) == ("accuracy_drawn_3w1s", "accuracy_drawn_3w2s")


@pytest.mark.parametrize(
    "values", [{"shots": []}, {"shots": [3], "ways": 1}, {"shots": [3], "ways": 2, "queries": 0}, {"shots": [3, 1]},
               {"shots": [3], "ways": 0, "queries": 5}, {"shots": [0], "ways": 2}]
)  # fmt: skip
def test_plans_that_cannot_be_meant(values):
    assert mistakes(EpisodePlan, values, "plan")
