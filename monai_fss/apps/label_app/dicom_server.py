# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels on a server of DICOM: those that a viewer has put there as DICOM-SEG, and what is put there.

OHIF has no button that submits a label: it exports a DICOM-SEG to the server of DICOM itself, as other viewers do.
MONAI Label fetches such objects for its own trainings alone, and forgets the names of their segments.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.organs import listed_names, values_in
from monai_fss.apps.label_app.studies import FINAL

__all__ = ["ServerLabels", "ServerSeg", "check_segments", "read_seg"]

logger = logging.getLogger(__name__)

FRESH = 1.0
"""Seconds for which the server is not asked again: one request of a viewer asks for the studies several times."""
# Keys of DICOM's JSON.
_STUDY, _SERIES, _REFERENCED, _SEGMENTS = "0020000D", "0020000E", "00081115", "00620002"
_NUMBER, _LABEL = "00620004", "00620005"
_DATES = ("00080023", "00080033", "00080021", "00080031")  # content's date and time, series'


@dataclass(frozen=True)
class ServerSeg:
    """
    A DICOM-SEG on the server.

    Args:
        study, series: its UIDs.
        image: UID of the series that it was drawn on.
        made: dates and times of its making, to compare.
        names: of its segments, by number.
    """

    study: str
    series: str
    image: str
    made: tuple[str, ...]
    names: Mapping[int, str]


def read_seg(header: Mapping[str, Any]) -> ServerSeg | None:
    """What a DICOM-SEG is of, from its header in DICOM's JSON; None where it does not say on which series it lies."""
    referenced = _values(header, _REFERENCED)
    if not referenced:
        return None
    segments = [(_text(one, _NUMBER), _text(one, _LABEL)) for one in _values(header, _SEGMENTS)]
    names = {int(number): name for number, name in segments if number.isdecimal() and name}
    made = tuple(_text(header, key) for key in _DATES)
    return ServerSeg(_text(header, _STUDY), _text(header, _SERIES), _text(referenced[0], _SERIES), made, names)


class ServerLabels:
    """
    The labels of a server of DICOM, brought to the store of MONAI Label that works on it.

    Args:
        store: MONAI Label's, with the client of the server as ``_client``.
        local: class of a store of files that it derives from: what is kept here is asked of it.
        download: (study, series, folder, client): puts the files of a series into a folder.
        convert: (folder, ending): the DICOM-SEG in a folder as an image file whose values are the segments' numbers.
    """

    def __init__(self, store: Any, local: Any, download: Callable[..., Any], convert: Callable[..., Any]) -> None:
        self.store, self.local, self.download, self.convert = store, local, download, convert
        self.read: dict[str, ServerSeg | None] = {}
        self.unreadable: dict[str, str] = {}
        self._asked = -math.inf
        self._one_at_a_time = Lock()

    def fetch(self) -> list[str]:
        """
        Keep the newest DICOM-SEG of each study as its label with the tag ``final``, with the names of its segments.

        One that is kept already is not fetched again; one that cannot be read is named in the log, and passed over
        from then on. What is removed from the server stays here.

        Returns:
            the studies that have another label now.
        """
        with self._one_at_a_time:
            if time.monotonic() - self._asked < FRESH:
                return []
            self._asked = time.monotonic()
            images = set(self.store.list_images())
            newest: dict[str, ServerSeg] = {}
            for seg in self._segs():
                before = newest.get(seg.image)
                if seg.image in images and (before is None or seg.made >= before.made):
                    newest[seg.image] = seg
            return [image for image, seg in newest.items() if self._kept(seg)]

    def _segs(self) -> list[ServerSeg]:
        client = self.store._client
        listed = client.search_for_series(search_filters={"Modality": "SEG"})
        for entry in listed:
            study, series = _text(entry, _STUDY), _text(entry, _SERIES)
            if series not in self.read:
                headers = client.retrieve_series_metadata(study, series)
                self.read[series] = read_seg(headers[0]) if headers else None
        there = [self.read[_text(entry, _SERIES)] for entry in listed]
        return [seg for seg in there if seg is not None and seg.series not in self.unreadable]

    def _kept(self, seg: ServerSeg) -> bool:
        """Whether it was fetched now."""
        known = self.local.get_label_info(self.store, seg.image, FINAL)
        if known.get("SeriesInstanceUID") == seg.series and self.local.get_label_uri(self.store, seg.image, FINAL):
            return False
        listed = [{"name": name, "idx": number} for number, name in seg.names.items()]
        try:
            self.store.get_image_uri(seg.image)  # labels are kept of studies alone that are here
            with TemporaryDirectory(prefix="monai_fss_") as folder:
                self.download(seg.study, seg.series, folder, self.store._client)
                file = Path(self.convert(folder, ".nii.gz"))
            info = {"SeriesInstanceUID": seg.series, "StudyInstanceUID": seg.study, "label_info": listed}
            self.local.save_label(self.store, seg.image, str(file), FINAL, info)
            file.unlink(missing_ok=True)
        except Exception as error:  # of a library that reads what others have written: one bad object stops no request
            self.unreadable[seg.series] = f"{type(error).__name__}: {error}"
            logger.warning("DICOM-SEG %s is passed over: %s", seg.series, self.unreadable[seg.series])
            return False
        return True


def check_segments(label: Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """
    What is sent along with a label, so that MONAI Label names the segments of its DICOM-SEG rightly.

    It takes names by the place of an entry in ``label_info``: an organ that is listed and not drawn would give its name
    to the next one. There is one entry for each value of the label here, rising.

    Args:
        label: file; one that holds voxels alone (``.bin``) is not looked at.
        info: what was sent with it.

    Raises:
        UsageError: nothing is drawn: no DICOM-SEG can say that.
        ScanError: the label cannot be read.
    """
    if label.suffix == ".bin":
        return dict(info)
    values = values_in(label)
    if not values:
        raise UsageError("the label shows no voxel of an organ, which a DICOM-SEG cannot hold. Draw one, then submit.")
    names = listed_names(info, values)
    sent = {str(entry["name"]): entry for entry in info.get("label_info") or () if entry.get("name")}
    named = {value: names.get(value, f"label_{value}") for value in values}
    listed = [{**sent.get(name, {}), "name": name, "idx": value} for value, name in named.items()]
    return {**info, "label_info": listed}


def _values(header: Mapping[str, Any], key: str) -> list[Any]:
    return list(header.get(key, {}).get("Value") or [])


def _text(header: Mapping[str, Any], key: str) -> str:
    return str(next(iter(_values(header, key)), ""))
