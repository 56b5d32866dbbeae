"""Published weights: a tag's and a hub model's files, in the caches and forms that open_clip keeps them, no network."""

import hashlib
import json
import re

import open_clip
import pytest
import torch
from open_clip import pretrained
from safetensors.torch import save_file

from pointlift.contracts.errors import ArtifactError, ConfigError, MachineError
from pointlift.teachers import clip, clip_network
from teachers.test_clip import OTHER_WIDTH, VIT, images

REPOSITORY, REVISION = "nobody/tiny-vit", "0123456789abcdef0123456789abcdef01234567"
FILES = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
HUB = f"hf-hub:{REPOSITORY}"
MEAN = [0.1, 0.2, 0.3]


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """An empty cache of the hub, without a network: what HF_HUB_OFFLINE=1 and HF_HOME say to a new process."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def plain():
    """An open_clip model made by open_clip alone."""
    torch.manual_seed(6)
    return open_clip.model.CLIP(**VIT).eval()


def cached(hub, repository=REPOSITORY):
    """The folder of a repository's only snapshot, as huggingface_hub lays it out."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(REVISION)
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def save(network, path):
    state = network.state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.fixture
def tagged(monkeypatch):
    """The small architecture, known to open_clip with two tags as its own table has them; gives its name."""
    name = clip_network.architecture_name(VIT)
    tags = {
        "hub_tag": pretrained._pcfg(hf_hub=f"{REPOSITORY}/", mean=tuple(MEAN)),
        "named_tag": pretrained._pcfg(hf_hub=f"{REPOSITORY}/weights.bin"),
    }
    monkeypatch.setitem(pretrained._PRETRAINED, name, tags)
    return name


def build(model, tag=None):
    return clip.build(clip.Settings(kind="clip", model=model, pretrained=tag), None)


def assert_same(teacher, plain):
    """Its embeddings of images and texts are those of the model that open_clip made."""
    texts = ["a render of a cup", "a chair"]
    with torch.no_grad():
        wanted = plain.encode_image(teacher.preprocessing(images()))
        torch.testing.assert_close(teacher.encode(images()).embedding, wanted)
        tokens = open_clip.SimpleTokenizer(context_length=12)(texts)
        torch.testing.assert_close(teacher.encode_text(texts), plain.encode_text(tokens))


@pytest.mark.parametrize("file_name", FILES)
def test_a_tag_gives_the_published_weights_and_pixels(hub, tagged, plain, file_name):
    save(plain, cached(hub) / file_name)
    teacher = build(tagged, "hub-tag")  # open_clip reads - as _
    assert_same(teacher, plain)
    assert teacher.preprocessing.mean.flatten().tolist() == pytest.approx(MEAN)


def test_a_tag_may_name_a_file_of_its_own(hub, tagged, plain):
    save(plain, cached(hub) / "weights.bin")
    assert_same(build(tagged, "named_tag"), plain)


@pytest.fixture
def by_address(tagged, plain, tmp_path, monkeypatch):
    """A tag with an address whose file, with part of its sha256 in the name, lies in open_clip's own cache."""
    folder = tmp_path / "home" / ".cache" / "clip"
    folder.mkdir(parents=True)
    path = save(plain, folder / "made.pt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path = path.rename(folder / f"tiny-{digest}.pt")
    url = f"https://github.com/mlfoundations/open_clip/releases/download/v0.0-weights/{path.name}"
    monkeypatch.setitem(pretrained._PRETRAINED, tagged, {"address": pretrained._pcfg(url=url)})
    return tagged, path


def test_a_tag_with_an_address_is_read_from_open_clips_cache(by_address, plain):
    assert_same(build(by_address[0], "address"), plain)


@pytest.mark.filterwarnings("ignore:.*SHA256 checksum does not match")
def test_a_file_that_is_not_what_its_address_says_is_never_used(by_address):
    name, path = by_address
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MachineError, match=r"\(address\) could not be fetched") as caught:
        build(name, "address")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, tag, repository",
    [
        ("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-B-32", "openai", "timm/vit_base_patch32_clip_224.openai"),
        ("RN50", "openai", "timm/resnet50_clip.openai"),
    ],
)
def test_real_tags_are_looked_for_where_the_hub_keeps_them(hub, name, tag, repository):
    path = cached(hub, repository) / FILES[0]
    path.write_bytes(b"x")
    assert clip_network._fetch(name, tag) == path
    with pytest.raises(ArtifactError, match=rf"{re.escape(FILES[0])}: not a readable open_clip checkpoint"):
        build(name, tag)


@pytest.fixture
def published(hub, plain):
    """A hub model with its config and weights in the cache; gives its snapshot folder."""
    snapshot = cached(hub)
    config = {"model_cfg": VIT, "preprocess_cfg": {"mean": MEAN, "std": [0.5, 0.6, 0.7], "interpolation": "bilinear"}}
    (snapshot / "open_clip_config.json").write_text(json.dumps(config))
    save(plain, snapshot / FILES[0])
    return snapshot


def test_a_hub_model_gives_its_weights_its_pixels_and_its_texts(published, plain):
    teacher = build(HUB)
    assert_same(teacher, plain)
    assert teacher.preprocessing.mean.flatten().tolist() == pytest.approx(MEAN)
    assert teacher.preprocessing.interpolation.value == "bilinear"


def test_a_random_arm_of_a_hub_model_has_its_architecture_alone(published, plain):
    teacher = clip.build(clip.Settings(kind="clip", model=HUB, initialisation="random"), None)
    with torch.no_grad():
        wanted = plain.encode_image(teacher.preprocessing(images()))
    assert teacher.encode(images()).embedding.shape == wanted.shape
    assert not torch.allclose(teacher.encode(images()).embedding, wanted, atol=1e-2)


@pytest.mark.parametrize("source", ["tag", "hub"])
@pytest.mark.parametrize("file_name", FILES)
def test_published_weights_of_another_architecture_are_told_in_one_line(hub, tagged, published, source, file_name):
    (published / FILES[0]).unlink()
    save(open_clip.model.CLIP(**OTHER_WIDTH), published / file_name)
    with pytest.raises(ArtifactError, match=rf"{re.escape(file_name)}: holds another architecture than") as caught:
        build(tagged, "hub_tag") if source == "tag" else build(HUB)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["tag", "hub"])
@pytest.mark.parametrize("file_name", FILES)
def test_published_weights_cut_short_are_told_in_one_line(hub, tagged, plain, published, source, file_name):
    path = save(plain, published / file_name)
    path.write_bytes(path.read_bytes()[:20000])
    if path.name != FILES[0]:
        (published / FILES[0]).unlink()
    with pytest.raises(ArtifactError, match=rf"{re.escape(file_name)}: not a readable .*delete it") as caught:
        build(tagged, "hub_tag") if source == "tag" else build(HUB)
    assert "\n" not in str(caught.value)


def test_a_missing_tag_lists_those_there_are(tagged):
    with pytest.raises(ConfigError, match=r"has no pretrained tag 'laion9b'; its tags: hub_tag, named_tag"):
        build(tagged, "laion9b")


def test_a_tag_whose_file_is_in_no_cache_is_told_in_one_line(tagged):
    with pytest.raises(MachineError, match=r"\(hub_tag\) could not be fetched .*weights_file") as caught:
        build(tagged, "hub_tag")
    assert "\n" not in str(caught.value)


def test_a_hub_model_without_its_weights_is_told(published):
    (published / FILES[0]).unlink()
    with pytest.raises(MachineError, match=rf"weights of {HUB} could not be fetched"):
        build(HUB)


@pytest.mark.parametrize("initialisation", ["pretrained", "random"])
def test_a_hub_model_without_its_config_is_told(initialisation):
    with pytest.raises(MachineError, match=rf"open_clip_config.json of {HUB} could not be fetched"):
        clip.build(clip.Settings(kind="clip", model=HUB, initialisation=initialisation), None)


@pytest.mark.parametrize("text", ["{", '{"model_cfg": {"embed_dim": 8}}', "[]", '{"model_cfg": 7}'])
def test_a_hub_config_that_is_none_is_told_in_one_line(published, text):
    (published / "open_clip_config.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"open_clip_config\.json: not an open_clip config") as caught:
        build(HUB)
    assert "\n" not in str(caught.value)
