from __future__ import annotations

from pathlib import Path

from PIL import Image

from src.eval.figures.training import training_figures

METRICS_CSV = """epoch,step,train/loss_step,train/loss_epoch,lr-SGD,val/lfw/accuracy,val/lfw/auc
0,0,4.0,,0.1,,
0,10,2.5,,0.05,,
0,10,,3.2,,0.75,0.8
"""


def test_training_curves(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS_CSV)
    accuracy, loss, rate = training_figures(tmp_path, path)
    assert accuracy.alt == "benchmark accuracy over steps: lfw from 0.75 to 0.75."
    assert loss.alt == "loss over steps: training from 4 to 2.5."
    assert rate.alt == "learning rate over steps: SGD from 0.1 to 0.05."
    with Image.open(loss.path) as image:
        assert image.size == (720, 510)


def test_no_training_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,val/lfw/auc\n0,0,0.5\n")
    assert training_figures(tmp_path, path) == []
