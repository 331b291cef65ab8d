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


GENERATOR_CSV = """step,Loss/D/loss,Loss/D/loss_NIR,Loss/G/loss,Metrics/fid@demo,Metrics/fid_NIR@demo,Progress/kimg
0,1.4,1.5,0.9,,,0.5
10,1.2,1.1,0.8,,,5.5
10,,,,40.0,60.0,5.5
20,,,,30.0,50.0,10.5
"""


def test_curves_of_a_generator(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(GENERATOR_CSV)
    fid, losses = training_figures(tmp_path, path)
    assert fid.alt == (
        "FID over thousand images: visible light (demo) from 40 to 30, near infrared (demo) from 60 to 50."
    )
    assert losses.alt == (
        "losses over thousand images: generator from 0.9 to 0.8, discriminator from 1.4 to 1.2, "
        "discriminator, near infrared from 1.5 to 1.1."
    )
    assert fid.path.name == "training_FID.png"


def test_steps_where_images_were_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,Metrics/edge_agreement,Progress/kimg\n0,0,,0.1\n0,5,0.2,\n0,9,0.3,\n")
    (figure,) = training_figures(tmp_path, path)
    assert figure.alt == "agreement of edges over steps: pairs from 0.2 to 0.3."


def test_no_training_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,val/lfw/auc\n0,0,0.5\n")
    assert training_figures(tmp_path, path) == []
