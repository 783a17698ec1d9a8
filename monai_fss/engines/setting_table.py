# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the settings of the bundles may be: the table of :mod:`monai_fss.engines.setting_checks`."""

from __future__ import annotations

from monai_fss.data.episodes.labelled import EPISODES
from monai_fss.engines.ranges import Either, Listed, Mapped, Name, Null, Number, Range, Switch, Text
from monai_fss.inferers.anchors.registered import ANCHOR_MASKS
from monai_fss.inferers.atlas import FUSIONS
from monai_fss.inferers.ep1 import EP1_RULES
from monai_fss.inferers.one_shot.aligned import FLOWS
from monai_fss.networks.nets.factory import ENCODERS, TIMM
from monai_fss.networks.nets.organnet import SHARINGS
from monai_fss.networks.nets.residual_fcn import NORMS
from monai_fss.registration.register import PRESETS
from monai_fss.transforms.supervoxels import SELF_SUPERVISIONS

__all__ = ["FREE", "OF_ONE_SIZE", "OF_VOLUMES", "PIXELS", "SETTINGS"]

NUMBER, POSITIVE, NOT_NEGATIVE, SHARE = Number(), Number(above=0), Number(least=0), Number(least=0, most=1)
COUNT, COUNT_OR_NONE = Number(least=1, whole=True), Number(least=0, whole=True)
MM = Number(above=0, most=1000)
PIXELS = Number(least=1, most=4096, whole=True)
NULL, SWITCH = Null(), Switch()


def _or_null(one: Range) -> Either:
    return Either([one, NULL])


def _three(one: Range) -> Listed:
    return Listed(one, 3)


VALUES = Listed(COUNT, distinct=True)
PAIR = Listed(NUMBER, 2, rising=True)
STRETCH = Listed(Number(above=-1), 2)  # by which 1 is changed
GRID = Either([MM, _three(MM)])  # one voxel size for all axes, or one for each

_RUN: dict[str, Range] = {
    "amp": SWITCH,
    "batch_size": COUNT,
    "cache_gb": _or_null(NOT_NEGATIVE),
    "cache_num": COUNT_OR_NONE,
    "deterministic": SWITCH,
    "epoch_length": COUNT,
    "first": SWITCH,
    "learning_rate": POSITIVE,
    "max_epochs": COUNT,
    "num_workers": Number(least=0, most=1024, whole=True),
    "resume": SWITCH,
    "save_interval": COUNT,
    "seed": Number(least=0, most=2**32 - 1, whole=True),
    "steps": COUNT_OR_NONE,
    "steps_per_epoch": COUNT,
    "tensorboard": SWITCH,
    "val_interval": COUNT,
    "val_queries": COUNT_OR_NONE,
}
_SCANS: dict[str, Range] = {
    "crop": _or_null(Listed(PIXELS, 2)),
    "labels": _or_null(VALUES),
    "pixdim": MM,
    "position": SWITCH,
    "position_axes": Listed(Number(least=0, most=2, whole=True), distinct=True),
    "position_weights": Listed(NOT_NEGATIVE),
    "window": _or_null(PAIR),
    "zscore": SWITCH,
}
_EPISODES: dict[str, Range] = {
    "affine::rotate": _three(NUMBER),
    "affine::scale": _three(STRETCH),
    "affine::shear": Listed(NUMBER, 6),
    "affine::translate": _three(NUMBER),
    "contrast_factor": Number(above=1, most=100),
    "contrast_prob": SHARE,
    "elastic::magnitude": Listed(NOT_NEGATIVE, 2),
    "elastic::rotate": NUMBER,
    "elastic::scale": Listed(STRETCH, 2),
    "elastic::shear": Listed(NUMBER, 2),
    "elastic::spacing": Listed(COUNT, 2),
    "elastic::translate": Listed(NUMBER, 2),
    "elastic::zoom": _or_null(Listed(POSITIVE, 2)),
    "episodes": Name(EPISODES),
    "min_area": Number(least=0, most=1e6),
    "min_volume": Number(least=0, most=1e9),
    "position_jitter": Number(least=0, most=2),
    "reach": COUNT_OR_NONE,
    "self_supervision": Name(SELF_SUPERVISIONS),
    "sides": Listed(NOT_NEGATIVE, 2),
    "size": Listed(PIXELS, least=2),
    "superpixel_mm2": Number(above=0, most=1e6),
    "superpixels": SWITCH,
    "supervoxel_ml": Number(above=0, most=1e6),
}
_NETWORKS: dict[str, Range] = {
    "align": NOT_NEGATIVE,
    "alp_cell_mm": POSITIVE,
    "alp_train_cell_mm": POSITIVE,
    "blocks": COUNT_OR_NONE,
    "branches": Number(least=1, most=2, whole=True),
    "cell_mm": POSITIVE,
    "checkpointing": SWITCH,
    "clusters": COUNT,
    "compact": NOT_NEGATIVE,
    "conditioner_channels": COUNT,
    "correlation_radius": COUNT,
    "decoder_channels": COUNT,
    "dropout": Number(least=0, below=1),
    "encoder": Name(tuple(ENCODERS), TIMM),
    "global_weight": NOT_NEGATIVE,
    "history_dropout": SHARE,
    "kappa": POSITIVE,
    "passes": COUNT,
    "refined": SWITCH,
    "segmenter_channels": COUNT,
    "relation_channels": COUNT,
    "support_window": _three(COUNT),
    "train_passes": COUNT,
}
_PRNET: dict[str, Range] = {
    "background": _or_null(COUNT),
    "base": COUNT,
    "bfloat16": _or_null(SWITCH),
    "channels": Listed(COUNT, least=2),
    "correct": SWITCH,
    "decay": Number(above=0, most=1),
    "delta": SHARE,
    "denoise_background": SWITCH,
    "fine": Either([Mapped(), NULL]),
    "floor": SHARE,
    "grown": SHARE,
    "growth::intensity_weight": NOT_NEGATIVE,
    "growth::iterations": COUNT_OR_NONE,
    "growth::limit": NOT_NEGATIVE,
    "growth_margin": NOT_NEGATIVE,
    "keep": _three(Number(above=0, most=1)),
    "least_similarity": Number(most=1),
    "localisation::jumps": COUNT_OR_NONE,
    "localisation::matching": SWITCH,
    "localisation::spread": NOT_NEGATIVE,
    "localisation::starts": COUNT,
    "lr_epochs": _or_null(COUNT),
    "margin": NOT_NEGATIVE,
    "num_parts": COUNT,
    "part_id": COUNT_OR_NONE,
    "patches": Number(least=2, whole=True),
    "points": COUNT,
    "pretrain_batch_size": COUNT,
    "pretrain_steps_per_epoch": COUNT,
    "roi_size": _three(COUNT),
    "simulated::margin": NOT_NEGATIVE,
    "simulated::slices": COUNT,
    "smooth": NOT_NEGATIVE,
    "start_epoch": COUNT_OR_NONE,
    "tau": Number(most=1),
    "tolerance": _or_null(SHARE),
    "values": VALUES,
}
_SUPERVISED: dict[str, Range] = {
    "fraction": Number(above=0, most=1),
    "ignore": _or_null(COUNT),
    "pieces": _or_null(Listed(COUNT)),
    "scans": _or_null(COUNT),
}
_TWO_STAGE: dict[str, Range] = {
    **dict.fromkeys(("atlas_only", "auto_context", "fixed_point", "multi_atlas", "prior_context"), SWITCH),
    **dict.fromkeys(("say", "two_stage", "weighted", "weighted_loss"), SWITCH),
    "atlases": _or_null(COUNT),
    "coarse_labels": _or_null(VALUES),
    "class_weights": _or_null(Listed(NOT_NEGATIVE, least=2)),
    "cross_entropy": NOT_NEGATIVE,
    "dice": NOT_NEGATIVE,
    "filters": Listed(COUNT, least=2),
    "fine_batch_size": COUNT,
    "fine_filters": Listed(COUNT, least=2),
    "fine_pixdim": _or_null(GRID),
    "fine_size": _three(COUNT),
    "fine_steps": COUNT,
    "fine_strides": Listed(COUNT, least=2),
    "fine_units": COUNT,
    "fine_weights": Listed(NOT_NEGATIVE, 2),
    "lr_power": NOT_NEGATIVE,
    "norm": Name(NORMS),
    "organs": Listed(COUNT, distinct=True),
    "parts": COUNT,
    "roi_margin": NOT_NEGATIVE,
    "roi_threshold": Number(least=0, below=1),
    "small": _or_null(VALUES),
    "small_ml": POSITIVE,
    "strides": Listed(COUNT, least=2),
    "units": COUNT,
    "weight_power": NUMBER,
}
_ORGANNET: dict[str, Range] = {
    "anchor_mask": Name(ANCHOR_MASKS),
    "anchors": _or_null(COUNT),
    "neighbourhoods": Listed(Number(least=1, most=15, whole=True)),
    "sharing": Name(SHARINGS),
}
_ONE_SHOT: dict[str, Range] = {
    "anatomy_cycle": NOT_NEGATIVE,
    "appearance_channels": Listed(COUNT, least=2),
    "correlation": Number(least=3, most=31, whole=True),
    "coupled": SWITCH,
    "dressed": SWITCH,
    "flow_channels": Listed(COUNT, least=4),
    "flow_learning_rate": POSITIVE,
    "flow_pixdim": MM,
    "flow_smoothness": NOT_NEGATIVE,
    "flow_steps": COUNT,
    "flow_steps_per_epoch": COUNT,
    "flows": Name(FLOWS),
    "grid_size": _three(COUNT),
    "halved": SWITCH,
    "image_cycle": NOT_NEGATIVE,
    "intermediates": COUNT_OR_NONE,
    "pseudo": SWITCH,
    "pseudo_labels": NOT_NEGATIVE,
    "random_flows": NOT_NEGATIVE,
    "random_mm": NOT_NEGATIVE,
    "random_spacing": POSITIVE,
    "reconstruction": NOT_NEGATIVE,
    "rounds": Number(least=1, most=10, whole=True),
    "second": _or_null(Name(tuple(PRESETS))),
    "synthesised": NOT_NEGATIVE,
    "transformation_cycle": NOT_NEGATIVE,
}
_LEVEL: dict[str, Range] = {  # of coarse and of fine
    "patch_size": _three(COUNT),
    "pixdim": GRID,
    "radius": _or_null(POSITIVE),
    "reach": _three(POSITIVE),
    "rebuilt": COUNT_OR_NONE,
    "steps": COUNT,
}
_USE: dict[str, Range] = {
    "ep1_rule": Name(EP1_RULES),
    "fusion": Name(FUSIONS),
    "intensity_weight": _or_null(NOT_NEGATIVE),
    "largest_component": SWITCH,
    "masks": SWITCH,
    "nearest": _or_null(COUNT),
    "overlap": Number(least=0, below=1),
    "overlays": SWITCH,
    "preset": Name(tuple(PRESETS)),
    "prior": Either([Name(("atlas",)), NULL]),
    "prior_weight": NOT_NEGATIVE,
    "probabilities": SWITCH,
    "quality": SWITCH,
    "refine": SWITCH,
    "refinement::cap": POSITIVE,
    "refinement::limit": _or_null(POSITIVE),
    "refinement::rounds": COUNT,
    "refinement::smooth": NOT_NEGATIVE,
    "refinement::tau": POSITIVE,
    "refinement::zone": POSITIVE,
    "slices_per_batch": COUNT,
    "spacing": _or_null(_three(MM)),
    "starts": _or_null(Number(least=1, most=100, whole=True)),
    "support_slices": Either([Name(("middle", "all")), COUNT]),
}
_LEVELS = {f"{level}::{key}": one for level in ("coarse", "fine") for key, one in _LEVEL.items()}
SETTINGS: dict[str, Range] = {
    **_RUN,
    **_SCANS,
    **_EPISODES,
    **_NETWORKS,
    **_PRNET,
    **_TWO_STAGE,
    **_ORGANNET,
    **_ONE_SHOT,
    **_SUPERVISED,
    **_LEVELS,
    **_USE,
}
"""Key, with ``::`` between levels, to what it may be. A bundle that has a key has it with this meaning."""
OF_VOLUMES: dict[str, Range] = {"pixdim": GRID}
"""What goes before in a bundle that has ``roi_size``: it works on volumes, and slices are brought to a distance too."""
OF_ONE_SIZE = {"support_slices", "anchor_mask"}
"""Settings by which such a bundle is known that does not: slices keep their distance, or voxels are cubes."""

_PLACES = ("bundle_root", "cache_dir", "checkpoint_dir", "dataset_dir", "label_dir", "log_dir", "model", "output_dir")
FREE: dict[str, Range] = {
    **dict.fromkeys((*_PLACES, "pretrained", "prnet", "scribbles", "student"), Text()),
    **dict.fromkeys(("support", "support_image", "support_label"), Text()),
    "cases": Listed(Text()),
    "class_names": Listed(Text()),
    "device": Text(),
    **dict.fromkeys(("processes", "rank"), Number(least=0, whole=True)),  # torchrun's
    # judged where it is known what they go with, see monai_fss.data.left_out_classes
    "setting": Number(least=1, most=2, whole=True),
    "test_classes": VALUES,
}
"""Settings that are places or names of things, which are looked for, or are judged elsewhere: not by the table."""
