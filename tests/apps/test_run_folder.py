from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from src.apps.run_folder import (
    check_eval_checkpoints,
    check_run_folder,
    checkpoint_labels,
    find_checkpoint,
    find_checkpoints,
)
from src.errors import UserError


def config(tmp_path: Path, ckpt_path: str | list[str] | None, init_from: str | None = None) -> DictConfig:
    return OmegaConf.create(
        {
            "name": "exp",
            "ckpt_path": ckpt_path,
            "init_from": init_from,
            "paths": {"runs": str(tmp_path)},
            "hydra": {"run": {"dir": str(tmp_path / "exp")}},
        }
    )


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    checkpoint = tmp_path / "exp" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    return checkpoint


def test_a_run_is_not_overwritten(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(UserError, match="ckpt_path=last, or start another with name=exp-2"):
        check_run_folder(config(tmp_path, None))


def test_a_run_is_continued_or_started(tmp_path: Path, trained: Path) -> None:
    check_run_folder(config(tmp_path, "last"))
    trained.unlink()
    check_run_folder(config(tmp_path, "last"))
    check_run_folder(config(tmp_path, None))


def test_a_missing_file_is_named_with_those_that_exist(tmp_path: Path, trained: Path) -> None:
    for call in (
        lambda: check_run_folder(config(tmp_path, "nowhere.ckpt")),
        lambda: check_run_folder(config(tmp_path, "last", init_from="nowhere.ckpt")),
        lambda: check_eval_checkpoints(config(tmp_path, "best")),
    ):
        with pytest.raises(UserError, match=r"there is no file .*\n.*last\.ckpt"):
            call()


def test_find_checkpoint(tmp_path: Path, trained: Path) -> None:
    assert find_checkpoint("last", tmp_path / "exp") == trained
    assert find_checkpoint(str(trained), tmp_path) == trained
    with pytest.raises(UserError, match="Train one first"):
        find_checkpoint("last", tmp_path / "other" / "exp")


def test_several_checkpoints_are_found(tmp_path: Path, trained: Path) -> None:
    other = tmp_path / "other.onnx"
    other.touch()
    assert find_checkpoints(None, tmp_path / "exp") == [None]
    assert find_checkpoints(["last", str(other)], tmp_path / "exp") == [trained, other]
    with pytest.raises(UserError, match="the list is empty"):
        find_checkpoints([], tmp_path / "exp")
    with pytest.raises(UserError, match=r"there is no file absent\.ckpt"):
        check_eval_checkpoints(config(tmp_path, ["last", "absent.ckpt"]))
    with pytest.raises(UserError, match="named twice"):
        check_eval_checkpoints(config(tmp_path, ["last", "last"]))


def test_labels_tell_checkpoints_apart() -> None:
    def labels(*paths: str) -> list[str]:
        return checkpoint_labels([Path(path) for path in paths])

    assert checkpoint_labels([None]) == ["untrained"]
    assert labels("runs/a/checkpoints/last.ckpt", "x/model.onnx") == ["last", "model"]
    assert labels("runs/a/checkpoints/last.ckpt", "runs/b/checkpoints/last.ckpt") == ["a/last", "b/last"]
    assert labels("runs/a/last.ckpt", "old/a/last.ckpt", "best.ckpt") == ["runs/a/last", "old/a/last", "best"]
