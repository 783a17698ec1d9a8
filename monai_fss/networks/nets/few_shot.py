# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The few-shot contract: a network that has been shown its support set is an ordinary segmentation network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .model_note import pass_over_note

__all__ = ["FewShotNet"]

SLICES_PER_PASS = 16  # of a support set: bounds the memory of many labelled slices


class FewShotNet(nn.Module):
    """Base of every few-shot network.

    ``condition(support_image, support_label)`` stores what the support set says in buffers. After that
    ``network(image)`` returns logits like any MONAI network, so that inferers, evaluators and TorchScript need no
    special case; the support set is encoded once for any number of queries. Support reaches ``forward`` in
    training alone, where it belongs to the episode.

    A subclass registers its buffers by :meth:`register_condition` and implements :meth:`condition`, :meth:`segment`
    (by the stored condition) and, if it is trained, :meth:`episode`.

    Condition buffers have the number of ways as first dimension, start as zeros ("not conditioned"), take the size of
    the incoming tensor when a state dict is loaded, and are left out of a state dict that is taken in training mode: a
    training checkpoint holds weights alone. They hold the condition itself, rather than a second conditioned module,
    so that one object is trained, evaluated, exported and loaded by MONAI's own tools.

    Attributes:
        spatial_dims: 2 for a network that segments slices, 3 for one that segments volumes; the protocols go by it.
    """

    spatial_dims = 2

    __jit_unused_properties__ = ["is_conditioned", "ways"]

    def __init__(self) -> None:
        super().__init__()
        self.condition_names: list[str] = []

    def register_condition(self, name: str, tensor: torch.Tensor) -> None:
        """Register a zero-filled buffer (W, ...) that :meth:`condition` fills."""
        self.register_buffer(name, torch.zeros_like(tensor))
        self.condition_names.append(name)

    def forward(
        self,
        image: torch.Tensor,
        support_image: torch.Tensor | None = None,
        support_label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Segment the queries: :meth:`segment`, or with a support set :meth:`episode`.

        Args:
            image: (B, C, *spatial).
            support_image: (B, S, C, *spatial), training only: one one-way support set for each query.
            support_label: (B, S, 1, *spatial), binary.

        Returns:
            logits (B, 1 + W, *spatial) by the stored condition, the background first; with a support set a dict.
        """
        if support_image is not None and support_label is not None:
            if not torch.jit.is_scripting():
                return self.episode(image, support_image, support_label)
            raise RuntimeError("A scripted network takes the image alone: condition it before scripting.")
        return self.segment(image)

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, *spatial), the background first, of images (B, C, *spatial) by the stored condition."""
        raise TypeError(f"{type(self).__name__} has no segment(): a few-shot network implements it.")

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """Segment each query by its own support set, in training.

        Args:
            image: (B, C, *spatial).
            support_image: (B, S, C, *spatial), one one-way support set for each query.
            support_label: (B, S, 1, *spatial), binary.

        Returns:
            a dict of ``logits`` (B, 2, *spatial) and of what the network's loss needs.
        """
        raise TypeError(f"{type(self).__name__} has no episode(): it is not trained by episodes.")

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> FewShotNet:
        """Store the support set.

        Args:
            support_image: (W, S, C, *spatial), the labelled examples of each way. A shot whose mask is empty is
                padding (ways may have different numbers of shots) and does not count.
            support_label: (W, S, 1, *spatial), binary.

        Returns:
            the network itself.
        """
        raise TypeError(f"{type(self).__name__} has no condition(): a few-shot network implements it.")

    @property
    def is_conditioned(self) -> bool:
        """Whether a support set has been stored (some condition buffer is not zero)."""
        return any(bool(torch.any(getattr(self, name) != 0)) for name in self.condition_names)

    @property
    def ways(self) -> int:
        """Number of ways of the stored condition (background not counted)."""
        return int(getattr(self, self.condition_names[0]).shape[0])

    def clear_condition(self) -> FewShotNet:
        """Forget the support set: the buffers are zero again."""
        for name in self.condition_names:
            getattr(self, name).zero_()
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.training:
            for name in self.condition_names:
                destination.pop(prefix + name, None)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        pass_over_note(state_dict, prefix)
        for name in self.condition_names:
            incoming = state_dict.get(prefix + name)
            if incoming is None:  # a training checkpoint: not an error, but prototypes of other weights mean nothing
                state_dict[prefix + name] = torch.zeros_like(getattr(self, name))
            else:
                setattr(self, name, getattr(self, name).new_zeros(incoming.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


@torch.no_grad()
def support_features(encode: Callable[[torch.Tensor], torch.Tensor], support_image: torch.Tensor) -> torch.Tensor:
    """Features (W, S, D, h, w), single precision, of a support set (W, S, C, H, W), some slices at a time."""
    parts = support_image.flatten(0, 1).split(SLICES_PER_PASS)
    return torch.cat([encode(part).float() for part in parts]).unflatten(0, support_image.shape[:2])


def check_support(support_image: torch.Tensor, support_label: torch.Tensor) -> None:
    """Raise a ValueError unless the pair is (W, S, C, *spatial), (W, S, 1, *spatial) and no way is empty."""
    image, label = tuple(support_image.shape), tuple(support_label.shape)
    if len(image) < 5 or len(image) != len(label) or image[:2] + image[3:] != label[:2] + label[3:] or label[2] != 1:
        raise ValueError(
            f"support_image {image} and support_label {label} do not belong together. "
            "Give (W, S, C, *spatial) and (W, S, 1, *spatial)."
        )
    empty = (support_label.flatten(1).sum(1) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"support_label is empty for way(s) {empty} of {image[0]}. Each way needs a labelled example.")
