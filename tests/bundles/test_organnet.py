# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""OrganNet's ablations, as its page types them."""

from __future__ import annotations

import re

import pytest
from recipe_checks import parsed

from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.engines.setting_checks import joint_problems

PAGE = (bundle_path("organnet") / "docs" / "README.md").read_text(encoding="utf-8")
ABLATIONS = sorted({name.strip("`'") for name in re.findall(r"organnet:(\S+=\S+)", PAGE)})


def test_the_page_lists_those_of_table_3_and_fig_4() -> None:
    assert {name.partition("=")[2] for name in ABLATIONS if "sharing" in name} == {"none", "target_anchor", "all"}
    sizes = {name.partition("=")[2] for name in ABLATIONS if name.startswith("neighbourhoods")}
    assert {"[1,7]", "[1,7,5]", "[1,3,3,3]", "[1,5,5,5]", "[1,7,7,7]", "[7,5,3]"} == sizes


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_reaches_the_network(ablation: str) -> None:
    parser = parsed("organnet", ablation)
    net = parser.get_parsed_content("network_def")
    assert joint_problems(parser.config) == [] and [m.size for m in net.reasoning] == parser["neighbourhoods"]
    sharing = parser["sharing"]
    assert (net.anchor is net.target) == (sharing in ("target_anchor", "all"))
    assert (net.mask[-1][1] is net.anchor[-1][1]) == (sharing in ("anchor_mask", "all"))
    key, _, value = ablation.rpartition("paper,")[2].partition("=")
    assert str(parser[key]).replace(" ", "") == value and key in parser["settings"], "and to inference"
