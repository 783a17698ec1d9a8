# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ONNX of every network: onnxruntime gives its own logits, at three sizes, for one image and for two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_fss.apps.export.networks import write_onnx
from monai_fss.networks.nets import ADNet, ALPNet, CANet, CRAPNet, PANet, PPNet, SupervisedUNet, build_encoder

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NETWORKS: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "adnet": (ADNet, "compact"),
    "adnet_3d": (ADNet, "compact_3d"),
    "panet": (PANet, "compact"),
    "alpnet": (ALPNet, "compact"),
    "ppnet": (PPNet, "compact"),
    "canet": (lambda encoder: CANet(encoder, channels=8, passes=2), "compact"),
    "crapnet": (lambda encoder: CRAPNet(encoder, blocks=1), "compact"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "panet" else pytest.mark.long) for name in NETWORKS]
)
def test_onnxruntime_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, encoder = NETWORKS[name]
    network = make(build_encoder(encoder, in_channels=1, positions=[0.35, 0.3, 0.5])).eval()
    if name == "crapnet":  # whose blocks change nothing before they have learnt
        nn.init.normal_(network.attention.query_blocks[0].out.weight, std=0.1)  # type: ignore[union-attr, index]
    size = (32, 32, 4) if name == "adnet_3d" else (64, 64)
    label = torch.zeros(2, 2, 1, *size)
    label[0, 0, 0, 8:20, 8:20] = 1  # one shot, and padding
    label[1, :, 0, 4:30, 10:30] = 1
    network.condition(torch.rand(2, 2, 4, *size), label)  # type: ignore[operator]
    shape = ["32*n", "32*n", "2*n"][: len(size)]
    check(network, 4, shape, tmp_path)


def test_the_supervised_network_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    check(SupervisedUNet(2, [4, 8, 16]).eval(), 1, ["16*n", "16*n", "16*n"], tmp_path)


def check(network: nn.Module, channels: int, shape: list[str], tmp_path: Path) -> None:
    """The writer's own comparison, and one at a third size with a batch of one: nothing of the example has stayed."""
    most = write_onnx(tmp_path / "network.onnx", network, channels, shape, {"values": [1, 4]})
    assert 0 <= most < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["monai_fss"]) == {"values": [1, 4]}
    assert [one.name for one in (*session.get_inputs(), *session.get_outputs())] == ["image", "pred"]
    image = torch.rand(1, channels, *(4 * int(side.partition("*")[0]) for side in shape))
    with torch.no_grad():
        wanted = network(image)
    found = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
