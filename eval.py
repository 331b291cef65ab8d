"""Evaluate a checkpoint on the benchmarks of an experiment.

    python eval.py experiment=arcface ckpt_path=best

The overrides a person needs most:
    ckpt_path=best                   best or last of the run, a file (.ckpt, .pth, .safetensors, .onnx), or nothing:
                                     an untrained network; ckpt_path=[a,b] gives one table with a row each
    benchmark=[lfw,agedb_30,cfp_fp]  what to run
    benchmark.lfw.root=DIR           where pairs.txt and the photographs are
    --no-cache                       embed all images anew

Writes results.json, figures and report/index.html to runs/NAME/eval-DATE.
"""

from __future__ import annotations

from omegaconf import DictConfig

from src.apps.command_line import launch
from src.apps.run_folder import check_eval_checkpoints


def evaluate(config: DictConfig) -> None:
    """Embed the images of every benchmark and report the metrics."""
    from src.apps.evaluation import evaluate

    evaluate(config)


if __name__ == "__main__":
    launch("eval", evaluate, __doc__ or "", before=check_eval_checkpoints)
