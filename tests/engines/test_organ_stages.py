# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Who learns from what in the stages of two-stage segmentation; nothing is trained or registered here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_fss.data import InputWarning, read_organ_maps, save_model
from monai_fss.engines import OrganStages, organ_stages
from monai_fss.engines.organ_stages import in_turns
from monai_fss.inferers import OrganCrops
from monai_fss.inferers.two_stage.priors import chosen_atlases, packed_atlases, unpacked_atlases
from monai_fss.networks.nets import ResidualFCN, TwoStageNet

SIZE = 12
TINY: dict[str, Any] = {"filters": (2, 2), "strides": (1, 2)}


def scan(item: Mapping[str, Any]) -> dict[str, MetaTensor]:
    """Organ 7 at a place that the scan's number shifts; the number is in the intensities too."""
    number = int(item["number"])
    image, label = torch.full((1, SIZE, SIZE, SIZE), number / 8), torch.zeros(1, SIZE, SIZE, SIZE)
    label[0, 1, 1, 1] = 3
    label[0, 4 + number, 4:6, 4:6] = 7
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    return {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}


class Recorded:
    """In place of trainings: what was asked for, and models of random weights."""

    def __init__(self, coarse: nn.Module, fail: str | None = None) -> None:
        self.coarse, self.fail = coarse, fail
        self.asked: list[tuple[str, list[str], bool]] = []
        self.settings: list[dict[str, Any]] = []

    def __call__(self, bundle: Any, config: str, root: Path, settings: Any, device: Any, first: bool, name: str) -> str:
        if name == self.fail:
            raise KeyboardInterrupt
        self.asked.append((name, list(settings["cases"]), first))
        self.settings.append(dict(settings))
        folder = Path(root) / f"{name}-{len(settings['cases'])}"
        if not (folder / "model.pt").is_file():
            net = TwoStageNet(self.coarse) if config == "train" else ResidualFCN(2, 2, **TINY)
            save_model(folder / "model.pt", net, {})
            (folder / organ_stages.DONE).write_text(json.dumps({"seconds": 30}))
        return str(folder)


class NoPrior:
    """In place of a prior: which scans it would be of."""

    seen: list[list[int]]

    def __init__(self, scans: Any, values: Any, *more: Any) -> None:
        NoPrior.seen.append([round(8 * float(one["image"].max())) for one in scans])
        self.atlas = None


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded(ResidualFCN(1, 3, **TINY))
    NoPrior.seen = []
    monkeypatch.setattr(organ_stages, "run_stage", made)
    monkeypatch.setattr(organ_stages, "OrganPrior", NoPrior)
    return made


def stages(recorded: Recorded, root: Path, scans: int = 4, **more: Any) -> OrganStages:
    items = [{"case": f"case_{number}", "number": number} for number in range(scans)]
    regions = {"roi_size": [8, 8, 8], "pixdim": None, "threshold": 0.2, "margin": 4.0, "registration": {}}
    schedule = {"steps": 2, "batch_size": 3}
    settings = {"coarse_settings": schedule, "fine_settings": {**schedule, "fine_size": [8] * 3}, "regions": regions}
    own: dict[str, Any] = {"organs": [7], "values": [3, 7], "coarse": recorded.coarse, **settings, **more}
    return OrganStages(root, root / "cache", items, scan, **own)


def test_maps_are_of_a_network_and_a_prior_that_have_not_seen_the_scan(recorded: Recorded, tmp_path: Path) -> None:
    made = stages(recorded, tmp_path).run()
    everyone = [f"case_{number}" for number in range(4)]
    assert recorded.asked == [
        ("coarse0", ["case_1", "case_3"], True),
        ("coarse1", ["case_0", "case_2"], True),
        ("fine7", everyone, True),
    ]
    assert NoPrior.seen == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert recorded.settings[-1]["organ"] == 7 and Path(recorded.settings[-1]["maps"]) == made.maps
    kept = read_organ_maps(made.maps / "case_2.pt")
    assert kept["organs"] == [7] and kept["maps"].shape == (1, SIZE, SIZE, SIZE) and len(kept["notes"]) == 1
    assert torch.equal(kept["label"], scan({"number": 2})["label"]) and kept["boxes"].shape == (1, 2, 3)
    assert kept["priors"].shape == kept["maps"].shape and not kept["priors"].any(), "no prior is 0"


def test_what_is_there_is_not_made_again_and_what_it_depends_on_counts(recorded: Recorded, tmp_path: Path) -> None:
    maps = stages(recorded, tmp_path).run().maps
    times = {file: file.stat().st_mtime_ns for file in maps.glob("*.pt")}
    NoPrior.seen = []
    again = stages(recorded, tmp_path).run()
    assert again.maps == maps and {file: file.stat().st_mtime_ns for file in maps.glob("*.pt")} == times
    assert NoPrior.seen == []
    assert stages(recorded, tmp_path, atlases=1).run().maps != maps and NoPrior.seen == [[1], [0], [0], [0]]
    assert stages(recorded, tmp_path, multi_atlas=False).run().maps != maps and len(NoPrior.seen) == 4


def test_an_interrupted_run_goes_on_with_the_organ_that_is_not_done(recorded: Recorded, tmp_path: Path) -> None:
    recorded.fail = "fine7"
    both = {"organs": [3, 7]}
    with pytest.raises(KeyboardInterrupt):
        stages(recorded, tmp_path, **both).run()
    assert [name for name, _, _ in recorded.asked] == ["coarse0", "coarse1", "fine3"]
    recorded.fail, NoPrior.seen = None, []
    network = TwoStageNet(ResidualFCN(1, 3, **TINY), ResidualFCN(2, 2, **TINY), [3, 7])
    made = stages(recorded, tmp_path, **both).run()
    made.load(network)
    assert NoPrior.seen == [] and len(list(made.maps.glob("*.pt"))) == 4
    known = network.remembered()
    box = torch.tensor([[5.5, 4, 4], [6.5, 6, 6]], dtype=torch.float64) / SIZE
    torch.testing.assert_close(known["usual7"], box)
    assert len(unpacked_atlases(known)) == 4 and "atlas3_image" in known
    text = made.summary(network, 100)
    assert "100 coarse, 12 out of fold, 12 fine, 124 in all; stages before: 2.0 minutes" in text


def test_one_labelled_scan_is_learnt_from_and_said_to_be_few(recorded: Recorded, tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match="case_0: is the only labelled scan. The fine stages.*prior is of one atlas"):
        stages(recorded, tmp_path, scans=1).run()
    assert [cases for _, cases, _ in recorded.asked] == [["case_0"], ["case_0"]] and NoPrior.seen == [[]]


def test_without_a_second_stage_nothing_is_run(recorded: Recorded, tmp_path: Path) -> None:
    made = stages(recorded, tmp_path, two_stage=False).run()
    network = made.load(TwoStageNet(ResidualFCN(1, 3, **TINY)))
    assert recorded.asked == [] and sorted(network.remembered())[0] == "atlas0_image"
    assert stages(recorded, tmp_path, two_stage=False, remember=False).load(network).remembered() == {}


def test_processes_divide_the_jobs_and_wait_for_the_others() -> None:
    done: list[tuple[int, bool]] = []

    def job(number: int) -> Any:
        def run(mine: bool) -> Path:
            done.append((number, mine))
            return Path(str(number))

        return run

    found = in_turns([job(number) for number in range(5)], rank=1, processes=2)
    assert found == [Path(str(number)) for number in range(5)]
    assert done == [(1, True), (3, True), (0, False), (2, False), (4, False)]


def test_atlases_are_spread_over_the_others() -> None:
    assert chosen_atlases(5, None, 2) == [0, 1, 3, 4] and chosen_atlases(5, 9) == [0, 1, 2, 3, 4]
    assert chosen_atlases(9, 3) == [0, 4, 8] and chosen_atlases(9, 3, 0) == [1, 5, 8] and chosen_atlases(1, 3, 0) == []
    pair = [scan({"number": number}) for number in (1, 2)]
    back = unpacked_atlases(packed_atlases(pair, 8.0))
    assert len(back) == 2 and back[1]["image"].shape == (1, 6, 6, 6) and torch.equal(back[1]["label"], pair[1]["label"])
    assert float(back[1]["image"].mean()) == 0.25 and back[0]["image"].affine[0, 0] == 8


@pytest.mark.parametrize(("selected", "low", "high"), [(True, [3, 3, 3], [11, 8, 8]), (False, [4, 2, 2], [9, 8, 8])])
def test_a_fine_stage_learns_from_the_region_and_the_organ(
    recorded: Recorded, tmp_path: Path, selected: bool, low: list[int], high: list[int]
) -> None:
    """The organ fills [6, 4:6, 4:6], with a margin of 2 voxels; the selected region is another."""
    from monai_fss.data import save_organ_maps

    maps = torch.zeros(1, SIZE, SIZE, SIZE)
    maps[0, 6] = 0.5
    own = scan({"number": 2})
    kept = {name: MetaTensor(f * maps, affine=own["image"].affine) for name, f in (("maps", 1), ("priors", 1.5))}
    boxes = torch.tensor([[[3, 3, 3], [11, 5, 5]]])
    save_organ_maps(tmp_path / "a.pt", {**own, **kept}, boxes, [7], [""])
    crop = OrganCrops(7, 8.0, selected)({"maps": str(tmp_path / "a.pt")})
    low = [min(a, b) for a, b in zip(low, [4, 2, 2], strict=True)]
    size = [b - a for a, b in zip(low, high, strict=True)]
    assert all(list(crop[key].shape) == [1, *size] for key in ("image", "context", "label"))
    assert int(crop["label"].sum()) == 4 and crop["context"][0, 6 - low[0]].mean() == 0.5
    assert crop["image"].affine[:3, 3].tolist() == [4.0 * value for value in low]
    both = OrganCrops(7, 8.0, selected, ["maps", "priors"])({"maps": str(tmp_path / "a.pt")})["context"]
    assert both.shape == (2, *size) and both[:, 6 - low[0]].mean((1, 2)).tolist() == [0.5, 0.75]
    prior = OrganCrops(7, 8.0, selected, ["priors"])({"maps": str(tmp_path / "a.pt")})["context"]
    assert torch.equal(prior, both[1:])
