"""The report page as a browser shows it. A frame gives it a width that a window cannot have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from support_protection import protection_score
from support_results import Noise, results

from src.eval.figures.pairs import hard_pairs_figure
from src.eval.pictures import image_grid
from src.eval.report import IMAGES, Run, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")

FRAME = """<!doctype html>
<html><head><meta charset="utf-8"><link rel="icon" href="data:,"></head><body>
<iframe src="PAGE" style="width: WIDTHpx; height: 800px; border: 0"></iframe>
<pre></pre>
<script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  for (const details of page.querySelectorAll("details")) details.open = true;
  const root = page.documentElement;
  document.querySelector("pre").textContent = JSON.stringify({
    width: root.clientWidth,
    needed: root.scrollWidth,
    tables: page.querySelectorAll("table").length,
    images: [...page.images].map(image => ({alt: image.alt, width: image.naturalWidth, shown: image.clientWidth})),
  });
});
</script></body></html>"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the pages, and its address."""
    root = tmp_path_factory.mktemp("site")
    _write_pages(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield root, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def _write_pages(root: Path) -> None:
    figures = root / "figures"
    rows = [results("untrained", 0.1), results("a_network_with_a_long_name_and_no_space_in_it", 0.8)]
    rows[1].scores["protection"] = protection_score(0.02)
    (root / "metrics.csv").write_text("epoch,step,train/loss\n0,0,3.5\n0,10,1.5\n")
    hard_pairs_figure(figures, "lfw", rows[-1].label, rows[-1].scores["lfw"], Noise())
    image_grid(figures / IMAGES.format("training"), torch.zeros(32, 3, 24, 24), title="Faces", alt="32 faces")
    command = f"python train.py experiment=demo paths.root=/{'x' * 300}"
    write_report(root / "one.html", [Run(root, rows, command, "key: " + "y" * 300)], figures)
    runs = [Run(root / row.label, [row], "", "") for row in rows]
    write_report(root / "several.html", runs, root / "out")


def measure(site: tuple[Path, str], profile: Path, page: str, width: int) -> tuple[dict[str, Any], str]:
    """What the page measures at a width, and what the browser had to complain about."""
    root, address = site
    frame = root / f"frame_{width}_{page}"
    frame.write_text(FRAME.replace("PAGE", page).replace("WIDTH", str(width)))
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-extensions", "--disable-background-networking", f"--user-data-dir={profile}"),
        *("--enable-logging=stderr", "--window-size=1600,900", "--virtual-time-budget=5000", "--dump-dom"),
        f"{address}/{frame.name}",
    ]
    browser = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    measured = re.search(r"<pre>(\{.*\})</pre>", browser.stdout)
    assert measured, browser.stderr[-2000:]
    return json.loads(measured[1]), "\n".join(line for line in browser.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.parametrize("page", ["one.html", "several.html"])
@pytest.mark.parametrize("width", [390, 1440])
def test_page(site: tuple[Path, str], tmp_path: Path, page: str, width: int) -> None:
    found, console = measure(site, tmp_path, page, width)
    assert console == ""
    assert found["width"] == found["needed"], "the page is wider than the window"
    assert width - 20 <= found["width"] <= width
    assert found["tables"] >= 9
    assert len(found["images"]) == (19 if page == "one.html" else 16)
    for image in found["images"]:
        assert image["alt"]
        assert image["width"] > 0
        assert 0 < image["shown"] <= found["width"]


def test_an_error_would_be_seen(site: tuple[Path, str], tmp_path: Path) -> None:
    root, _ = site
    (root / "bad.html").write_text(
        '<!doctype html><img src="missing.png" alt=""><div style="width: 900px">a</div>'
        "<script>console.error('oh no')</script>"
    )
    found, console = measure(site, tmp_path, "bad.html", 390)
    assert "oh no" in console
    assert found["needed"] > found["width"]
    assert found["images"][0]["width"] == 0
