# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Loading of torchvision checkpoints: what is taken, what is left out, and every refusal."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from monai_fss.networks.nets.dilated_resnet import DilatedResNet
from monai_fss.networks.nets.pretrained import COCO_RESNET101, load_pretrained

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def body() -> DilatedResNet:
    torch.manual_seed(0)
    return DilatedResNet(18, in_channels=3, out_channels=None).eval()


def segmentation(body: DilatedResNet) -> State:
    state = {f"backbone.{name}": tensor for name, tensor in body.state_dict().items()}
    return state | {"classifier.4.bias": torch.zeros(21), "aux_classifier.4.bias": torch.zeros(21)}


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def assert_body_equals(encoder: DilatedResNet, body: DilatedResNet) -> None:
    state = encoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in body.state_dict().items())


def test_segmentation_checkpoint_fills_the_body_and_nothing_else(body: DilatedResNet, tmp_path: Path) -> None:
    encoder = DilatedResNet(18, out_channels=4)
    reduction = encoder.reduce.weight.clone()
    assert load_pretrained(encoder, save(segmentation(body), tmp_path / "a.pth")) is encoder
    assert_body_equals(encoder, body)
    assert torch.equal(encoder.reduce.weight, reduction)


def test_imagenet_checkpoint_without_batch_counters(body: DilatedResNet, tmp_path: Path) -> None:
    state = {k: v for k, v in body.state_dict().items() if "num_batches" not in k} | {"fc.bias": torch.zeros(1000)}
    encoder = DilatedResNet(18)
    load_pretrained(encoder, str(save(state, tmp_path / "resnet18.pth")))
    assert_body_equals(encoder, body)


def test_resnet_101_names(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = DilatedResNet(101, out_channels=None).state_dict()
    # One stored number stands for each tensor, so that the file stays small.
    state = {f"backbone.{k}": torch.ones((), dtype=v.dtype).expand(v.shape) for k, v in names.items()}
    encoder = DilatedResNet(101, in_channels=1)
    load_pretrained(encoder, save(state, tmp_path / "101.pth"))
    loaded = {k: v for k, v in encoder.state_dict().items() if k not in ("conv1.weight", "reduce.weight")}
    assert len(loaded) == 623 and all(bool((v == 1).all()) for v in loaded.values())
    assert bool((encoder.conv1.weight == 3).all())


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_one_channel_equals_the_channel_repeated_three_times(
    body: DilatedResNet, tmp_path: Path, channels: int
) -> None:
    encoder = DilatedResNet(18, in_channels=channels, out_channels=None).eval()
    load_pretrained(encoder, save(segmentation(body), tmp_path / "a.pth"))
    image = torch.randn(2, channels, 48, 40, dtype=torch.float64)
    expected = body.double()(image[:, :1].repeat(1, 3, 1, 1))
    torch.testing.assert_close(encoder.double()(image), expected, rtol=1e-5, atol=1e-5)
    body.float()


def test_hash_in_the_name_and_as_argument(body: DilatedResNet, tmp_path: Path) -> None:
    path = save(segmentation(body), tmp_path / "plain.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    right = path.rename(tmp_path / f"net-{digest[:8]}.pth")
    load_pretrained(DilatedResNet(18), right)
    load_pretrained(DilatedResNet(18), right, sha256=digest.upper())
    wrong = right.rename(tmp_path / "net-586e9e4e.pth")
    with pytest.raises(ValueError, match=rf"its SHA-256 is {digest}, expected was 586e9e4e\. .* download it again"):
        load_pretrained(DilatedResNet(18), wrong)
    load_pretrained(DilatedResNet(18), wrong, sha256=digest)
    with pytest.raises(ValueError, match="sha256: 'abc' is not a SHA-256. Give 8 to 64 hexadecimal digits"):
        load_pretrained(DilatedResNet(18), wrong, sha256="abc")


def test_another_depth_is_refused_and_changes_nothing(body: DilatedResNet, tmp_path: Path) -> None:
    encoder = DilatedResNet(50)
    before = encoder.conv1.weight.clone()
    path = save(segmentation(body), tmp_path / "a.pth")
    message = (
        r"does not fit a ResNet of depth 50 \(\d+ missing: layer1.0.conv3.weight, .*, \.\.\.; .* of another shape: "
    )
    with pytest.raises(
        ValueError, match=message + r"layer1.0.conv1.weight \(64, 64, 3, 3\) instead of \(64, 64, 1, 1\)"
    ):
        load_pretrained(encoder, path)
    assert torch.equal(encoder.conv1.weight, before)


def test_missing_and_unexpected_names_are_named(body: DilatedResNet, tmp_path: Path) -> None:
    state = segmentation(body) | {"backbone.extra": torch.zeros(1)}
    del state["backbone.bn1.weight"]
    with pytest.raises(ValueError, match=r"\(1 missing: bn1.weight; 1 not expected: extra\)\. Give a torchvision"):
        load_pretrained(DilatedResNet(18), save(state, tmp_path / "a.pth"))


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


def test_pickled_object_is_refused_and_not_executed(tmp_path: Path) -> None:
    path = save({"backbone.conv1.weight": Harmful(tmp_path / "executed")}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds a Python object \(.*\) besides tensors and was not loaded"):
        load_pretrained(DilatedResNet(18), path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut short"])
def test_unreadable_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.pth: is not a readable checkpoint \(.*\)\. Download it again"):
        load_pretrained(DilatedResNet(18), path)


def test_truncated_file(body: DilatedResNet, tmp_path: Path) -> None:
    path = save(segmentation(body), tmp_path / "a.pth")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="is not a readable checkpoint"):
        load_pretrained(DilatedResNet(18), path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}])
def test_not_a_state_dict(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match="is not a mapping of names to tensors. Give a file"):
        load_pretrained(DilatedResNet(18), save(content, tmp_path / "a.pth"))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.pth: no such file\. Give the path .* https://download"):
        load_pretrained(DilatedResNet(18), tmp_path / "none.pth")


def test_download_goes_to_the_cache_once(body: DilatedResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def download(url: str, dst: str, progress: bool) -> None:
        calls.append(url)
        save(segmentation(body), Path(dst))

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        encoder = load_pretrained(DilatedResNet(18), "https://example.org/models/net.pth?version=1")
        assert_body_equals(encoder, body)
    assert calls == ["https://example.org/models/net.pth?version=1"]
    assert (tmp_path / "checkpoints" / "net.pth").is_file()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_args: object, **_kwargs: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ConnectionError) as caught:
        load_pretrained(DilatedResNet(18))
    assert str(caught.value) == (
        f"{COCO_RESNET101}: could not be downloaded (<urlopen error no route to host>). Download it on a computer with "
        f"access to it and save it as {tmp_path / 'checkpoints' / 'deeplabv3_resnet101_coco-586e9e4e.pth'}, or give "
        "the path of the file as source."
    )
