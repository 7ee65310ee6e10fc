"""Augmentation: pure, within its ranges, and off where it is switched off."""

from __future__ import annotations

from ann import to_tensor
from toolkit import augment as module
from toolkit.augment import AUGMENTATIONS, RANGES, _grow, augment, parts_of
from toolkit.files import InputError

import numpy as np
import pytest
import torch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch(digits_train):
    return to_tensor(digits_train.images[:200])


def test_the_same_seed_gives_the_same_variants_and_originals_stay(batch):
    before = batch.clone()
    one = augment(batch, generator(3))
    torch.testing.assert_close(one, augment(batch, generator(3)), rtol=0, atol=0)
    assert not torch.equal(one, augment(batch, generator(4)))
    torch.testing.assert_close(batch, before, rtol=0, atol=0)
    assert one.shape == batch.shape
    assert one.min() >= 0
    assert one.max() <= 1


def test_strength_zero_or_no_parts_change_nothing(batch):
    assert augment(batch, generator(), strength=0) is batch
    assert augment(batch, generator(), parts=()) is batch


@pytest.mark.parametrize("part", sorted(RANGES))
def test_each_part_changes_the_images_and_more_so_when_stronger(part, batch):
    changes = [
        (augment(batch, generator(), strength=strength, parts=[part]) - batch).abs().mean()
        for strength in (0.3, 1.0)
    ]
    assert 0 < changes[0] < changes[1]


@pytest.mark.parametrize("reach", [1, 2])
def test_ink_grows_as_by_max_pooling(batch, reach):
    for images in (batch, -batch):
        pooled = torch.nn.functional.max_pool2d(images, 2 * reach + 1, stride=1, padding=reach)
        torch.testing.assert_close(_grow(images, reach), pooled, rtol=0, atol=0)


def test_elastic_bends_by_bicubic_interpolation():
    batch = module.Batch(torch.zeros(6, 1, 28, 28))
    module.elastic(batch, module.Draw(3, "elastic", 6, batch.images.device), 0.5)
    control = module.Draw(3, "elastic", 6, batch.images.device).normal(2, 5, 5) * 0.5
    bend = torch.nn.functional.interpolate(control, (28, 28), mode="bicubic", align_corners=True)
    torch.testing.assert_close(batch.bend.permute(0, 3, 1, 2), bend)


def test_parts_are_named_with_commas():
    assert parts_of("all") == tuple(RANGES)
    assert parts_of("translation, scale") == ("translation", "scale")
    with pytest.raises(InputError, match="unknown augmentation 'blur'; known are translation"):
        parts_of("translation,blur")


def test_translation_moves_by_up_to_its_range(batch):
    moved = augment(batch, generator(), parts=["translation"])
    place = torch.arange(28.0)
    for axis in (2, 3):
        before, after = ((x.sum(dim=(1, axis)) * place).sum(1) / x.sum(dim=(1, 2, 3)) for x in (batch, moved))
        shift = after - before
        assert shift.abs().max() < RANGES["translation"] + 0.3
        assert shift.abs().max() > RANGES["translation"] * 0.8
        assert abs(shift.mean()) < 0.4


def test_rotation_turns_both_ways_by_up_to_its_range():
    line = torch.zeros(300, 1, 28, 28)
    line[:, :, 4:24, 13:15] = 1
    turned = augment(line, generator(), parts=["rotation"])[:, 0]
    y, x = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    angle = torch.rad2deg(torch.atan2((turned * x * y).sum((1, 2)), (turned * y * y).sum((1, 2))))
    assert angle.abs().max() == pytest.approx(RANGES["rotation"], abs=1)
    assert abs(angle.mean()) < 1.5


def test_leaving_a_part_out_changes_no_other_part(batch):
    alone = augment(batch, generator(), parts=["rotation"])
    with_more = augment(batch, generator(), parts=["rotation", "blot"])
    same = (alone - with_more).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert same.float().mean() > 0.5  # a blot falls on one image in five


def test_a_new_augmentation_is_one_function_and_one_entry(batch, monkeypatch):
    before = augment(batch, generator())

    def fade(batch, draw, size):
        batch.images = batch.images * (1 - draw.between(0, size)).view(-1, 1, 1, 1)

    monkeypatch.setattr(module, "AUGMENTATIONS", {"fade": (fade, 0.5), **AUGMENTATIONS})
    faded = augment(batch, generator(), parts=["fade"])
    assert (faded <= augment(batch, generator(), parts=["thickness"], strength=1e-9) + 1e-6).all()
    assert not torch.equal(faded, batch)
    assert "fade" in parts_of("all")
    # Its random numbers are its own: the others change as before.
    torch.testing.assert_close(augment(batch, generator(), parts=list(RANGES)), before)


def test_every_augmentation_has_random_numbers_of_its_own(batch):
    streams = [module.Draw(7, name, 4, batch.device).between(0, 1) for name in RANGES]
    assert len({tuple(stream.tolist()) for stream in streams}) == len(streams)


def test_a_blot_fills_loops_and_leaves_bays_open():
    box = torch.zeros(40, 1, 28, 28)
    box[:, :, 7:21, 7:20] = 1
    box[:, :, 12:16, 12:15] = 0
    loop, bay = box.clone(), box.clone()
    loop[:, :, 12:16, 11:15] = 0
    bay[:, :, 12:16, 7:15] = 0
    filled = augment(loop, generator(), parts=["blot"], strength=5)[:, 0, 13:15, 12:14].mean(dim=(1, 2))
    assert 0.1 < (filled > 0.9).float().mean() < 0.7
    assert ((filled > 0.9) | (filled < 0.1)).all()
    assert augment(bay, generator(), parts=["blot"], strength=5)[:, 0, 13:15, 7:10].max() < 0.1


def test_a_blot_never_makes_a_digit_a_patch_of_ink():
    ring = torch.zeros(40, 1, 28, 28)
    ring[:, :, 9:19, 9:18] = 1
    ring[:, :, 12:16, 11:15] = 0
    assert augment(ring, generator(), parts=["blot"], strength=5)[:, 0, 13:15, 12:14].max() < 0.1


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf")])
def test_a_wrong_strength_is_refused(batch, strength):
    with pytest.raises(InputError, match="strength of augmentation from 0"):
        augment(batch, generator(), strength=strength)


def test_an_unknown_part_is_refused(batch):
    with pytest.raises(InputError, match="unknown augmentation 'blur'; known are translation"):
        augment(batch, generator(), parts=["blur"])


def test_variants_of_blank_paper_are_blank():
    blank = torch.zeros(3, 1, 28, 28)
    assert not augment(blank, generator()).any()


@pytest.mark.parametrize("name", ["x.xyz", "sheet", "."])
def test_a_sheet_that_cannot_be_written_is_refused_before_any_work(script, name):
    said = script("toolkit.augment", "--data", "nowhere", "--output", name, status=2).stderr
    assert "wanted a file that ends in .png" in said


@pytest.mark.parametrize(
    ("flag", "value", "sentence"), [("--strength", "nan", "strength"), ("--parts", "x", "unknown")]
)
def test_a_wrong_flag_is_refused_before_any_work(script, flag, value, sentence):
    assert sentence in script("toolkit.augment", "--data", "nowhere", flag, value, status=2).stderr


def test_the_sheet_is_drawn(script):
    script("toolkit.augment", "--dataset", "digits", "--output", "sheet.png")
    from PIL import Image

    assert np.asarray(Image.open(script.folder / "sheet.png")).std() > 20
    assert (
        "unknown augmentation"
        in script("toolkit.augment", "--dataset", "digits", "--parts", "blur", status=2).stderr
    )
