"""Augmentation: pure, within its ranges, and off where it is switched off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ann import to_tensor
from classifier import InputError
from toolkit.augment import RANGES, _grow, augment, parts_of


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch(digits_train):
    return to_tensor(digits_train.images[:200])


@pytest.fixture(scope="module")
def labels(digits_train):
    return torch.from_numpy(digits_train.labels[:200])


def test_the_same_seed_gives_the_same_variants_and_originals_stay(batch, labels):
    before = batch.clone()
    one = augment(batch, generator(3), labels=labels)
    torch.testing.assert_close(one, augment(batch, generator(3), labels=labels), rtol=0, atol=0)
    assert not torch.equal(one, augment(batch, generator(4), labels=labels))
    torch.testing.assert_close(batch, before, rtol=0, atol=0)
    assert one.shape == batch.shape
    assert one.min() >= 0
    assert one.max() <= 1


def test_strength_zero_or_no_parts_change_nothing(batch):
    assert augment(batch, generator(), strength=0) is batch
    assert augment(batch, generator(), parts=()) is batch


@pytest.mark.parametrize("part", sorted(RANGES))
def test_each_part_changes_the_images_and_more_so_when_stronger(part, batch, labels):
    changes = [
        (augment(batch, generator(), labels=labels, strength=strength, parts=[part]) - batch).abs().mean()
        for strength in (0.3, 1.0)
    ]
    assert 0 < changes[0] < changes[1]


@pytest.mark.parametrize("reach", [1, 2])
def test_ink_grows_as_by_max_pooling(batch, reach):
    for images in (batch, -batch):
        pooled = torch.nn.functional.max_pool2d(images, 2 * reach + 1, stride=1, padding=reach)
        torch.testing.assert_close(_grow(images, reach), pooled, rtol=0, atol=0)


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
    thickness_off = augment(batch, generator(), parts=["rotation", "style"])
    torch.testing.assert_close(alone, thickness_off)


def test_styles_are_given_to_their_digits_only(batch, labels):
    changed = (augment(batch, generator(), labels=labels, parts=["style"]) - batch).abs().amax(
        dim=(1, 2, 3)
    ) > 0.5
    styled = {0, 1, 4, 5, 7, 8, 9}
    for digit in range(10):
        share = changed[labels == digit].float().mean().item()
        assert share == 0 if digit not in styled else share < 0.9
    assert changed[labels == 1].any()
    assert changed[labels == 9].any()


def test_a_flag_is_drawn_from_the_top_of_a_one_to_the_left():
    one = torch.zeros(400, 1, 28, 28)
    one[:, :, 4:24, 13:15] = 1
    labels = torch.ones(400, dtype=torch.int64)
    flagged = augment(one, generator(), labels=labels, parts=["style"])
    added = (flagged - one)[:, 0].clamp(min=0)
    with_ink = added.sum((1, 2)) > 5
    assert 0.3 < with_ink.float().mean() < 0.65
    blank = torch.zeros(5, 1, 28, 28)
    assert torch.isfinite(augment(blank, generator(), labels=labels[:5])).all()


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


def test_the_sheet_is_drawn(script):
    script("toolkit.augment", "--dataset", "digits", "--output", "sheet.png")
    from PIL import Image

    assert np.asarray(Image.open(script.folder / "sheet.png")).std() > 20
    assert (
        "unknown augmentation"
        in script("toolkit.augment", "--dataset", "digits", "--parts", "blur", status=2).stderr
    )
