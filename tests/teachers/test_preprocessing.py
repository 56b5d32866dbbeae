"""Preprocessing as tensors against the transforms of open_clip and torchvision, which go through Pillow."""

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import transforms

from pointlift.teachers.preprocessing import Preprocessing
from teachers.pictures import CLASSES, draw

LEVEL = 1.001 / 255.0


def photographs(size):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    return np.concatenate([[draw(name, rng, size) for name in CLASSES], noise])


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [48, 96, 224])
def test_open_clips_own_transform_is_met_to_a_grey_level(size, mode):
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    reference = image_transform_v2(PreprocessCfg(size=96, resize_mode=mode), is_train=False)
    images = photographs(size)
    wanted = torch.stack([reference(Image.fromarray(image)) for image in images])
    found = Preprocessing(96, mean, std)(torch.from_numpy(images))
    difference = (found - wanted).abs() * torch.tensor(std).view(3, 1, 1)
    assert difference.max() <= (1e-6 if size == 96 else LEVEL)
    assert difference.mean() < 0.1 * LEVEL


def test_torchvisions_own_transform_is_met_to_a_grey_level():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    reference = transforms.Compose(
        [transforms.Resize((64, 64)), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )
    images = photographs(150)
    wanted = torch.stack([reference(Image.fromarray(image)) for image in images])
    found = Preprocessing(64, mean, std, interpolation="bilinear")(torch.from_numpy(images))
    assert ((found - wanted).abs() * torch.tensor(std).view(3, 1, 1)).max() <= LEVEL


def test_the_arithmetic_of_a_blue_first_network():
    image = torch.tensor([[[10, 20, 30]]], dtype=torch.uint8).expand(1, 8, 8, 3)
    pixels = Preprocessing(8, (104.0, 117.0, 123.0), (1.0, 2.0, 4.0), pixel_scale=1.0, channel_order="bgr")(image)
    assert pixels[0, :, 3, 5].tolist() == [30.0 - 104.0, (20.0 - 117.0) / 2.0, (10.0 - 123.0) / 4.0]
