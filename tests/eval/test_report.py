from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from support_protection import protection_score
from support_results import Noise, gender_score, results, verification_score

from src.eval.figures.pairs import hard_pairs_figure
from src.eval.pictures import image_grid
from src.eval.report import IMAGES, Report, Run, write_report
from src.eval.results import Results
from src.eval.score import BenchmarkScore

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

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes[name] or "" for found, attributes in self.tags if found == tag]


def parse(page: Path) -> PageParser:
    parser = PageParser()
    parser.feed(page.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return parser


ROWS = [
    results("untrained", 0.1, checkpoint=None),
    results(
        '"<i>last', 0.8, experiment="demo <b>&", privacy={"gender": {"attack_accuracy": 0.53, "gap": float("nan")}}
    ),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of one run with everything a run can have, and texts that try to break out."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "metrics.csv").write_text("epoch,step,train/loss\n0,0,3.5\n0,10,1.5\n")
    path = folder / "figures" / IMAGES.format("training")
    image_grid(path, torch.zeros(2, 3, 8, 8), title="Faces", alt='Some "faces" <nobody>')
    hard_pairs_figure(folder / "figures", "lfw", ROWS[-1].label, ROWS[-1].scores["lfw"], Noise())
    run = Run(
        folder,
        ROWS,
        command="python train.py experiment=demo 'name=</pre><script>alert(1)</script>'",
        config_text="seed: 0 # <script>alert(2)</script>",
    )
    return write_report(folder / "report" / "index.html", [run], folder / "figures")


@pytest.fixture(scope="module")
def parsed(report: Report) -> PageParser:
    return parse(report.page)


def test_is_one_self_contained_file(report: Report, parsed: PageParser) -> None:
    page = report.page.read_text()
    assert report.page.parent.name == "report"
    assert not any(text in page for text in ("http:", "https:", "url(", "@import"))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    sources = parsed.attributes("img", "src")
    assert len(sources) == len(report.figures) == 1 + 2 * 3 + 5 + 1 + 1 + 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_every_picture_has_an_alternative_text(report: Report, parsed: PageParser) -> None:
    texts = parsed.attributes("img", "alt")
    assert texts == [figure.alt for figure in report.figures]
    assert all(texts)
    assert texts[-1] == 'Some "faces" <nobody>'
    assert texts[4].startswith('lfw: hardest pairs ("<i>last), accepted from similarity 0.40 on.')


def test_escapes_everything(report: Report, parsed: PageParser) -> None:
    page = report.page.read_text()
    assert "<script" not in page
    assert "<b>&" not in page
    assert "<i>" not in page
    assert "demo <b>&" in parsed.text
    assert "<script>alert(2)</script>" in parsed.text


def test_fits_a_phone_and_follows_the_colour_scheme(report: Report, parsed: PageParser) -> None:
    viewport = [a["content"] for tag, a in parsed.tags if tag == "meta" and a.get("name") == "viewport"]
    assert viewport == ["width=device-width, initial-scale=1"]
    assert "prefers-color-scheme: dark" in report.page.read_text()
    assert ("html", {"lang": "en"}) in parsed.tags


def test_tells_the_numbers(parsed: PageParser) -> None:
    for text in ("55.00 ± 1.28", "90.00 ± 1.28", "90.00 [89.00, 91.00]", "N0D1F1", "attack accuracy", "53.00"):
        assert text in parsed.text
    for text in ("untrained: 55.00 %", "runs/demo/checkpoints", "python train.py experiment=demo", "no checkpoint"):
        assert text in parsed.text
    assert "nan" not in parsed.text


def test_each_benchmark_has_its_section(parsed: PageParser) -> None:
    for benchmark in ("lfw", "cfp_fp", "ijbc"):
        assert f"All metrics on {benchmark}" in parsed.text


def test_gender_attacks_head_the_page(tmp_path: Path) -> None:
    rows = [
        results(label, 0.5, scores={"lfw": verification_score(0.5), "toy": gender_score(separation, bacc, pic=pic)})
        for label, separation, bacc, pic in (("backbone", 0.9, 0.95, float("nan")), ("last", 0.8, 0.6, 3.5))
    ]
    report = write_report(tmp_path / "index.html", [Run(tmp_path, rows, "", "")], tmp_path / "figures")
    text = " ".join(parse(report.page).text.split())
    for card in ("toy guessed by attackers60.00 %backbone: 95.00 %", "toy EER10.00 %backbone: 5.00 %"):
        assert card in text
    assert text.index("Privacy") < text.index("All privacy metrics on toy") < text.index("All metrics on lfw")
    names = [figure.path.name for figure in report.figures]
    assert names[:3] == ["accuracy.png", "tradeoff_toy.png", "projection_toy.png"]
    beside = write_report(
        tmp_path / "beside.html",
        [Run(tmp_path / row.label, [row], "", "") for row in rows],
        tmp_path / "figures",
    )
    assert "toy guessed by attackers60.00 %least: last" in " ".join(parse(beside.page).text.split())


def test_protected_templates_have_their_section(tmp_path: Path) -> None:
    rows = [
        results("backbone", 0.5, scores={"lfw": verification_score(0.9), "toy": BenchmarkScore({})}),
        results("last", 0.5, scores={"lfw": verification_score(0.8), "toy": protection_score(0.02)}),
        results("last bits", 0.5, scores={"lfw": verification_score(0.8), "toy": BenchmarkScore({})}),
    ]
    report = write_report(tmp_path / "index.html", [Run(tmp_path, rows, "", "")], tmp_path / "figures")
    page = parse(report.page)
    text = " ".join(page.text.split())
    assert "toy D_sys of templates alone0.020by chance: 0.010" in text
    assert text.index("Recognition") < text.index("Template protection") < text.index("All metrics on lfw")
    assert "Nothing: templates of one person are not linked" in text
    assert "All privacy metrics on toy" in text
    assert "All metrics on toy" not in text
    assert "Privacy" not in text
    assert [a["class"] for tag, a in page.tags if tag == "div" and "prose" in (a.get("class") or "")] == ["box prose"]
    names = [figure.path.name for figure in report.figures]
    assert names[:3] == ["accuracy.png", "linking_toy.png", "inversion_toy.png"]
    assert page.attributes("img", "alt") == [figure.alt for figure in report.figures]


def test_what_measures_nothing_has_no_section(tmp_path: Path) -> None:
    rows = [results("plain", 0.5, scores={"toy": BenchmarkScore({})})]
    report = write_report(tmp_path / "index.html", [Run(tmp_path, rows, "", "")], tmp_path / "figures")
    assert "toy" not in parse(report.page).text


def test_a_run_with_nothing_but_results(tmp_path: Path) -> None:
    row = replace(ROWS[0], scores={})
    report = write_report(tmp_path / "index.html", [Run(tmp_path, [row], "", "")], tmp_path / "figures")
    text = parse(report.page).text
    assert report.figures == []
    for heading in ("Recognition", "Training", "Privacy", "Images", "How to repeat it", "Configuration"):
        assert heading not in text
    assert "Environment" in text


def side_by_side(tmp_path: Path, folders: tuple[str, ...], **changes: object) -> Report:
    runs = []
    for folder, separation in zip(folders, (0.5, 0.8), strict=True):
        row = results("last", separation, scores={"lfw": results("", separation).scores["lfw"]}, **changes)
        hard_pairs_figure(tmp_path / folder / "figures", "lfw", "last", row.scores["lfw"], Noise())
        (tmp_path / folder / "metrics.csv").write_text("epoch,step,train/loss\n0,0,3.5\n")
        runs.append(Run(tmp_path / folder, [ROWS[0], row], f"python train.py name={folder}", f"name: {folder}"))
    return write_report(tmp_path / "out" / "index.html", runs, tmp_path / "out" / "figures")


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    report = side_by_side(tmp_path, ("first", "second"))
    text = parse(report.page).text
    assert [row.label for row in report.results] == ["first", "second"]
    assert "2 runs side by side" in text
    assert "best: second" in text
    assert "75.00 ± 1.28" in text
    assert "untrained" not in text
    assert "Configuration of second" in text
    assert text.index("python train.py name=first") < text.index("python train.py name=second")
    names = [figure.path.relative_to(tmp_path).as_posix() for figure in report.figures]
    assert names[:2] == ["out/figures/accuracy.png", "out/figures/roc_lfw.png"]
    assert names[-2:] == ["first/figures/pairs_lfw_last.png", "second/figures/pairs_lfw_last.png"]
    assert not any("training" in name for name in names)
    assert report.figures[-1].title == "second, lfw: hardest pairs (last), accepted from similarity 0.40 on"
    assert report.figures[-1].alt.startswith("second. lfw: hardest pairs (last)")


def test_runs_in_folders_of_the_same_name(tmp_path: Path) -> None:
    report = side_by_side(tmp_path, ("a/eval", "b/eval"))
    assert [row.label for row in report.results] == [str(tmp_path / "a/eval"), str(tmp_path / "b/eval")]


def environment_rows(page: Path) -> list[str]:
    text = parse(page).text
    return [line for line in text[text.index("Environment") :].splitlines() if line.startswith("python")]


def test_environments_that_agree_are_told_once(tmp_path: Path) -> None:
    assert environment_rows(side_by_side(tmp_path, ("a", "b")).page) == ["python3.11.7"]


def test_environments_that_differ_stand_side_by_side(tmp_path: Path) -> None:
    rows: list[Results] = [
        results(name, 0.5, scores={}, environment={"python": python}) for name, python in (("a", "3.11"), ("b", "3.12"))
    ]
    runs = [Run(tmp_path / row.label, [row], "", "") for row in rows]
    page = write_report(tmp_path / "index.html", runs, tmp_path / "figures").page
    assert environment_rows(page) == ["python3.113.12"]
