"""open_clip models: weights from real checkpoint files, clear errors for the rest, texts, precision, patch tokens."""

import json
import re

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from pointlift.contracts.errors import ArtifactError, ConfigError, MachineError
from pointlift.contracts.settings import mistakes
from pointlift.rooms import settings_class
from pointlift.teachers import clip, clip_network
from teachers.pictures import MODEL

VIT = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 64},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
OTHER_WIDTH = VIT | {"embed_dim": 48}


def settings(**block):
    return clip.Settings(**({"kind": "clip", "model": VIT} | block))


def images(count=4, size=64):
    return torch.randint(0, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


@pytest.fixture(scope="module")
def plain():
    """An open_clip model made by open_clip alone."""
    torch.manual_seed(5)
    return open_clip.model.CLIP(**VIT).eval()


@pytest.fixture(scope="module", params=[".safetensors", ".pt", ".bin"])
def checkpoint(request, plain, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / f"open_clip_model{request.param}"
    if request.param == ".safetensors":
        save_file(plain.state_dict(), path)
    else:  # the form of open_clip's training script: wrapped, with the prefix of a distributed model
        torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in plain.state_dict().items()}}, path)
    return path


def test_a_local_checkpoint_gives_open_clips_own_numbers(checkpoint, plain):
    teacher = clip.build(settings(weights_file=checkpoint.name), checkpoint)
    pixels = teacher.preprocessing(images())
    with torch.no_grad():
        torch.testing.assert_close(teacher.encode(images()).embedding, plain.encode_image(pixels))
        tokens = open_clip.SimpleTokenizer(context_length=12)(["a render of a cup"])
        torch.testing.assert_close(teacher.encode_text(["a render of a cup"]), plain.encode_text(tokens))


def test_patch_tokens_are_the_towers_own(checkpoint, plain):
    teacher = clip.build(settings(weights_file=checkpoint.name), checkpoint)
    found = teacher.encode(images(), tokens=True)
    assert found.tokens.shape == (4, 16, 32)
    tower = plain.visual
    tower.output_tokens = True
    try:
        with torch.no_grad():
            pooled, patches = tower(teacher.preprocessing(images()))
    finally:
        tower.output_tokens = False
    torch.testing.assert_close(found.embedding, pooled)
    torch.testing.assert_close(found.tokens, patches)


def test_a_file_of_another_architecture_is_told_in_one_line(checkpoint):
    with pytest.raises(ArtifactError, match="holds another architecture than") as caught:
        clip.build(settings(model=OTHER_WIDTH, weights_file=checkpoint.name), checkpoint)
    assert "\n" not in str(caught.value)
    assert checkpoint.name in str(caught.value)


def test_a_truncated_file_is_told_in_one_line(checkpoint, tmp_path):
    short = tmp_path / checkpoint.name
    short.write_bytes(checkpoint.read_bytes()[:20000])
    with pytest.raises(ArtifactError, match="not a readable open_clip checkpoint") as caught:
        clip.build(settings(weights_file=short.name), short)
    assert "\n" not in str(caught.value)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hook": print}, path)
    with pytest.raises(ArtifactError, match="not a readable open_clip checkpoint"):
        clip.build(settings(weights_file=path.name), path)


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(ArtifactError, match=r"no such weights file.*paths\.archives"):
        clip.build(settings(weights_file="x.pt"), tmp_path / "x.pt")


def test_an_unknown_architecture_names_near_ones():
    with pytest.raises(ConfigError, match=r"no architecture 'ViT-B32'; near: .*ViT-B-32"):
        clip.build(settings(model="ViT-B32", pretrained="openai"), None)


def test_an_unknown_tag_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"ViT-B-32 has no pretrained tag 'laion9b'; its tags: .*openai"):
        clip.build(settings(model="ViT-B-32", pretrained="laion9b"), None)


@pytest.mark.parametrize("model, tag", [("hf-hub:nobody/nothing", None), ("RN50", "openai"), ("ViT-B-16", "openai")])
def test_no_network_is_told_in_one_line(model, tag, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(MachineError, match=r"could not be fetched .*weights_file") as caught:
        clip.build(settings(model=model, pretrained=tag), None)
    assert "\n" not in str(caught.value)


def test_a_config_open_clip_cannot_build_is_a_config_error():
    with pytest.raises(ConfigError, match="open_clip cannot build"):
        clip.build(settings(model=VIT | {"vision_cfg": {"depth": 3}}, initialisation="random"), None)


@pytest.mark.parametrize(
    "block, told",
    [
        ({"model": VIT}, "exactly one of .*given: none"),
        ({"model": VIT, "pretrained": "openai", "weights_file": "a.pt"}, "given: pretrained, weights_file"),
        ({"model": "hf-hub:a/b", "pretrained": "openai"}, "given: pretrained, an hf-hub: model"),
        ({"model": {"embed_dim": 8}, "initialisation": "random"}, "missing: vision_cfg, text_cfg"),
        ({"model": VIT, "initialisation": "random", "prompts": ["a render"]}, "names the class once"),
        ({"model": VIT, "initialisation": "random", "precision": "int8"}, "'float32', 'bfloat16' or 'float16'"),
    ],
)
def test_settings_that_cannot_be_meant(block, told):
    found = mistakes(settings_class("teachers", "clip"), {"kind": "clip"} | block, "teachers.x")
    assert len(found) == 1
    assert re.search(told, found[0])


def test_weights_that_nobody_asked_for_are_refused(checkpoint):
    with pytest.raises(ConfigError, match="come from no file"):
        clip.build(settings(initialisation="random"), checkpoint)
    with pytest.raises(ConfigError, match=r"come from a\.pt"):
        clip.build(settings(weights_file="a.pt"), None)


@pytest.mark.parametrize("model", [VIT, MODEL], ids=["vit", "resnet"])
@pytest.mark.parametrize("precision, closeness", [("bfloat16", 0.999), ("float16", 0.9999)])
def test_lower_precision_stays_close(model, precision, closeness):
    exact = clip.build(settings(model=model, initialisation="random"), None)
    lower = clip.build(settings(model=model, initialisation="random", precision=precision), None)
    # The same weights but for their rounding: otherwise the comparison would say nothing.
    name = next(name for name in exact.state_dict() if name.endswith("conv1.weight"))
    assert lower.state_dict()[name].dtype == getattr(torch, precision)
    cosine = torch.cosine_similarity(exact.encode(images()).embedding, lower.encode(images()).embedding)
    assert cosine.min() > closeness
    assert (exact.encode(images()).embedding != lower.encode(images()).embedding).any()
    texts = ["a cup", "a render of an airplane"]
    assert torch.cosine_similarity(exact.encode_text(texts), lower.encode_text(texts)).min() > closeness


def test_class_prompts_are_means_of_unit_vectors():
    prompts = ("a render of a {}", "{} in grey")
    teacher = clip.build(settings(initialisation="random", prompts=prompts), None)
    found = teacher.encode_class_prompts(["office_chair", "cup"])
    texts = teacher.encode_text(["a render of a office chair", "office chair in grey"]).double()
    wanted = (texts / texts.norm(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(found[0].double(), wanted / wanted.norm(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found[0], found[1])
    other = clip.build(settings(initialisation="random"), None)
    torch.testing.assert_close(other.encode_class_prompts(["office_chair", "cup"], prompts), found)
    assert not torch.allclose(other.encode_class_prompts(["office_chair", "cup"]), found)


@pytest.mark.parametrize("names", [("night_stand", "night-stand"), ("Cup", "cup")])
def test_classes_that_are_spoken_alike_are_told(names):
    teacher = clip.build(settings(initialisation="random"), None)
    with pytest.raises(ConfigError, match=f"{names[0]}' and '{names[1]}' are the same to this model"):
        teacher.encode_class_prompts(["bowl", *names])


def test_prompts_that_are_cut_off_before_the_name_are_told():
    teacher = clip.build(settings(initialisation="random"), None)
    long = "a very long prompt with so many words that there is no room for a {}"
    with pytest.raises(ConfigError, match="reads 12 tokens; shorten the prompts"):
        teacher.encode_class_prompts(["bowl", "cup"], [long])
    assert len(teacher.encode_class_prompts(["bowl", "cup"], [long, "{}"])) == 2  # one of them tells the two apart


def test_an_inline_config_and_its_built_in_twin_are_one_model():
    name = "RN50"
    config = json.loads(json.dumps(open_clip.get_model_config(name)))
    assert clip_network.architecture_name(name) == name
    assert open_clip.get_model_config(clip_network.architecture_name(config)) == config
