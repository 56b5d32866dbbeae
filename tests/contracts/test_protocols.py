"""Protocols: one name fixes all that two numbers must share."""

import copy
import itertools
from pathlib import Path

import pytest
import yaml

from pointlift import rooms
from pointlift.configuration import read_config
from pointlift.contracts.protocols import Protocol, differing
from pointlift.graph import Graph

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


def graph(suite: str) -> Graph:
    return Graph(read_config({**copy.deepcopy(CONFIG), "suite": suite}))


@pytest.mark.parametrize("suite", sorted(CONFIG["suites"]))
def test_in_a_suite_a_name_and_what_it_stands_for_go_together(suite):
    given = graph(suite)
    asked = {(task, dataset, given.protocol(run, task, dataset)) for run, task, dataset in given.evaluations}
    objects = {(row[1], row[2]): given.protocol_of(*row) for row in given.evaluations}
    assert {(*key, found.name) for key, found in objects.items()} <= asked
    for (one, first), (other, second) in itertools.combinations(objects.items(), 2):
        if one[0] == other[0] and first.name == second.name:
            assert first == second


def test_a_protocol_says_all_that_fixes_a_number():
    given = graph("princeton")
    found = given.protocol_of("princeton_mcd", "few_shot", "lpsb")
    assert (found.base, found.variant, found.form) == ("lpsb", "12-8", "transfer")
    assert (found.selection, found.votes) == ("last", 0)
    assert found.num_points == given.config.datasets["lpsb"].num_points
    assert found.asked["shots"] == [1, 3, 5, 12] and set(found.asked) >= {"episodes", "draws", "use_val"}
    assert found.name == given.protocol("princeton_mcd", "few_shot", "lpsb") == "lpsb/12-8/transfer"


def test_a_published_protocol_chooses_by_the_test_split():
    values = copy.deepcopy(CONFIG)
    task = values["tasks"]["nano_classification"]
    del task["votes"], task["crops"]  # they are of our own protocol
    task["protocol"] = "pointmcd_authors"
    found = Graph(read_config({**values, "suite": "nano"})).protocol_of("nano_mcd", "classification", "nano_shapes")
    assert found.selection == "oracle_test" and found.name == "procedural/nano/pointmcd_authors/transfer"


def test_differences_are_told_by_their_keys():
    one = Protocol(base="a", num_points=1024, form="joint", asked={"shots": [1]})
    other = Protocol(base="a", form="joint", asked={"shots": [5]}, votes=10)
    assert differing(one, other) == "asked.shots [1] and [5], num_points 1024 and None, votes 0 and 10"
    assert differing(one, one) == ""


@pytest.mark.parametrize("kind", rooms.available("tasks"))
def test_what_a_task_asks_are_keys_of_its_own(kind):
    settings = rooms.settings_class("tasks", kind)
    assert set(settings.measures) <= set(settings.model_fields) - {"kind", "dataset", "recipe"}
    asking = {"shots", "shares", "episodes", "draws", "prompts", "target", "evaluation_seeds", "use_val"}
    assert asking & set(settings.model_fields) <= set(settings.measures)
