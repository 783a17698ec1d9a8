# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What refines a mask: the relation of its inside to its outside; and where it starts: slices registered affinely."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from torch import nn

__all__ = ["ContextRelation", "affine_maps", "correlation_window", "mapped"]


def correlation_window(a: torch.Tensor, b: torch.Tensor, radius: int) -> torch.Tensor:
    """Products of each vector with those of another map around the same place: <a(p), b(p + d)> / sqrt(C).

    Args:
        a, b: (B, C, h, w). Beyond its border ``b`` is zero.
        radius: r, largest offset along each axis, in pixels of the map.

    Returns:
        (B, (2 r + 1)^2, h, w), offsets d row by row, from (-r, -r) to (r, r).
    """
    height, width = a.shape[2], a.shape[3]
    padded = F.pad(b, (radius, radius, radius, radius))
    rows: list[torch.Tensor] = []
    for y in range(2 * radius + 1):
        for x in range(2 * radius + 1):
            rows.append((a * padded[:, :, y : y + height, x : x + width]).sum(1))
    return torch.stack(rows, dim=1) / math.sqrt(a.shape[1])


class ContextRelation(nn.Module):
    """Context relation encoder: features inside a mask by how they relate to those outside of it.

    Features inside and outside the mask go through a convolution each; a window of their products, and the inside
    itself, are merged. Tang et al., "Recurrent mask refinement for few-shot medical image segmentation", ICCV 2021,
    https://arxiv.org/abs/2108.00622; numbers as in the published code.

    Args:
        in_channels: D, of the features.
        channels: of the two convolutions; the published code has as many as there are features.
        radius: of the window, in pixels of the feature map. Default 5.
        out_channels: of the relation. Default 64.
    """

    def __init__(self, in_channels: int, channels: int, radius: int = 5, out_channels: int = 64) -> None:
        super().__init__()
        self.radius = radius
        self.out_channels = out_channels
        self.inside = Convolution(2, in_channels, channels, kernel_size=3, act="RELU", norm="BATCH")
        self.outside = Convolution(2, in_channels, channels, kernel_size=3, act="RELU", norm="BATCH")
        merged = channels + (2 * radius + 1) ** 2
        self.merged = Convolution(2, merged, out_channels, kernel_size=1, act="RELU", norm="BATCH")

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, out_channels, h, w) of features (B, D, h, w) and the mask's share of their pixels (B, 1, h, w)."""
        inside = self.inside(features * mask)
        correlation = correlation_window(inside, self.outside(features * (1 - mask)), self.radius)
        return self.merged(torch.cat([correlation, inside], dim=1))


def mapped(maps: torch.Tensor, matrix: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Maps (N, C, H', W') by affine maps (N, 2, 3) on a grid of ``size`` (H, W): (N, C, H, W), zero beyond the border.

    Linear. An affine map takes a place of the grid to one of the map; both are (x, y) in pixels from the middle.
    """
    return F.grid_sample(maps, _sampled(matrix, size, maps.shape[2], maps.shape[3]), align_corners=False)


def _places(size: list[int], like: torch.Tensor) -> torch.Tensor:
    """(H, W, 3): x and y in pixels from the middle, and 1."""
    y = torch.arange(size[0], device=like.device, dtype=like.dtype) - 0.5 * (size[0] - 1)
    x = torch.arange(size[1], device=like.device, dtype=like.dtype) - 0.5 * (size[1] - 1)
    columns, rows = x.unsqueeze(0).expand(size[0], -1), y.unsqueeze(1).expand(-1, size[1])
    return torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)


def _sampled(matrix: torch.Tensor, size: list[int], height: int, width: int) -> torch.Tensor:
    """What ``grid_sample`` wants, (N, H, W, 2): places in a map of (height, width) as shares of its half."""
    found = (_places(size, matrix)[None, :, :, None] * matrix[:, None, None]).sum(-1)
    return torch.stack([found[..., 0] * (2.0 / width), found[..., 1] * (2.0 / height)], dim=-1)


def affine_maps(
    moving: torch.Tensor, fixed: torch.Tensor, iterations: int = 20, cell: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Register slices affinely, by the squared difference of their standardised intensities.

    Starts where centre of mass and extent agree and follows Gauss and Newton, damped, on means of cells.
    Where that does not end nearer than the slice as it lies, the map is the identity. (RP-Net's published code
    follows the gradient of such a measure in volumes by Adam.)

    Args:
        moving: (N, 1, H', W').
        fixed: (N, 1, H, W), with pixels of the same length.
        iterations: Default 20.
        cell: side of a cell in pixels. Default 4.

    Returns:
        maps (N, 2, 3) from places of ``fixed`` to those of ``moving``, for :func:`mapped`, and the mean squared
        difference (N,) that is left.
    """
    moving, fixed = _cells(moving, cell), _cells(fixed, cell)
    size = [fixed.shape[2], fixed.shape[3]]
    place = _places(size, fixed)
    unit = 0.5 * max(size[0], size[1])  # lengths near 1: all six numbers weigh alike
    stack = torch.cat([moving, _slope(moving, 3), _slope(moving, 2)], dim=1)
    identity = torch.eye(2, 3, dtype=fixed.dtype, device=fixed.device).expand(fixed.shape[0], -1, -1)
    units = torch.tensor([unit, unit, 1.0], dtype=place.dtype, device=place.device)
    matrix = _same_extent(moving, fixed)
    basis = place / units
    for _ in range(iterations):
        sampled = mapped(stack, matrix, size)
        residual = (sampled[:, :1] - fixed).flatten(1)
        slopes = sampled[:, 1:].unsqueeze(-1) * basis  # (N, 2, H, W, 3): of x', then y', by each number of its row
        jacobian = slopes.permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
        step = _solved(jacobian, residual).unflatten(1, (2, 3))
        matrix = matrix - step / units
    left, before = _difference(moving, fixed, matrix, size), _difference(moving, fixed, identity, size)
    better = left < before
    chosen = torch.where(better[:, None, None], matrix, identity)
    pixels = torch.tensor([1.0, 1.0, float(cell)], dtype=place.dtype, device=place.device)
    return chosen * pixels, torch.where(better, left, before)


def _cells(image: torch.Tensor, cell: int) -> torch.Tensor:
    """Means of cells, each slice with mean 0 and deviation 1."""
    image = F.avg_pool2d(image.float(), cell, ceil_mode=True)
    image = image - image.mean((1, 2, 3), keepdim=True)
    return image / image.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)


def _slope(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Central differences along an axis, zero at the border."""
    count = image.shape[axis]
    inner = 0.5 * (image.narrow(axis, 2, count - 2) - image.narrow(axis, 0, count - 2))
    return F.pad(inner, (1, 1, 0, 0) if axis == 3 else (0, 0, 1, 1))


def _same_extent(moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """Maps (N, 2, 3) by which centre of mass and deviation along each axis agree; the darkest weighs nothing."""
    middle, spread = _mass(fixed)
    other, wide = _mass(moving)
    ratio = (wide / spread.clamp(min=1e-6)).clamp(0.5, 2.0)
    shift = other - ratio * middle
    return torch.cat([torch.diag_embed(ratio), shift.unsqueeze(2)], dim=2)


def _mass(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre of mass and deviation along x and y, (N, 2) each."""
    weight = image - image.amin((1, 2, 3), keepdim=True)
    weight = (weight / weight.sum((1, 2, 3), keepdim=True).clamp(min=1e-6)).squeeze(1).unsqueeze(-1)
    place = _places([image.shape[2], image.shape[3]], image)[..., :2]
    middle = (weight * place).sum((1, 2))
    spread = (weight * (place - middle[:, None, None]).square()).sum((1, 2)).sqrt()
    return middle, spread


def _difference(moving: torch.Tensor, fixed: torch.Tensor, matrix: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Mean squared difference, (N,)."""
    return (mapped(moving, matrix, size) - fixed).square().mean((1, 2, 3))


def _solved(jacobian: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Least squares of J (N, K, L) and r (N, L), damped, (N, K): conjugate gradients, exact after K steps.

    ONNX has no solver of linear equations.
    """
    normal = (jacobian.unsqueeze(2) * jacobian.unsqueeze(1)).sum(-1)
    diagonal = normal.diagonal(dim1=1, dim2=2)
    normal = normal + torch.diag_embed(1e-3 * diagonal + 1e-6)
    x = torch.zeros_like(diagonal)
    left = (jacobian * residual.unsqueeze(1)).sum(-1)
    direction = left
    length = left.square().sum(1, keepdim=True)
    for _ in range(diagonal.shape[1]):
        image = (normal * direction.unsqueeze(1)).sum(2)
        share = length / (direction * image).sum(1, keepdim=True).clamp(min=1e-12)
        x = x + share * direction
        left = left - share * image
        rest = left.square().sum(1, keepdim=True)
        direction = left + rest / length.clamp(min=1e-12) * direction
        length = rest
    return x
