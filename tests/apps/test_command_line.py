from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.apps import overrides
from src.apps.command_line import expand_flags, refuse_flags
from src.apps.overrides import CONF, check
from src.errors import UserError

ROOT = CONF.parent


def run(*arguments: str, script: str = "train.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


def message(*overrides: str) -> str:
    with pytest.raises(UserError) as error:
        check("train", overrides)
    return str(error.value)


LIST = ["datamodule.source.root=here", "datamodule.source.list_file=here"]
REQUIRED = {
    "experiment=arcbifacegan": ["datamodule.source.root=here"],
    "datamodule=folder": ["datamodule.source.root=here"],
    "datamodule=shards": ["datamodule.source.root=here"],
    "datamodule=record": ["datamodule.source.path=here"],
    "datamodule=photographs": ["+photographs=here"],
    "datamodule=vis_nir": ["datamodule.source.root=here"],
    "datamodule=vis_nir_shards": ["datamodule.source.root=here"],
    "model/backbone=onnx": ["model.backbone.path=here"],
    "model/backbone=timm": ["model.backbone.name=resnet18"],
    "experiment=arcface_photographs": ["photographs=here"],
    "experiment=embeddings": ["embeddings=here"],
    "experiment=synthetic_recognition": ["people.root=here"],
    "experiment=password_transformer": LIST,
    "experiment=password_transformer_quarter": LIST,
    "experiment=password_transformer_robust": LIST,
    "datamodule=image_list": LIST,
    "benchmark=synthetic_identities": [
        "benchmark.synthetic_identities.root=here",
        "benchmark.synthetic_identities.known.root=here",
    ],
    "experiment=drh_photographs": ["photographs=here"],
    "experiment=eigenfaces_photographs": ["photographs=here"],
    "experiment=gender_angular/paper": ["datamodule.source.root=here"],
    "experiment=network": ["model.backbone.network._target_=torch.nn.Identity"],
    "experiment=onnx": ["model.backbone.path=here"],
}
MEMBERS = [
    f"{group}={path.stem}"
    for group in (
        "benchmark",
        "datamodule",
        "datamodule/sampling",
        "faces",
        "loss",
        "model",
        "model/backbone",
        "model/optimizer",
        "trainer",
        "logger",
    )
    for path in sorted((CONF / group).glob("*.yaml"))
    if (group, path.stem)
    not in [("model", name) for name in ("arcbifacegan", "eigenfaces", "network", "onnx", "password_transformer")]
]


EXPERIMENTS = sorted(
    path.relative_to(CONF / "experiment").with_suffix("").as_posix() for path in (CONF / "experiment").rglob("*.yaml")
)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("command", ["train", "eval"])
def test_every_experiment_composes(command: str, name: str) -> None:
    choice, path = f"experiment={name}", CONF / "experiment" / f"{name}.yaml"
    config = check(command, [choice, *REQUIRED.get(choice, [])])
    assert config.name.startswith(name.partition("/")[0])
    assert path.read_text().splitlines()[1].startswith("# "), "the first comment is the line that --help shows"


@pytest.mark.parametrize("choice", MEMBERS)
def test_every_member_composes(choice: str) -> None:
    assert check("train", ["experiment=arcface", choice, *REQUIRED.get(choice, [])])


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "source").glob("*.yaml")))
def test_every_source_trains(name: str) -> None:
    values = [f"datamodule.source.{key}=here" for key in _missing_keys(name)]
    overrides = ["experiment=arcface", "datamodule=folder", f"source@datamodule.source={name}", *values]
    assert check("train", overrides).datamodule.source._target_.startswith("src.datamodules.sources.")


def _missing_keys(source: str) -> set[str]:
    config = OmegaConf.load(CONF / "source" / f"{source}.yaml")
    bases = [base for base in config.get("defaults", []) if base != "_self_"]
    return OmegaConf.missing_keys(config).union(*map(_missing_keys, bases))


def test_codes_of_genders_can_be_typed() -> None:
    typed = ("benchmark.gender_lfw.gender_codes={0:1,1:0}", "datamodule.source.gender_codes.0=0")
    config = check("eval", ["experiment=gender_angular/paper", "datamodule.source.root=null", *typed])
    assert config.benchmark.gender_lfw.gender_codes == {0: 1, 1: 0}
    assert config.datamodule.source.gender_codes == {"0": 0, "1": 0}


def test_unknown_experiment_names_the_nearest() -> None:
    assert "experiment=arcfce does not exist. Did you mean arcface or arcbifacegan or " in message("experiment=arcfce")


def test_unknown_group_member_lists_the_members() -> None:
    text = message("experiment=arcface", "model/backbone=iresnet5O")
    assert "Did you mean iresnet50" in text
    assert "mobilefacenet" in text


def test_unknown_member_in_a_list() -> None:
    assert "Did you mean agedb_30 or" in message("experiment=arcface", "benchmark=[lfw,agedb]")


def test_unknown_key_names_the_nearest() -> None:
    text = message("experiment=arcface", "trainer.max_epoch=3")
    assert "Did you mean trainer.max_epochs" in text
    assert "+trainer.max_epoch=3" in text


def test_unknown_group() -> None:
    assert "Did you mean model" in message("experiment=arcface", "modell=x")


def test_missing_value_is_named() -> None:
    assert "datamodule.source.root=..." in message("experiment=arcface", "datamodule=folder")


def test_sweep_values_are_checked() -> None:
    assert check("train", ["experiment=arcface", "loss=arcface,cosface", "seed=1,2"])
    assert "loss=cosfce" in message("experiment=arcface", "loss=arcface,cosfce")


@pytest.mark.parametrize(
    ("sweep", "first"),
    [
        ("loss=glob(*face)", "src.losses.adaptive_heads.AdaFaceHead"),
        ("loss=arcface,cosface", "src.losses.heads.ArcFaceHead"),
    ],
)
def test_first_of_a_sweep_over_a_group_is_composed(sweep: str, first: str) -> None:
    assert check("train", ["experiment=arcface", sweep]).loss._target_ == first


def test_sweeps_over_ranges_and_intervals() -> None:
    assert check("train", ["experiment=arcface", "seed=range(3,9)"]).seed == 3
    assert check("train", ["experiment=arcface", "loss.margin=interval(0.25,1)"]).loss.margin == 0.25
    assert "nothing to sweep over" in message("experiment=arcface", "loss=glob(x*)")


def test_every_value_of_a_sweep_is_of_the_right_kind() -> None:
    assert "loss.margin: expected a number, such as the default 0.3; found 'abc'" in message(
        "experiment=arcface", "loss.margin=0.1,abc"
    )


def test_a_sweep_over_experiments_needs_a_name() -> None:
    sweep = ["experiment=arcface,eigenfaces", "hydra.mode=MULTIRUN"]
    assert "needs a name for its folder, e.g. name=compare" in message(*sweep)
    assert check("train", [*sweep, "name=compare"]).name == "compare"
    assert "Did you mean eigenfaces or" in message(
        "experiment=arcface,eigenface", "hydra.mode=MULTIRUN", "name=compare"
    )


GRID = """\
# @package _global_
# A grid.
defaults:
  - /experiment/arcface
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      {params}
"""


def grid(folder: Path, params: str) -> list[str]:
    (folder / "experiment" / "grids").mkdir(parents=True)
    (folder / "experiment" / "grids" / "grid.yaml").write_text(GRID.format(params=params))
    return [f"hydra.searchpath=[file://{folder}]", "experiment=grids/grid"]


def test_a_config_may_be_a_multirun(tmp_path: Path) -> None:
    overrides = grid(tmp_path, "loss.margin: 0.25,0.5")
    config = check("train", overrides)
    assert (config.hydra.mode.name, config.loss.margin) == ("MULTIRUN", 0.25)
    assert check("train", [*overrides, "loss.margin=0.1,0.2"]).loss.margin == 0.1
    assert "Did you mean grids/grid" in message(overrides[0], "experiment=grids/gird")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("loss.margim: 0.1,0.2", "loss.margim does not exist. Did you mean loss.margin or"),
        ("loss.margin: 0.1,abc", "loss.margin: expected a number"),
        ("loss: arcface,cosfce", "loss=cosfce does not exist. Did you mean cosface"),
    ],
)
def test_mistakes_in_what_a_config_sweeps_over(params: str, expected: str, tmp_path: Path) -> None:
    assert expected in message(*grid(tmp_path, params))


def test_a_launcher_is_of_multiruns() -> None:
    typed = ["experiment=arcface", "hydra/launcher=slurm"]
    assert "hydra/launcher=slurm: launchers start the jobs of a multirun. Add -m" in message(*typed)
    assert check("train", [*typed, "hydra.mode=MULTIRUN", "trainer.devices=2"]).hydra.launcher.timeout_min == 1440


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overrides, "_EXTRAS", {"hydra/launcher/nowhere": ("hydra-nowhere-launcher", "nowhere")})
    expected = r"hydra/launcher/nowhere comes with the package hydra-nowhere-launcher.*\n.*privface\[nowhere\]"
    with pytest.raises(UserError, match=expected):
        check("train", ["experiment=arcface", "hydra/launcher=nowhere", "hydra.mode=MULTIRUN"])


def test_override_that_cannot_be_read() -> None:
    assert "'seed=[1'" in message("experiment=arcface", "seed=[1")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.max_epochs=abc", "trainer.max_epochs: expected a whole number, such as the default 12; found 'abc'"),
        ("model.optimizer.lr=fast", "model.optimizer.lr: expected a number, such as the default 0.1; found 'fast'"),
        ("seed=1.5", "seed: expected a whole number"),
        ("evaluate_untrained=3x", "evaluate_untrained: expected true or false"),
        ("trainer.max_epochs=true", "trainer.max_epochs: expected a whole number"),
    ],
)
def test_a_value_of_another_kind(override: str, expected: str) -> None:
    assert expected in message("experiment=arcface", override)


def test_numbers_of_any_spelling_null_and_interpolations_pass() -> None:
    overrides = ["trainer.devices=auto", "model.optimizer.lr=1", "loss.margin=3e-1", "trainer.max_epochs=null"]
    assert check("train", ["experiment=arcface", *overrides, "datamodule.size='${faces.size}'"])


def test_own_config_folder(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "ours.yaml").write_text("# @package _global_\nname: ours\nseed: 5\n")
    config = check("train", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=ours"])
    assert (config.name, config.seed) == ("ours", 5)


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_help_lists_experiments_and_overrides(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    result = run("--help", script=script)
    assert result.returncode == 0
    assert not re.search(r"\| +torch$", result.stderr, re.MULTILINE)  # whose import takes seconds
    listed = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    for name in EXPERIMENTS:
        assert name in listed
    assert "The overrides a person needs most" in result.stdout
    assert "--[no-]evaluate-untrained" in result.stdout


def test_typo_ends_the_process_with_one_message() -> None:
    result = run("experiment=arcfce")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: experiment=arcfce does not exist. Did you mean arcface or arcbifacegan or ")
    assert "Traceback" not in result.stderr


def test_flags_are_the_switches_of_a_config() -> None:
    arguments = ["experiment=arcface", "--no-evaluate-untrained", "--cfg", "job", "-m", "--config-dir=x"]
    expected = ["experiment=arcface", "evaluate_untrained=false", "--cfg", "job", "-m", "--config-dir=x"]
    assert expand_flags(arguments, CONF / "train.yaml") == expected
    assert expand_flags(["--evaluate-untrained"], CONF / "train.yaml") == ["evaluate_untrained=true"]
    assert expand_flags(["--seed"], CONF / "train.yaml") == ["--seed"]


@pytest.mark.parametrize("flag", ["--seed", "--seed=3", "-x", "--no-seed"])
def test_what_is_no_switch_is_no_flag(flag: str) -> None:
    with pytest.raises(UserError, match=rf"{flag}: there is no such flag.*--\[no-\]evaluate-untrained.*KEY=VALUE"):
        refuse_flags(["seed=1", flag], CONF / "train.yaml")


def test_flags_and_those_of_hydra_in_one_command() -> None:
    result = run("experiment=arcface", "--no-evaluate-untrained", "--cfg", "job")
    assert result.returncode == 0, result.stderr
    assert "evaluate_untrained: false" in result.stdout
    result = run("experiment=arcface", "--no-cache", "--cfg", "job", script="eval.py")
    assert "cache: false" in result.stdout


def test_a_wrong_flag_ends_the_process_with_one_message() -> None:
    result = run("experiment=arcface", "--no-evaluate")
    assert result.returncode == 1
    assert result.stderr.startswith("error: --no-evaluate: there is no such flag. Flags: --[no-]evaluate-untrained.")
