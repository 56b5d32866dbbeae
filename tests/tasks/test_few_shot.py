"""Few-shot draws: exact, nested, the same for all runs; values and spread over draws; episodes as by hand."""

import numpy as np
import pytest

from pointlift.contracts import episodes as episodes_module
from pointlift.contracts.episodes import EpisodePlan, draw, read_committed, write_episodes
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import mistakes, parse
from pointlift.datasets import modelnet40
from pointlift.tasks.episode_rows import draw_from
from pointlift.tasks.few_shot import Settings, build
from pointlift.tasks.shapes import Shapes
from tasks.toy_shapes import toy_shapes


def shapes(spread: float = 0.8, seed: int = 0, sizes=(12, 12, 12)) -> Shapes:
    return toy_shapes(spread, seed, sizes)


def task(**changes):
    return build(parse(Settings, {"kind": "few_shot", "dataset": "toy", "shots": [1, 3, 5, 12], **changes}, "task"))


@pytest.mark.parametrize("number", range(4))
def test_draws_are_exact_nested_and_from_train_alone(number):
    whole, previous = shapes(), set()
    for shots in (1, 3, 5, 12):
        rows = task().draw(whole, shots, number)
        assert np.bincount(whole.label[rows]).tolist() == [shots] * 3
        assert set(whole.split[rows].tolist()) == {0}
        assert previous < set(rows.tolist())
        previous = set(rows.tolist())


def test_draws_differ_from_one_another():
    rows = [task().draw(shapes(), 3, number) for number in range(10)]
    assert len({row.tobytes() for row in rows}) == 10


def test_draws_hang_on_ids_alone():
    one, other = shapes(), shapes(spread=9.0, seed=1)  # another run's embeddings
    for number in range(3):
        np.testing.assert_array_equal(task().draw(one, 3, number), task().draw(other, 3, number))
    order = np.random.default_rng(0).permutation(len(one.ids))
    mixed = Shapes(tuple(one.ids[r] for r in order), one.values[order], one.label[order], one.split[order], 3)
    names = [{whole.ids[row] for row in task().draw(whole, 3, 0)} for whole in (one, mixed)]
    assert names[0] == names[1]


def test_every_shape_is_drawn_in_the_long_run():
    whole = shapes()
    counts = np.zeros(len(whole.ids))
    for number in range(600):
        counts[task().draw(whole, 3, number)] += 1
    train = counts[whole.split == 0]
    assert not counts[whole.split > 0].any()
    assert np.abs(train - 150).max() < 5 * np.sqrt(600 * 0.25 * 0.75)


def test_a_class_with_too_few_shapes_is_named():
    with pytest.raises(ArtifactError, match=r"class 1 .*has 4; lower shots"):
        task(shots=[1, 5]).evaluate(shapes(sizes=(12, 4, 12)))


def test_values_are_mean_and_sample_spread_over_draws():
    found = task(draws=6).evaluate(shapes())
    values = {value.metric: value.value for value in found.values}
    single = []
    for number in range(6):
        only = task(draws=6)
        only.draw = lambda whole, shots, _, number=number: task().draw(whole, shots, number)
        single.append({value.metric: value.value for value in only.evaluate(shapes()).values})
    for shots in (1, 3, 5):
        each = [one[f"accuracy_{shots}_shot"] for one in single]
        assert values[f"accuracy_{shots}_shot"] == pytest.approx(np.mean(each))
        assert values[f"accuracy_{shots}_shot_sd"] == pytest.approx(np.std(each, ddof=1))
        assert np.mean(found.outcomes[f"accuracy_{shots}_shot"]) == pytest.approx(np.mean(each))


def test_all_shapes_drawn_leave_no_spread():
    values = {value.metric: value.value for value in task().evaluate(shapes()).values}
    assert values["accuracy_12_shot_sd"] == 0.0
    assert values["accuracy_1_shot_sd"] > 0.0


def test_one_draw_has_no_spread_to_tell():
    assert all(not value.metric.endswith("_sd") for value in task(draws=1).evaluate(shapes()).values)


def test_more_shots_help():
    values = {value.metric: value.value for value in task().evaluate(shapes()).values}
    assert values["accuracy_1_shot"] < values["accuracy_12_shot"]


def test_labels_of_shapes_that_were_not_drawn_stay_unread():
    whole = shapes()
    drawn = task(shots=[3], draws=1).draw(whole, 3, 0)
    label = whole.label.copy()
    wrong = np.setdiff1d(np.flatnonzero(whole.split == 0), drawn)
    found = task(shots=[3], draws=1)
    found.draw = lambda *_: drawn
    expected = found.evaluate(whole).outcomes
    label[wrong] = (label[wrong] + 1) % 3
    assert found.evaluate(Shapes(whole.ids, whole.values, label, whole.split, 3)).outcomes == expected


@pytest.mark.parametrize("shots", [[3, 1], [1, 1], [0, 1], []])
def test_shots_must_rise(shots):
    assert mistakes(Settings, {"kind": "few_shot", "dataset": "toy", "shots": shots}, "tasks.few")


def test_shots_or_episodes_must_be_named():
    assert mistakes(Settings, {"kind": "few_shot", "dataset": "toy", "shots": []}, "tasks.few")
    assert not mistakes(Settings, {"kind": "few_shot", "dataset": "toy", "shots": [], "episodes": [PLAN]}, "tasks.few")


# ---- episodes -------------------------------------------------------------------------------------------------------

PLAN = {"ways": 2, "shots": [3], "queries": 4, "folds": 6, "seed": 1}


def episodic(*episodes, **changes):
    return task(shots=[], episodes=list(episodes), **changes)


def by_name(found):
    return {value.metric: value.value for value in found.values}


def by_hand(whole, episodes, shots, strength=1.0):
    """Accuracy per fold, by scikit-learn and nothing of the task's own."""
    from sklearn.linear_model import LogisticRegression

    row, found = {shape_id: number for number, shape_id in enumerate(whole.ids)}, []
    pool = whole.values[whole.split == 0].astype(np.float64)
    scaled = (whole.values.astype(np.float64) - pool.mean(axis=0)) / pool.std(axis=0)
    for fold in episodes.folds:
        support = [row[i] for way in fold.values() for i in way.support[:shots]]
        queries = [row[i] for way in fold.values() for i in way.queries]
        queries = queries or np.flatnonzero(whole.split == 2).tolist()
        model = LogisticRegression(C=strength, max_iter=20_000, tol=1e-10).fit(scaled[support], whole.label[support])
        found.append(float((model.predict(scaled[queries]) == whole.label[queries]).mean()))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_judged_as_by_hand(seed):
    whole = shapes(spread=1.5, seed=seed, sizes=(12, 12, 12, 12))
    found = episodic(PLAN).evaluate(whole)
    drawn = draw_from(whole, whole.rows("train"), parse(EpisodePlan, PLAN, "plan"))
    expected, metric = by_hand(whole, drawn, 3), "accuracy_drawn_2w3s"
    assert found.outcomes[metric] == pytest.approx(expected)
    assert by_name(found) == pytest.approx({metric: np.mean(expected), f"{metric}_sd": np.std(expected, ddof=1)})
    assert found.items[metric] == tuple(f"fold{number}" for number in range(6))
    asked = [f"fold{n}/{i}" for n, fold in enumerate(drawn.folds) for way in fold.values() for i in way.queries]
    assert list(found.items[f"{metric}_queries"]) == asked
    assert np.reshape(found.outcomes[f"{metric}_queries"], (6, 8)).mean(axis=1) == pytest.approx(expected)
    assert set(found.test_ids) == {item.partition("/")[2] for item in asked}
    assert found.n_train == 2 * 3


def test_own_episodes_learn_from_train_alone_and_ask_about_test_alone():
    whole = shapes(sizes=(12, 12, 12, 12))
    split = dict(zip(whole.ids, whole.split, strict=True))
    for pool, allowed in ((whole.rows("train"), {0}), (whole.rows("train", "val"), {0, 1})):
        drawn = draw_from(whole, pool, parse(EpisodePlan, {**PLAN, "folds": 40}, "plan"))
        ways = [way for fold in drawn.folds for way in fold.values()]
        assert {split[i] for way in ways for i in way.support} == allowed
        assert {split[i] for way in ways for i in way.queries} == {2}


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A folder of committed files, for the toy shapes: 2w2s, and all classes with nested shots."""
    whole = shapes(sizes=(12, 12, 12))
    monkeypatch.setattr(episodes_module, "COMMITTED", tmp_path)
    names = ("ball", "cone", "cube")
    train, test = (
        {names[k]: [whole.ids[r] for r in whole.rows(split) if whole.label[r] == k] for k in range(3)}
        for split in ("train", "test")
    )
    for plan in ({"ways": 2, "shots": [2], "queries": 5, "folds": 3}, {"shots": [1, 4], "queries": 0, "folds": 4}):
        settings = parse(EpisodePlan, plan, "plan")
        write_episodes(
            tmp_path / f"toy/{settings.name}.json", draw(f"toy/{settings.name}", "toy", train, test, settings)
        )
    return tmp_path


def test_committed_files_are_judged_as_by_hand(committed):
    whole = shapes(spread=2.0)
    found = episodic("toy/2w2s", "toy/1-4shot").evaluate(whole)
    few, all_classes = (read_committed(name) for name in ("toy/2w2s", "toy/1-4shot"))
    expected = {"accuracy_toy_2w2s": by_hand(whole, few, 2)}
    expected |= {f"accuracy_toy_{shots}_shot": by_hand(whole, all_classes, shots) for shots in (1, 4)}
    for metric, folds in expected.items():
        assert by_name(found)[metric] == pytest.approx(np.mean(folds))
        assert by_name(found)[f"{metric}_sd"] == pytest.approx(np.std(folds, ddof=1))
        assert np.mean(found.outcomes[metric]) == pytest.approx(np.mean(folds))
    for shots in (1, 4):  # the whole test split is asked: outcomes are by shape, so that runs are paired shape by shape
        assert found.items[f"accuracy_toy_{shots}_shot"] == tuple(whole.ids[row] for row in whole.rows("test"))
    assert found.n_train == 12
    assert Settings(kind="few_shot", dataset="toy", episodes=("toy/2w2s",)).files_used() == ("episodes/toy/2w2s.json",)


def test_shots_and_episodes_in_one_row(committed):
    whole = shapes()
    both, shots = task(episodes=["toy/2w2s"]).evaluate(whole), task().evaluate(whole)
    assert both.values[: len(shots.values)] == shots.values
    assert both.test_ids == shots.test_ids
    assert {name: both.outcomes[name] for name in shots.outcomes} == shots.outcomes


def without(whole: Shapes, gone) -> Shapes:
    kept = [row for row, shape_id in enumerate(whole.ids) if shape_id not in gone]
    return Shapes(tuple(whole.ids[r] for r in kept), whole.values[kept], whole.label[kept], whole.split[kept], 3)


def test_a_missing_shape_is_told(committed):
    gone = next(iter(read_committed("toy/2w2s").folds[1].values())).queries[0]
    with pytest.raises(ArtifactError, match=rf"toy/2w2s: 1 of their .* \(first: {gone}\)"):
        episodic("toy/2w2s").evaluate(without(shapes(), {gone}))


def test_another_base_is_told(committed):
    whole = shapes()
    other = Shapes(tuple(f"x{i}" for i in whole.ids), whole.values, whole.label, whole.split, 3)
    with pytest.raises(ArtifactError, match=r"none of their shapes is in this dataset.* base toy"):
        episodic("toy/2w2s").evaluate(other)


@pytest.mark.parametrize("name", ["toy/2w2s", "toy/1-4shot"])
def test_another_split_or_class_is_told(committed, name):
    whole, fold = shapes(), read_committed(name).folds[0]
    way = next(iter(fold.values()))
    row = whole.ids.index(way.support[-1])
    split, label = whole.split.copy(), whole.label.copy()
    split[row], label[row] = 2, (label[row] + 1) % 3
    with pytest.raises(ArtifactError, match="learns from a test shape"):
        episodic(name).evaluate(Shapes(whole.ids, whole.values, whole.label, split, 3))
    if len(way.support) > 1:
        with pytest.raises(ArtifactError, match="more than one class"):
            episodic(name).evaluate(Shapes(whole.ids, whole.values, label, whole.split, 3))


def test_classes_that_are_one_here_and_classes_that_are_not_learnt_are_told(committed):
    whole = shapes()
    with pytest.raises(ArtifactError, match="two of its classes are one"):
        episodic("toy/1-4shot").evaluate(Shapes(whole.ids, whole.values, whole.label * 0, whole.split, 3))
    more = Shapes(
        (*whole.ids, "new"),
        np.vstack([whole.values, whole.values[:1]]),
        np.append(whole.label, 3),
        np.append(whole.split, 2),
        4,
    )
    with pytest.raises(ArtifactError, match="the test split has class 3, of which it learns nothing"):
        episodic("toy/1-4shot").evaluate(more)


@pytest.mark.parametrize(
    "episodes",
    [["mn40/7w7s"], ["../mn40/5w10s"], ["mn40/5w10s", "mn40/5w10s"], [PLAN, {**PLAN, "seed": 2}], [{"ways": 2}], [3],
     [{**PLAN, "kind": "x"}], ["mn40/1-5-10shot", "mn40/5w10s", "mn40/1-5-10shot"]],
)  # fmt: skip
def test_episodes_that_cannot_be_meant(episodes):
    assert mistakes(Settings, {"kind": "few_shot", "dataset": "toy", "episodes": episodes}, "tasks.few")


def test_the_mistake_names_what_there_is():
    found = mistakes(Settings, {"kind": "few_shot", "dataset": "toy", "episodes": ["mn40/7w7s"]}, "tasks.few")
    assert len(found) == 1 and "tasks.few.episodes" in found[0] and "mn40/10w20s" in found[0]


def test_more_ways_than_classes_are_told():
    with pytest.raises(ArtifactError, match="5 ways need as many classes, there are 3"):
        episodic({**PLAN, "ways": 5}).evaluate(shapes())


def test_official_lists_are_judged_whole():
    """All of ModelNet40's ids, with made-up embeddings: every committed setting at once."""
    ids, split = [], []
    for name, code in (("train", 0), ("test", 2)):
        ids += modelnet40.split_ids(name)
        split += [code] * (len(ids) - len(split))
    label = np.array([modelnet40.CLASS_NAMES.index(i.rpartition("_")[0]) for i in ids])
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(40, 8))[label] + 0.7 * rng.normal(size=(len(ids), 8))).astype(np.float32)
    whole = Shapes(tuple(ids), values, label, np.array(split, dtype=np.uint8), 40)
    names = ["mn40/5w10s", "mn40/5w20s", "mn40/10w10s", "mn40/10w20s"]
    found = episodic(*names).evaluate(whole)
    assert [value.metric for value in found.values][::2] == [f"accuracy_{name.replace('/', '_')}" for name in names]
    for name in names:
        metric, ways = f"accuracy_{name.replace('/', '_')}", read_committed(name).plan.ways
        assert found.outcomes[metric] == pytest.approx(
            by_hand(whole, read_committed(name), read_committed(name).plan.shots[0])
        )
        assert len(found.outcomes[f"{metric}_queries"]) == 10 * ways * 20
