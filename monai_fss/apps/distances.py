# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How unlike scans are, from their files: read, scaled as in training, registered affinely to one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from monai_fss.apps.methods.ct_window import SOFT_TISSUE
from monai_fss.data import ScanError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from monai.data import MetaTensor

    from monai_fss.data import ContentCache

__all__ = ["known_signature", "registered", "scaled_scan", "scan_distances"]


def scan_distances(
    scans: Mapping[str, Path],
    modality: str = "",
    cache: ContentCache | None = None,
    contents: Mapping[str, str] | None = None,
) -> np.ndarray:
    """
    How unlike scans are, pair by pair, see :mod:`monai_fss.registration.scan_distances`.

    Args:
        scans: case name to file.
        modality: "CT", or another; see :func:`scaled_scan`.
        cache: keeps what the registrations gave. Default: nothing is kept.
        contents: case name to SHA-256 of its file. With a cache, a scan that is known by it is not even read.

    Returns:
        (n, n), symmetric, 0 on the diagonal; 1 is an average pair.

    Raises:
        ScanError: a scan cannot be registered.
    """
    from tqdm.auto import tqdm

    from monai_fss.registration.scan_distances import middle_of, pairwise_distances

    names = list(scans)
    seen = _Seen(scans, modality, cache if contents is not None else None, contents or {})
    volumes = [seen.body_volume(name) for name in tqdm(names, "reading", unit="scan", disable=None)]
    centre = names[middle_of(volumes)]
    signatures = [
        registered(scans[name], scans[centre], partial(seen.signature, centre, name, cache))
        for name in tqdm(names, "registering", unit="scan", disable=None)
    ]
    return pairwise_distances(signatures)


def registered(scan: Path, reference: Path, signature: Callable[[], torch.Tensor]) -> torch.Tensor:
    """
    A signature; what cannot be registered for it is named.

    Args:
        scan, reference: files, of which the one is registered to the other.
        signature: makes it.

    Raises:
        ScanError: it cannot be registered.
    """
    from monai_fss.registration.body import RegistrationError

    try:
        return signature()
    except RegistrationError as error:
        raise ScanError(
            f"{scan}: cannot be registered to {reference} ({str(error).rstrip('.')}). "
            "Leave it out of 'cases' in dataset.json, or put scans of different parts of the body in folders apart."
        ) from error


class _Seen:
    """Scans that are read when they are first needed: not at all where the cache knows them by their content."""

    def __init__(
        self, scans: Mapping[str, Path], modality: str, cache: ContentCache | None, contents: Mapping[str, str]
    ) -> None:
        self.scans, self.modality, self.cache, self.contents = scans, modality, cache, contents
        self.read: dict[str, MetaTensor] = {}

    def image(self, name: str) -> MetaTensor:
        from monai_fss.registration.scan_distances import thumbnail

        if name not in self.read:
            self.read[name] = thumbnail(scaled_scan(self.scans[name], self.modality))
        return self.read[name]

    def body_volume(self, name: str) -> float:
        import torch

        from monai_fss.registration.scan_distances import body_volume

        def made() -> dict[str, torch.Tensor]:
            return {"ml": torch.tensor(body_volume(self.image(name)))}

        if self.cache is None:
            return float(made()["ml"])
        return float(self.cache("body", made, [], {"scan": self.contents[name], "modality": self.modality})["ml"])

    def signature(self, centre: str, name: str, cache: ContentCache | None) -> torch.Tensor:
        def made() -> dict[str, torch.Tensor]:
            other = None if name == centre else self.image(name)
            return {"signature": known_signature(self.image(centre), other, None if self.cache else cache)}

        if self.cache is None:
            return made()["signature"]
        pair = {"reference": self.contents[centre], "scan": self.contents[name], "modality": self.modality}
        return self.cache("signature", made, [], pair)["signature"]


def known_signature(reference: MetaTensor, image: MetaTensor | None, cache: ContentCache | None = None) -> torch.Tensor:
    """:func:`monai_fss.registration.scan_distances.signature`, from a cache where it is known."""
    from monai_fss.registration.scan_distances import signature

    if cache is None or image is None:
        return signature(reference, image)
    return cache("signature", lambda: {"signature": signature(reference, image)}, [reference, image])["signature"]


def scaled_scan(path: Path, modality: str = "") -> MetaTensor:
    """A scan (1, H, W, D) with its intensities scaled to 0..1 as in training: of CT soft tissue, of others, or where
    the modality is not known, all up to the 99.5th percentile."""
    from monai.transforms import ScaleIntensityRange, ScaleIntensityRangePercentiles

    from monai_fss.data import LoadScan

    image = LoadScan()(path)
    if modality.upper() == "CT":
        low, high = SOFT_TISSUE
        return cast("MetaTensor", ScaleIntensityRange(a_min=low, a_max=high, b_min=0, b_max=1, clip=True)(image))
    return cast("MetaTensor", ScaleIntensityRangePercentiles(0, 99.5, b_min=0, b_max=1, clip=True)(image))
