# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
The front door: which files are acceptable, how they are paired and split, and how results are written.

What needs PyTorch is imported when it is first asked for, so that a folder can be checked at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from monai_fss.data.cases import SCAN_SUFFIXES, case_name, label_case_name, list_labels, list_scans, natural_key
from monai_fss.data.checks.inputs import inference_problems, look_at_inputs, query_problems, training_problems
from monai_fss.data.checks.learnt_scans import LearntScans, check_learnt_scans, learnt_scans
from monai_fss.data.checks.model_settings import check_model_settings
from monai_fss.data.checks.one_scan import OneLabelledScan, check_one_labelled_scan, one_labelled_scan
from monai_fss.data.checks.preflight import (
    check_fold,
    check_given,
    check_inference,
    check_left_out,
    check_located_inference,
    check_scans,
    check_start,
    check_training,
)
from monai_fss.data.checks.queries import check_not_support, check_queries, check_range
from monai_fss.data.checks.scribble_checks import check_propagation, check_scribbles
from monai_fss.data.checks.small_organs import check_small_organs, small_organs
from monai_fss.data.checks.typed import check_places
from monai_fss.data.dataset import Case, CaseSummary, DatasetFolder
from monai_fss.data.dataset_json import label_names, modality_of
from monai_fss.data.files.atomic import atomic_path, remove_stale, write_json, write_text_atomic
from monai_fss.data.files.dicom_codes import CodedName, coded_name
from monai_fss.data.files.dicom_seg import dicom_seg_problems, write_dicom_seg
from monai_fss.data.files.output import check_output, finish_run, part_name, start_run, unfinished_run
from monai_fss.data.fold_items import FoldItems, fold_items
from monai_fss.data.items import (
    case_item,
    labelled_items,
    labelled_organs,
    query_items,
    scan_item,
    support_items,
    training_items,
    validation_items,
)
from monai_fss.data.phantom.dataset import Phantom, phantom, write_phantom_dataset
from monai_fss.data.phantom.whole_body import WHOLE_BODY_LABELS, whole_body_phantom, write_whole_body_dataset
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.public.btcv import prepare_btcv
from monai_fss.data.public.chaos import prepare_chaos
from monai_fss.data.public.command import run_script
from monai_fss.data.public.mscmr import prepare_mscmr
from monai_fss.data.public.pancreas_ct import prepare_pancreas_ct
from monai_fss.data.public.structseg import prepare_structseg
from monai_fss.data.public.tumours import prepare_lits_kits
from monai_fss.data.reading.once import reading_once
from monai_fss.data.reading.scans import Label, Scan, check_label, check_scan, check_support
from monai_fss.data.reading.volume import read_scan
from monai_fss.data.reading.voxels import count_values
from monai_fss.data.scribbles import (
    class_names,
    drawn_pieces,
    is_written,
    pseudo_items,
    scribble_item,
    scribble_values,
    unwritten_items,
)
from monai_fss.data.segments.bids import bids_cases, bids_places, write_bids_files, write_bids_sidecars
from monai_fss.data.segments.found import segments_in
from monai_fss.data.segments.label_tables import ctbl_text, snap_text, tsv_text
from monai_fss.data.segments.palette import organ_colours
from monai_fss.data.segments.segment import Segment, segments_of
from monai_fss.data.setting_2 import left_out_classes, slice_runs
from monai_fss.data.splits import Fold, make_folds
from monai_fss.data.verbatim import verbatim
from monai_fss.digests import sha256_of

if TYPE_CHECKING:
    from monai_fss.data.episodes.labelled import LabelledEpisodes, few_shot_episodes
    from monai_fss.data.episodes.organs import OrganEpisodes, pair_items
    from monai_fss.data.episodes.series import EpisodeDataset, EpisodeLoader, EpisodeSampler, episode_indices
    from monai_fss.data.episodes.supervoxels import PreparedScans, SupervoxelEpisodes
    from monai_fss.data.episodes.weighted import WeightedClassEpisodes
    from monai_fss.data.files.cache import ContentCache, content_cache
    from monai_fss.data.files.models import latest_checkpoint, load_model, read_model, restore, save_best, save_model
    from monai_fss.data.files.organ_maps import organ_items, read_organ_maps, save_organ_maps
    from monai_fss.data.files.propagation_file import load_propagation, read_propagation, save_propagation
    from monai_fss.data.files.start import start_from
    from monai_fss.data.files.taught_scans import (
        DOUBT,
        ReadFramed,
        ReadTaughtScan,
        fingerprint,
        fingerprints,
        read_taught_scan,
        save_taught_scan,
        taught_items,
        with_taught,
    )
    from monai_fss.data.files.writer import AtomicNibabelWriter, CaseLayout, write_probabilities
    from monai_fss.data.noisy_labels import LoadNoisyLabel, NoisyLabels
    from monai_fss.data.prepare import PrepareSlices, PrepareVolumes
    from monai_fss.data.reading.load import LoadScan, LoadScand
    from monai_fss.data.segments.seg_nrrd import write_seg_nrrd

__all__ = [
    "DOUBT",
    "SCAN_SUFFIXES",
    "WHOLE_BODY_LABELS",
    "AtomicNibabelWriter",
    "Case",
    "CaseLayout",
    "CaseSummary",
    "CodedName",
    "ContentCache",
    "DatasetFolder",
    "EpisodeDataset",
    "EpisodeLoader",
    "EpisodeSampler",
    "Fold",
    "FoldItems",
    "InputWarning",
    "Label",
    "LabelledEpisodes",
    "LearntScans",
    "LoadNoisyLabel",
    "LoadScan",
    "LoadScand",
    "NoisyLabels",
    "OneLabelledScan",
    "OrganEpisodes",
    "Phantom",
    "PrepareSlices",
    "PrepareVolumes",
    "PreparedScans",
    "Scan",
    "ScanError",
    "ReadFramed",
    "ReadTaughtScan",
    "Segment",
    "SupervoxelEpisodes",
    "WeightedClassEpisodes",
    "atomic_path",
    "bids_cases",
    "bids_places",
    "case_item",
    "case_name",
    "check_fold",
    "check_given",
    "check_inference",
    "check_label",
    "check_learnt_scans",
    "check_left_out",
    "check_located_inference",
    "check_model_settings",
    "check_not_support",
    "check_one_labelled_scan",
    "check_output",
    "check_places",
    "check_propagation",
    "check_queries",
    "check_range",
    "check_scan",
    "check_scans",
    "check_scribbles",
    "check_small_organs",
    "check_start",
    "check_support",
    "check_training",
    "class_names",
    "coded_name",
    "content_cache",
    "count_values",
    "ctbl_text",
    "dicom_seg_problems",
    "drawn_pieces",
    "episode_indices",
    "few_shot_episodes",
    "fingerprint",
    "fingerprints",
    "finish_run",
    "fold_items",
    "inference_problems",
    "is_written",
    "label_case_name",
    "label_names",
    "labelled_items",
    "labelled_organs",
    "latest_checkpoint",
    "learnt_scans",
    "left_out_classes",
    "list_labels",
    "list_scans",
    "load_model",
    "load_propagation",
    "look_at_inputs",
    "make_folds",
    "modality_of",
    "natural_key",
    "one_labelled_scan",
    "organ_colours",
    "organ_items",
    "pair_items",
    "part_name",
    "phantom",
    "prepare_btcv",
    "prepare_chaos",
    "prepare_lits_kits",
    "prepare_mscmr",
    "prepare_pancreas_ct",
    "prepare_structseg",
    "pseudo_items",
    "query_items",
    "query_problems",
    "read_model",
    "read_organ_maps",
    "read_propagation",
    "read_scan",
    "read_taught_scan",
    "reading_once",
    "remove_stale",
    "restore",
    "run_script",
    "save_best",
    "save_model",
    "save_organ_maps",
    "save_propagation",
    "scan_item",
    "scribble_item",
    "scribble_values",
    "segments_in",
    "save_taught_scan",
    "segments_of",
    "sha256_of",
    "slice_runs",
    "small_organs",
    "snap_text",
    "start_from",
    "start_run",
    "support_items",
    "taught_items",
    "with_taught",
    "training_items",
    "training_problems",
    "tsv_text",
    "unfinished_run",
    "unwritten_items",
    "validation_items",
    "verbatim",
    "whole_body_phantom",
    "write_bids_files",
    "write_bids_sidecars",
    "write_dicom_seg",
    "write_json",
    "write_phantom_dataset",
    "write_probabilities",
    "write_whole_body_dataset",
    "write_seg_nrrd",
    "write_text_atomic",
]

# Names by module, for what needs PyTorch.
_BY_MODULE = {
    "episodes.labelled": "LabelledEpisodes few_shot_episodes",
    "episodes.organs": "OrganEpisodes pair_items",
    "episodes.series": "EpisodeDataset EpisodeLoader EpisodeSampler episode_indices",
    "episodes.supervoxels": "PreparedScans SupervoxelEpisodes",
    "episodes.weighted": "WeightedClassEpisodes",
    "files.cache": "ContentCache content_cache",
    "files.models": "latest_checkpoint load_model read_model restore save_best save_model",
    "files.organ_maps": "organ_items read_organ_maps save_organ_maps",
    "files.propagation_file": "load_propagation read_propagation save_propagation",
    "files.start": "start_from",
    "files.taught_scans": "DOUBT ReadFramed ReadTaughtScan fingerprint fingerprints read_taught_scan save_taught_scan "
    "taught_items with_taught",
    "files.writer": "AtomicNibabelWriter CaseLayout write_probabilities",
    "noisy_labels": "LoadNoisyLabel NoisyLabels",
    "prepare": "PrepareSlices PrepareVolumes",
    "reading.load": "LoadScan LoadScand",
    "segments.seg_nrrd": "write_seg_nrrd",
}
_LATER = {name: f"monai_fss.data.{module}" for module, names in _BY_MODULE.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a name of ``_LATER`` when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
