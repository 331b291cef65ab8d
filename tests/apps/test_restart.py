from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.apps.restart import continue_if_restarted


@pytest.mark.parametrize(
    ("restarts", "has_checkpoint", "expected"),
    [(None, True, None), ("0", True, None), ("1", False, None), ("2", True, "last")],
)
def test_a_job_goes_on_if_slurm_restarted_it_and_it_was_saved(
    restarts: str | None, has_checkpoint: bool, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if restarts is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    if has_checkpoint:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.ckpt").touch()
    config = OmegaConf.create({"ckpt_path": None})
    OmegaConf.set_struct(config, True)
    assert continue_if_restarted(config, tmp_path).ckpt_path == expected


def test_what_was_typed_holds_for_a_job_that_was_not_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    assert continue_if_restarted(OmegaConf.create({"ckpt_path": "a.ckpt"}), tmp_path).ckpt_path == "a.ckpt"
