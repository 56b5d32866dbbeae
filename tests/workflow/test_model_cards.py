"""What model cards are told of the shipped config: whose terms, where a teacher's weights come from, which limits."""

import copy
from pathlib import Path

import pytest
import yaml

from pointlift import rooms
from pointlift.configuration import read_config
from pointlift.contracts.settings import parse
from pointlift.graph import Graph
from pointlift.jobs import Jobs
from pointlift.model_cards import cards_settings, weights_source
from pointlift.reporting.slices import CardsSettings

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))


def graph(suite: str, edit=None) -> Graph:
    values = copy.deepcopy(CONFIG)
    values["suite"] = suite
    if edit is not None:
        edit(values)
    return Graph(read_config(values))


def told(suite: str, edit=None) -> dict:
    """Cards by run."""
    return {card["run"]: card for card in cards_settings(graph(suite, edit))["runs"]}


@pytest.mark.parametrize("suite", sorted(CONFIG["suites"]))
def test_every_suite_has_cards_that_the_program_takes(suite):
    built = graph(suite)
    settings = parse(CardsSettings, cards_settings(built), "cards")
    assert [card.run for card in settings.runs] == list(built.config.chosen.runs)
    assert settings.command.startswith(f"make benchmark SUITE={suite}")
    assert [f"results/report/{suite}/cards/{card.run}.md" for card in settings.runs] == list(built.model_cards())
    assert set(built.model_cards()) < set(built.targets().report)


def test_the_cards_of_a_suite_of_many_runs_fit_a_command_line():
    """Linux takes 131,072 bytes in one argument, and the shell is given the whole command as one."""
    jobs = Jobs(graph("princeton"))
    assert len(jobs.write_model_cards()) / len(jobs.config.chosen.runs) < 2_000


def test_terms_are_as_the_blocks_say_and_unknown_where_they_say_nothing():
    cards = told("princeton")
    assert [(one["name"], one["licence"], one["made_here"]) for one in cards["princeton_mcd"]["learned_from"][:1]] == [
        ("psb", "research use", False)
    ]
    teacher = cards["princeton_mcd"]["learned_from"][1]
    assert (teacher["name"], teacher.get("licence"), teacher["made_here"]) == ("imagenet_squeezenet", None, False)
    assert "published weights of squeezenet1_0, local file image_weights/" in teacher["what"]
    random = cards["princeton_mcd_random_teacher"]["learned_from"][1]
    assert (random["what"], random["made_here"]) == ("teacher: random weights, never trained", True)
    for run in ("princeton_scratch", "princeton_joint_mcd"):
        assert cards[run]["learned_from"] == []
    commands = [cards_settings(graph(suite))["command"] for suite in ("princeton", "nano")]
    assert commands == ["make benchmark SUITE=princeton DATA=<folder of archives>", "make benchmark SUITE=nano"]


def test_whoever_made_the_2d_weights_has_a_say():
    learned = told("mini_image2point")["mini_i2p_io"]["learned_from"]
    assert [(one["name"], one["what"]) for one in learned] == [
        (
            "mini_resnet8",
            "2D weights: trained in this graph on mini_teacher_shapes and its labels, from random weights",
        ),
        ("mini_teacher_shapes", "shapes its 2D weights were trained on"),
    ]
    cards = told("princeton_image2point")
    (source,) = cards["princeton_i2p_all"]["learned_from"]
    assert (source["name"], source.get("licence"), source["made_here"]) == ("cifar_resnet20", None, False)
    assert cards["princeton_i2p_frozen_random"]["learned_from"] == []


def test_what_the_program_makes_itself_is_told_as_that():
    learned = told("nano")["nano_mcd"]["learned_from"]
    assert [(one["name"], one["made_here"]) for one in learned] == [
        ("nano_distillation_shapes", True),
        ("nano_clip", True),
        ("nano_teacher_shapes", True),
    ]


def test_terms_of_an_owner_come_whole():
    def edit(values):
        values["runs"]["princeton_mcd"] |= {"dataset": "shapenet55"}

    source = told("princeton", edit)["princeton_mcd"]["learned_from"][0]
    assert (source["licence"], source["page"]) == ("ShapeNet terms of use", "https://shapenet.org")
    assert "research and education only" in source["terms"]


def test_terms_of_the_run_that_a_run_starts_from_are_its_own_too():
    cards = told("princeton_concept")
    names = [one["name"] for one in cards["princeton_concept_init"]["learned_from"]]
    assert names == ["psb", "imagenet_squeezenet"]
    assert cards["princeton_concept_init"]["init"] == "princeton_point_mae"
    assert [one["name"] for one in cards["princeton_point_mae"]["learned_from"]] == ["psb"]


def test_limits_are_the_tasks_that_a_run_does_not_meet():
    card = told("nano")["nano_joint_mcd"]
    assert {"linear_probe", "few_shot"} <= set(card["not_judged_by"])
    assert set(card["finetuned_by"]) == {"classification", "part_segmentation"}
    probed = told("nano")["nano_mcd"]
    assert probed["placed_by_mesh"] and not card["placed_by_mesh"]
    assert "linear_probe" not in probed["not_judged_by"] and "linear_probe" not in probed["finetuned_by"]


TRAINING = {"dataset": "a_set", "rig": "r", "recipe": {"epochs": 1, "batch_size": 4, "learning_rate": 0.1}}
SOURCES = [
    ({"kind": "imagenet_cnn", "architecture": "vgg11"}, "published weights of vgg11"),
    ({"kind": "imagenet_cnn", "architecture": "vgg11", "initialisation": "random"}, "random weights, never trained"),
    (
        {"kind": "imagenet_cnn", "architecture": "vgg11", "weights_file": "a/b.npz"},
        "published weights of vgg11, local file a/b.npz",
    ),
    ({"kind": "clip", "model": "ViT-B-32", "pretrained": "openai"}, "published weights openai of ViT-B-32"),
    ({"kind": "clip", "model": "hf-hub:x/y"}, "published weights of hf-hub:x/y"),
    (
        {"kind": "clip", "model": "ViT-B-32", "training": TRAINING},
        "trained in this graph on a_set and its labels, from random weights",
    ),
    (
        {"kind": "view_classifier", "architecture": "resnet18", "training": TRAINING},
        "trained in this graph on a_set and its labels, from published weights of resnet18",
    ),
    (
        {"kind": "view_classifier", "architecture": "resnet18", "training": TRAINING, "backbone_file": "r.pth"},
        "trained in this graph on a_set and its labels, from published weights of resnet18, local file r.pth",
    ),
    (
        {"kind": "view_autoencoder", "training": TRAINING, "initialisation": "random"},
        "trained in this graph on a_set, from random weights",
    ),
    ({"kind": "view_autoencoder", "training": TRAINING}, "trained in this graph on a_set, from published weights"),
    ({"kind": "view_autoencoder", "weights_file": "w.pth"}, "published weights, local file w.pth"),
]


@pytest.mark.parametrize(("block", "source"), SOURCES)
def test_where_a_teachers_weights_come_from(block, source):
    settings = parse(rooms.settings_class("teachers", block["kind"]), block, "teacher")
    assert weights_source(settings) == source
