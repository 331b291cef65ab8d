from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from src.eval.figures import Figure
from src.eval.report import write_report
from src.eval.results import Results

VOID = {"meta", "img", "br", "link", "input", "hr"}


class PageParser(HTMLParser):
    """Collects attributes and text, and checks that tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, untrained_and_trained: list[Results]) -> str:
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / "metrics.csv").write_text("epoch,step,train/loss\n0,0,3.5\n0,10,1.5\n")
    evil = replace(untrained_and_trained[-1], experiment="demo <b>&", label='"<i>trained')
    sample = run_dir / "figures" / "samples.jpg"
    sample.parent.mkdir()
    sample.write_bytes(b"jpeg bytes")
    path = write_report(
        run_dir,
        [untrained_and_trained[0], evil],
        command="python train.py experiment=demo 'name=</pre><script>alert(1)</script>'",
        config_text="seed: 0 # <script>alert(2)</script>",
        samples=[Figure(sample, "Faces", 'Generated "faces" <nobody>')],
    )
    assert path == run_dir / "report" / "index.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(page: str) -> PageParser:
    parser = PageParser()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_is_one_self_contained_file(page: str, parsed: PageParser) -> None:
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert not {"script", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    sources = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert len(sources) == 7  # ROC and scores twice, accuracy, loss, sample
    assert all(source is not None and source.startswith("data:image/") for source in sources)
    assert sources[-1] == "data:image/jpeg;base64," + base64.b64encode(b"jpeg bytes").decode()


def test_every_picture_has_an_alternative_text(parsed: PageParser) -> None:
    texts = [attributes.get("alt") for tag, attributes in parsed.tags if tag == "img"]
    assert all(texts)
    assert texts[-1] == 'Generated "faces" <nobody>'


def test_escapes_everything(page: str, parsed: PageParser) -> None:
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "demo <b>&" in parsed.text
    assert "<script>alert(2)</script>" in parsed.text


def test_fits_a_phone_and_follows_the_colour_scheme(page: str, parsed: PageParser) -> None:
    viewport = [a["content"] for tag, a in parsed.tags if tag == "meta" and a.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]
    assert "prefers-color-scheme: dark" in page
    assert ("html", {"lang": "en"}) in parsed.tags


def test_tells_the_numbers(parsed: PageParser, untrained_and_trained: list[Results]) -> None:
    for row in untrained_and_trained:
        for metrics in row.metrics.values():
            assert f"{100 * metrics['accuracy']:.2f} ± {100 * metrics['accuracy_std']:.2f}" in parsed.text
    assert "attack_accuracy" in parsed.text
    assert "0.5300" in parsed.text
    assert "checkpoints/best.ckpt" in parsed.text
    assert "nan" not in parsed.text


def test_untrained_network_without_training(tmp_path: Path, untrained_and_trained: list[Results]) -> None:
    page = write_report(tmp_path, untrained_and_trained[:1], command="python eval.py", config_text="").read_text()
    assert "Untrained network" in page
    assert "<h2>Training</h2>" not in page
    assert "<h2>Privacy</h2>" not in page
