# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Seconds and memory of `monai-fss review`, and of its page in Chromium.

Run: ``PYTHONPATH=tests/fixtures python tests/benchmarks/review_page.py FOLDER [--scans 1000]``. It makes a folder of
masks of small synthetic scans with five organs in FOLDER, once, writes the page, opens it in a headless Chromium and
prints: seconds of the first call and of one that finds everything drawn, size of page and pictures; seconds until the
page's script is done and until the pictures in view are there, and what that costs the processor; memory of the page's
process (what is its own alone, and its share of what processes have in common) when it is opened and after the keys
have gone through 200 rows with their pictures; and that of all of the browser's processes together with an empty page.
Exit code 1 where the page opens in 3 s or more, or its process takes 300 MB or more.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from browser import browser
from review_scene import write_report, write_scans

from monai_fss.apps.cli import main as command

SECONDS, MEGABYTES, ROWS = 3.0, 300.0, 200
IN_VIEW = (
    "return [...document.images].filter(i => i.getBoundingClientRect().top < innerHeight)"
    ".every(i => i.complete && i.naturalWidth)"
)


def scene(folder: Path, scans: int) -> Path:
    """A folder of masks, made once."""
    cases = [f"case_{number:05d}" for number in range(scans)]
    if not (folder / "out" / "report.json").exists():
        write_scans(folder, cases, subjects=10)
        quality = {(case, value): (7 * n + value) % 100 / 100 for n, case in enumerate(cases) for value in range(1, 6)}
        write_report(folder, cases, quality)
    return folder / "out"


def timed(out: Path) -> tuple[float, float]:
    """Seconds of the command, by the clock and of the processor."""
    before, cpu = time.perf_counter(), time.process_time()
    if command(["review", str(out), "--quiet"]) != 0:
        sys.exit("the command failed")
    return time.perf_counter() - before, time.process_time() - cpu


def memory(driver: Any, kind: str | None) -> tuple[float, float]:
    """MB of the browser's processes of a kind, the largest one of them, or of all together: own, and with shares."""
    sizes = []
    for process in psutil.Process(driver.service.process.pid).children(recursive=True):
        try:
            if kind is None or f"--type={kind}" in process.cmdline():
                found = process.memory_full_info()
                sizes.append((found.uss / 1e6, found.pss / 1e6))
        except psutil.NoSuchProcess:  # one that was about to end
            continue
    return max(sizes) if kind else (sum(own for own, _ in sizes), sum(shared for _, shared in sizes))


def processor(driver: Any) -> float:
    """Seconds that the browser's processes have computed so far."""
    found = 0.0
    for process in psutil.Process(driver.service.process.pid).children(recursive=True):
        try:
            times = process.cpu_times()
            found += times.user + times.system
        except psutil.NoSuchProcess:  # one that was about to end
            continue
    return found


def opened(page: Path, folder: Path) -> dict[str, float]:
    """What is measured in the browser."""
    from selenium.webdriver.common.by import By

    found = {}
    with browser(folder) as driver:
        driver.get("about:blank")
        found["all processes, empty page (MB)"] = memory(driver, None)[1]
        before, start = processor(driver), time.perf_counter()
        driver.get(page.resolve().as_uri())
        found["page loaded (s)"] = time.perf_counter() - start
        while not driver.execute_script(IN_VIEW):
            time.sleep(0.02)
        found["pictures in view (s)"] = time.perf_counter() - start
        found["all processes until then (s of the processor)"] = processor(driver) - before
        script = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
        found["page loaded, by its own clock (s)"] = driver.execute_script(script)
        own, shared = memory(driver, "renderer")
        found |= {"its process, opened (MB, own)": own, "its process, opened (MB, with shares)": shared}
        body = driver.find_element(By.TAG_NAME, "body")
        for _ in range(ROWS):
            body.send_keys("n")
        while not driver.execute_script(IN_VIEW):
            time.sleep(0.02)
        own, shared = memory(driver, "renderer")
        found |= {f"after {ROWS} rows (MB, own)": own, f"after {ROWS} rows (MB, with shares)": shared}
        found["all processes (MB)"] = memory(driver, None)[1]
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Seconds and memory of the review page.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=int, default=1000)
    args = parser.parse_args()
    out = scene(args.folder, args.scans)
    for name in ("first call", "everything drawn"):
        wall, cpu = timed(out)
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of the processor", flush=True)
    print(f"peak memory of the command: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    page = out / "review" / "index.html"
    pictures = sum(path.stat().st_size for path in page.parent.rglob("*") if path.suffix in (".jpg", ".svg"))
    print(f"page: {page.stat().st_size / 1e6:.2f} MB; pictures: {pictures / 1e6:.0f} MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = opened(page, Path(folder) / "browser")
    for name, value in found.items():
        print(f"{name}: {value:.2f}")
    late = found["pictures in view (s)"] >= SECONDS
    return int(
        late or max(value for name, value in found.items() if "its process" in name or "after" in name) >= MEGABYTES
    )


if __name__ == "__main__":
    sys.exit(main())
