# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""OrganNet's reasoning against im2col, by hand, and on textures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_fss.networks.blocks import PyramidReasoning, neighbourhood_attention, neighbourhood_weights


def im2col(volume: torch.Tensor, size: int) -> torch.Tensor:
    """(B, M, H, W, D) -> (B, M, size^3, H, W, D), zeros beyond the border."""
    reach = size // 2
    padded = F.pad(volume, [reach] * 6)
    height, width, depth = volume.shape[2:]
    offsets = [(i, j, k) for i in range(size) for j in range(size) for k in range(size)]
    return torch.stack([padded[:, :, i : i + height, j : j + width, k : k + depth] for i, j, k in offsets], 2)


def naive(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, size: int) -> torch.Tensor:
    """Eqs. 1 to 5 as they stand."""
    weight = torch.softmax((im2col(key, size) * query[:, :, None]).sum(1), 1)
    return (im2col(value, size) * weight[:, None]).sum(2)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("at_once", [1, 1 << 23])
def test_equals_im2col_in_value_and_gradient(size: int, at_once: int) -> None:
    """Odd shapes, none a multiple of the cubes; layer by layer and all at once."""
    torch.manual_seed(0)
    inputs = [(0.7 * torch.randn(2, channels, 9, 3, 6)).requires_grad_() for channels in (4, 4, 5)]
    expected, found = naive(*inputs, size), neighbourhood_attention(*inputs, size, at_once)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    along = torch.randn_like(expected)
    pairs = zip(
        torch.autograd.grad(found, inputs, along, allow_unused=True),
        torch.autograd.grad(expected, inputs, along),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(torch.zeros_like(theirs) if ours is None else ours, theirs, rtol=0, atol=1e-5)


def test_nothing_but_the_inputs_is_kept_for_the_gradients() -> None:
    """A neighbourhood of 7 would need 343 copies of the features."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = [torch.randn(1, 4, 16, 16, 16, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        neighbourhood_attention(*inputs, 7).sum()
    # The three, filled up to 22 x 22 x 22 where they are looked at, and once more the cubes' distances.
    assert sum(kept.values()) < 4 * (4 * 16**3 + 8 * 22**3 + 64 * 1000) + 4096


def test_an_even_neighbourhood_has_no_middle() -> None:
    one = torch.zeros(1, 1, 4, 4, 4)
    with pytest.raises(ValueError, match="odd: got 4"):
        neighbourhood_attention(one, one, one, 4)
    with pytest.raises(ValueError, match="odd: got 0"):
        PyramidReasoning(1, 1, 1, 1, 0)


def test_where_a_voxel_is_like_itself_alone_it_takes_its_own_mask() -> None:
    """Orthogonal features of length 10: the softmax has 100 against 0."""
    torch.manual_seed(0)
    features = torch.eye(27).reshape(27, 27).T.reshape(1, 27, 3, 3, 3) * 10
    mask = torch.rand(1, 2, 3, 3, 3)
    torch.testing.assert_close(neighbourhood_attention(features, features, mask, 3), mask)
    weights = neighbourhood_weights(features[0], features[0], 3, [0, 1, 2])
    assert weights.argmax() == 13 and weights.max() > 0.999 and weights.sum() == pytest.approx(1)


def test_a_shift_of_the_anchor_is_undone() -> None:
    """A texture that is moved by one voxel along two axes: what is gathered lies where the target has it."""
    torch.manual_seed(0)
    texture = 4 * F.normalize(torch.randn(1, 16, 10, 10, 10), dim=1)
    mask = (torch.rand(1, 1, 10, 10, 10) > 0.5).float()
    moved, moved_mask = texture.roll((1, -1), (2, 4)), mask.roll((1, -1), (2, 4))
    inner = (slice(None), slice(None), slice(1, -1), slice(None), slice(1, -1))
    found = neighbourhood_attention(texture, moved, moved_mask, 3)[inner]
    assert (found - mask[inner]).abs().max() < 0.05
    assert (moved_mask[inner] - mask[inner]).abs().max() == 1
    weights = neighbourhood_weights(texture[0], moved[0], 3, [5, 5, 5])
    assert torch.unravel_index(weights.argmax(), (3, 3, 3)) == (2, 1, 0)


def test_the_module_concatenates_target_anchor_and_mask() -> None:
    torch.manual_seed(0)
    module = PyramidReasoning(2, 3, 4, 5, 3)
    target, anchor, mask = (torch.randn(2, channels, 5, 6, 4) for channels in (2, 3, 4))
    out = module(target, anchor, mask)
    x_t, x_a, x_m = module.target(target), module.anchor(anchor), module.mask(mask)
    expected = torch.cat([x_t, naive(x_t, x_a, x_a, 3), naive(x_t, x_a, x_m, 3)], 1)
    assert out.shape == (2, 15, 5, 6, 4)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    scripted = torch.jit.script(module)
    torch.testing.assert_close(scripted(target, anchor, mask), out, rtol=0, atol=1e-6)
