# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The page of a new bundle, with what its author has to say in angle brackets."""

from __future__ import annotations

__all__ = ["README"]

README = """\
# Model Overview

Few-shot segmentation of organs from one labelled scan by NAME: <in two or three sentences, how it decides>.

<Paper: authors, title, where, year, link. Choices where the paper is silent, and what differs from its code.>

## Data

Any folder `images/<case>.nii.gz` of one modality and body region, no labels needed; `labels/<case>.nii.gz` where known
serve for validation alone. Scans are brought to axial slices (oblique ones keep theirs), to 2.5 mm in plane, and to
0..1 between the minimum and the 99.5th percentile (CT: a window in HU).

## Training configuration

One labelled scan is needed to segment, none to train. <Pseudo-labels, augmentation, loss, optimiser, steps: the
settings of configs/train.yaml, and those that an inference repeats.>

### Input

`image` (B, CHANNELS, ...): the scan and the three coordinates in the body. Support sets reach the network
by `condition`.

### Output

Logits (B, 1 + W, ...), background first; W ways. <Their range, and what they mean.>

## Performance

Not measured yet. <Mean Dice by organ over folds, with the command: `monai-fss evaluate --bundle NAME --data DATA ...`>

## MONAI Bundle Commands

```
python -m monai.bundle run training --config_file configs/train.yaml --dataset_dir DATA
torchrun --standalone --nproc_per_node=2 -m monai.bundle run training \\
    --config_file "['configs/train.yaml','configs/multi_gpu_train.yaml']" --dataset_dir DATA
python -m monai.bundle run inference --config_file configs/inference.yaml --dataset_dir IMAGES \\
    --support_image A.nii.gz --support_label A_seg.nii.gz --output_dir OUT
python -m monai.bundle run evaluating --config_file "['configs/inference.yaml','configs/evaluate.yaml']" \\
    --dataset_dir DATA --model models/model.pt --output_dir OUT
```

`monai-fss train`, `segment` and `evaluate` with `--bundle NAME` are the same with checks of their input.

## Limitations

Research only, not for diagnosis. <Where it fails.>

# References

<[1] ...>

# License

Apache License 2.0.
"""
