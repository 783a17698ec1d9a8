# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The review page in a real browser: order, keys, filters, what is kept, exported and read back, and hostile names."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, missing
from review_scene import NAMES, write_report, write_scans

from monai_fss.apps.cli import main
from monai_fss.apps.correct.table import COLUMNS
from monai_fss.data import write_json

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

CODE = "</script><script>document.title='pwned'</script>"
HOSTILE = "<img src=x onerror=\"document.title='pwned'\">&%41 100% #1 {{7*7}} é 😀"
CASES = ["case_01", "case_02", "case_03", "case_04", HOSTILE]
ORGANS = {**NAMES, 3: CODE}
WORST = [(HOSTILE, 3, 0.1), ("case_02", 1, 0.2), ("case_01", 5, 0.3)]


def title(case: str, label: int) -> str:
    return f"{case}: {ORGANS[label]}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    write_scans(root, CASES, subjects=1)
    quality = {(case, label): score for case, label, score in WORST}
    write_report(root, CASES, quality, {("case_02", 1): CODE}, {"case_99": f"cannot be read ({CODE})"}, ORGANS)
    assert main(["review", str(root / "out")]) == 0
    return root


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def driver(started: Any, root: Path) -> Any:
    """The page, opened for the first time."""
    if started.current_url.startswith("file:"):
        started.execute_script("localStorage.clear()")
    for log in ("performance", "browser"):
        started.get_log(log)  # of what was before
    started.get((root / "out" / "review" / "index.html").as_uri())
    return started


def press(driver: Any, keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(keys).perform()


def text(driver: Any, selector: str) -> str:
    return str(driver.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def titles(driver: Any) -> list[str]:
    return list(driver.execute_script("return [...document.querySelectorAll('#rows h2')].map(h => h.innerText)"))


def pressed(driver: Any) -> dict[str, str]:
    """Title to verdict, of the rows that have one."""
    script = "return [...document.querySelectorAll('[aria-pressed=true]')]"
    script += ".map(b => [b.closest('li').querySelector('h2').innerText, b.dataset.verdict])"
    return dict(driver.execute_script(script))


def choose(driver: Any, name: str, value: str) -> None:
    script = (
        "const c = document.getElementById(arguments[0]); c.value = arguments[1]; c.dispatchEvent(new Event('change'))"
    )
    driver.execute_script(script, name, value)


def wait(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def exported(driver: Any, folder: Path) -> Path:
    """What the button saves."""
    for old in folder.glob("*.json"):
        old.unlink()
    driver.find_element("id", "export").click()
    return wait(lambda: next((path for path in folder.glob("*.json") if path.stat().st_size), None))


@pytest.fixture(scope="module")
def downloads(started: Any) -> Path:
    words = started.capabilities["chrome"]["userDataDir"]
    return Path(words).parent / "downloads"


def test_the_worst_come_first_and_their_pictures_are_there(driver: Any) -> None:
    shown = titles(driver)
    assert shown[:3] == [title(case, label) for case, label, _ in WORST] and len(shown) == 20
    assert text(driver, "#failed li") == f"case_99: cannot be read ({CODE})"
    seen = "return [...document.querySelectorAll('#rows > li:first-child img')].map(i => [i.complete, i.naturalWidth])"
    wait(lambda: driver.execute_script(seen) == [[True, 768], [True, 768]])
    last = "return [...document.querySelectorAll('#rows > li:last-child img')].map(i => i.complete)"
    assert driver.execute_script(last) == [False, False], "it is loaded when it comes into view"
    assert driver.title == "Review of out" and "{{7*7}}" in shown[0]
    assert driver.execute_script("return document.querySelectorAll('script').length") == 2


def test_nothing_is_asked_of_a_network_and_nothing_is_complained_of(driver: Any) -> None:
    press(driver, "nnnnnnnnnn")
    time.sleep(0.3)
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 5 and all(url.startswith("file://") for url in urls)
    assert driver.get_log("browser") == []
    source = driver.page_source
    assert "http://" not in source.replace("http://www.w3.org/2000/svg", "") and "https://" not in source


def test_keys_judge_go_on_and_come_back(driver: Any) -> None:
    first, second, third = (title(case, label) for case, label, _ in WORST)
    press(driver, "fxpb")
    assert pressed(driver) == {first: "fail", second: "fix", third: "pass"}
    assert text(driver, "li[aria-current] h2") == third
    assert text(driver, "#summary").endswith("3 of 25 organs reviewed: 1 pass, 1 fail, 1 fix")
    press(driver, "u")
    assert third not in pressed(driver)
    press(driver, "bbb")
    assert text(driver, "li[aria-current] h2") == first
    driver.find_element("id", "keys").click()
    press(driver, "p")
    assert pressed(driver) == {first: "fail", second: "fix"}, "keys are switched off"


def test_contours_are_a_layer_that_can_be_switched_off(driver: Any) -> None:
    script = "return getComputedStyle(document.querySelector('img.contours')).visibility"
    assert driver.execute_script(script) == "visible"
    press(driver, "c")
    assert driver.execute_script(script) == "hidden"
    driver.refresh()
    assert driver.execute_script(script) == "hidden" and not driver.find_element("id", "contours").is_selected()


def test_without_a_mouse(driver: Any) -> None:
    """From a row the next stop is its first button; what is focused says what it is."""
    from selenium.webdriver.common.keys import Keys

    press(driver, "n")
    active = driver.switch_to.active_element
    assert active.tag_name == "li" and active.accessible_name == title(*WORST[1][:2])
    active.send_keys(Keys.TAB)
    active = driver.switch_to.active_element
    assert active.text == "pass" and active.get_attribute("aria-pressed") == "false"
    active.send_keys(Keys.ENTER)
    assert pressed(driver) == {title(*WORST[1][:2]): "pass"}
    assert driver.switch_to.active_element.text.endswith("pass")
    named = driver.execute_script("return [...document.querySelectorAll('button, select, input')].map(e => e.id)")
    for control in filter(None, named):
        assert control == "file" or driver.find_element("id", control).accessible_name, control


def test_filters_by_organ_case_and_verdict(driver: Any) -> None:
    press(driver, "foo")
    assert text(driver, "#status") == "Organ: right_kidney" and len(titles(driver)) == 5
    choose(driver, "organ", "")
    choose(driver, "verdict", "fail")
    assert titles(driver) == [title(*WORST[0][:2])]
    choose(driver, "verdict", "open")
    assert text(driver, ".where") == "1 to 20 of 24"
    driver.find_element("id", "case").send_keys("CASE_02")
    assert titles(driver)[0] == title("case_02", 1) and len(titles(driver)) == 5
    assert pressed(driver) == {}, "letters of a name are no keys"
    driver.find_element("id", "case").send_keys("x")
    assert text(driver, "#rows") == "No mask fits these filters."
    driver.find_element("id", "case").clear()
    choose(driver, "verdict", "")
    choose(driver, "order", "case")
    assert titles(driver)[:2] == [title(HOSTILE, 1), title(HOSTILE, 2)]
    press(driver, "n" * 20)
    assert text(driver, ".where") == "21 to 25 of 25" and titles(driver)[0] == title("case_04", 1)


def test_verdicts_outlive_the_page_and_are_read_back(
    driver: Any, root: Path, downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    press(driver, "xf")
    driver.refresh()
    given = {title(*WORST[0][:2]): "fix", title(*WORST[1][:2]): "fail"}
    assert pressed(driver) == given
    review = exported(driver, downloads)
    assert review.name == "review.json"
    shutil.copy(review, tmp_path)
    assert main(["review", str(root / "out"), "--verdicts", str(tmp_path / "review.json")]) == 0
    assert "fix.txt: 1 scan(s)" in capsys.readouterr().out
    assert (root / "out" / "review" / "fix.txt").read_text(encoding="utf-8") == f"{HOSTILE}\n"
    assert (root / "out" / "review" / "fail.txt").read_text() == "case_02\n"

    driver.execute_script("localStorage.clear()")
    driver.refresh()
    assert pressed(driver) == {}
    driver.find_element("id", "file").send_keys(str(tmp_path / "review.json"))
    wait(lambda: text(driver, "#status") == "review.json: 2 verdict(s) taken")
    assert pressed(driver) == given
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**json.loads(review.read_text()), "run": "another"}))
    driver.find_element("id", "file").send_keys(str(other))
    wait(lambda: "other.json: is of another run (another)" in text(driver, "#status"))


def test_a_round_of_corrections_is_shown_before_and_after(started: Any, root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    write_json(copy / "out" / "interval.json", {"coverage": 0.9, "masks": 12, "radius": 0.15})
    cells = ["2", "case_02", "replaced", CODE, "1", "liver", "12.34", "15.00", "0.1500", "0.2000"]
    (copy / "out" / "correct.csv").write_text(",".join(COLUMNS) + "\n" + ",".join(cells) + "\n")
    old = copy / "out" / "history" / "002" / "overlays" / "case_02.png"
    old.parent.mkdir(parents=True)
    shutil.copy(next((copy / "out" / "review" / "images").rglob("*.jpg")), old)
    assert main(["review", str(copy / "out")]) == 0
    started.get((copy / "out" / "review" / "index.html").as_uri())
    assert titles(started)[1] == title("case_02", 1)
    shown = text(started, "#rows > li:nth-child(2) dl")
    assert "Dice, 90 %\n0.05 to 0.35, by 12 corrected masks" in shown
    assert "Round 2\nreplaced; quality 0.15 before, 0.20 of the new mask; 12.3 ml before" in shown
    assert "Round" not in text(started, "#rows > li:nth-child(1) dl")
    link = started.find_element("link text", "all slices before round 2")
    assert link.get_attribute("href") == old.as_uri()
