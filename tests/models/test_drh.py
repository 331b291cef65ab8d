from __future__ import annotations

import copy
import inspect
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support_hashing import face_data, fit, hashing_module, tiny_backbone
from torch import Tensor

from src.apps.overrides import CONF, check
from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.sampling import IdentityBalanced, Shuffled
from src.errors import UserError
from src.losses.drh import DRHLoss
from src.models.drh import DRH
from src.models.networks.mini import MiniFaceNet
from src.models.networks.rank_hash import RankHashLayer
from src.models.networks.weights import weights_fingerprint
from src.models.optimization import cosine

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*number of training batches", "ignore:.*in eval mode at the start"
)


def weights(model: DRH) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def matches(model: DRH) -> tuple[float, float]:
    """Mean share of equal symbols of two faces of a person, and of two people."""
    batch = face_data().example_batch(48)
    codes, label = model.eval()(batch["image"]), batch["label"]
    equal = (codes[:, None] == codes).double().mean(-1)
    same = label[:, None] == label
    return float(equal[same].mean()), float(equal[~same].mean())


class TestTraining:
    def test_codes_of_a_person_come_together_and_the_backbone_stays(self) -> None:
        model = hashing_module()
        frozen = weights_fingerprint(model.backbone.backbone)
        before = matches(model)
        first = fit(copy.deepcopy(model), face_data(), epochs=1).callback_metrics
        last = fit(model, face_data(), epochs=40).callback_metrics
        after = matches(model)
        assert last["train/loss"] < 0.9 * first["train/loss"]
        assert last["train/hardest_positive_degrees"] < 0.6 * first["train/hardest_positive_degrees"]
        assert last["train/hardest_negative_degrees"] > first["train/hardest_negative_degrees"]
        assert after[0] - after[1] > before[0] - before[1] + 0.2
        assert weights_fingerprint(model.backbone.backbone) == frozen

    def test_what_is_logged(self) -> None:
        model = hashing_module(layer={"hidden": "2"}, loss={"balance_grad": False})
        metrics = fit(model, face_data(), epochs=1).callback_metrics
        parts = {name: float(metrics[f"train/{name}_loss"]) for name in ("pred", "reg", "bin", "balance")}
        total = parts["pred"] + 0.5 * parts["reg"] + 0.001 * parts["bin"] + parts["balance"]
        assert float(metrics["train/loss"]) == pytest.approx(total)
        assert float(metrics["train/learnable_loss"]) == pytest.approx(total - parts["balance"])
        assert 0 <= metrics["train/symbol_entropy_min"] <= metrics["train/symbol_entropy_max"] <= 3
        assert 0 < metrics["train/trunc_not_argmax"] < 1

    def test_what_is_switched_off_is_not_logged(self) -> None:
        metrics = fit(hashing_module(loss={"bin_lut": "none"}), face_data(), epochs=1).callback_metrics
        assert "train/quanti_loss" in metrics
        assert not {"train/reg_loss", "train/bin_loss"} & set(metrics)

    def test_only_the_layer_learns_and_validation_leaves_the_backbone_alone(self) -> None:
        modes = []

        class Watch(L.Callback):
            def on_train_batch_start(self, trainer: L.Trainer, pl_module: DRH, *_: object) -> None:
                modes.append((pl_module.backbone.backbone.training, pl_module.layer.training))

        model = hashing_module(layer={"hidden": "T"})
        before = weights(model)
        fit(model, face_data(), epochs=2, callbacks=[Watch()])
        model.eval()
        model.train()
        fit(model, face_data(), epochs=1, callbacks=[Watch()])
        assert set(modes) == {(False, True)}
        changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
        assert all(name.startswith("backbone.layer.") for name in changed)
        assert {"backbone.layer.projection.weight", "backbone.layer.hidden.1.running_mean"} <= changed

    def test_optimizer_groups(self) -> None:
        model = hashing_module(backbone_lr_scale=0.1, freeze=False)
        model._make_optimizer = partial(model._make_optimizer, weight_decay=0.5)
        groups = fit(model, face_data(), epochs=1).optimizers[0].param_groups
        assert [group["lr"] for group in groups] == pytest.approx([0.01, 0.001])
        assert [group["weight_decay"] for group in groups] == [0.0, 0.5]
        assert [len(group["params"]) for group in groups] == [2, len(list(model.backbone.backbone.parameters()))]
        frozen = hashing_module()
        assert len(fit(frozen, face_data(), epochs=1).optimizers[0].param_groups) == 1

    def test_backbone_that_learns(self, tmp_path: Path) -> None:
        model = hashing_module(freeze=False, feature_cache=tmp_path, lr=1e-4)
        before = weights(model)
        fit(model, face_data(), epochs=1)
        assert list(tmp_path.iterdir()) == []  # its embeddings change
        changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
        assert {"backbone.backbone.fc.weight", "backbone.backbone.features.running_mean"} <= changed

    def test_schedule(self) -> None:
        trainer = fit(hashing_module(scheduler=cosine), face_data(), epochs=1)
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


class TestFeatureCache:
    @pytest.mark.parametrize("options", [{}, {"normalize_embedding": True, "layer": {"T": 20.0}}])
    def test_training_on_features_is_training_on_images(self, options: dict, tmp_path: Path) -> None:
        on_images = hashing_module(**options)
        on_features = hashing_module(**options, feature_cache=tmp_path)
        for model in (on_images, on_features):
            fit(model, face_data(flip=0.5, unreadable=3))
        for name, value in weights(on_images).items():
            torch.testing.assert_close(weights(on_features)[name], value, rtol=1e-3, atol=1e-4, msg=name)

    def test_embeddings_are_computed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fit(hashing_module(feature_cache=tmp_path), face_data(), epochs=1)
        assert len(list(tmp_path.glob("*.safetensors"))) == 1
        again = hashing_module(feature_cache=tmp_path, layer={"m": 8})
        monkeypatch.setattr(MiniFaceNet, "embed", None)
        fit(again, face_data(), epochs=1)

    def test_codes_of_known_embeddings_are_those_of_the_images(self) -> None:
        module = hashing_module(layer={"hidden": "T"}).train()
        image = torch.rand(9, 3, 16, 16) * 2 - 1
        embedded = module.reference()(image)
        known = module.from_reference(embedded)
        assert module.training
        assert torch.equal(known, module.eval()(image))

    @pytest.mark.parametrize("drops", [True, False])
    def test_active_dropout_needs_the_backbone_in_every_step(self, tmp_path: Path, drops: bool) -> None:
        backbone = tiny_backbone()
        if drops:
            backbone.dropout = torch.nn.Dropout()
        fit(hashing_module(backbone, feature_cache=tmp_path, frozen_dropout=True), face_data(), epochs=1)
        assert bool(list(tmp_path.iterdir())) != drops


class TestCheckpoints:
    def trained(self, tmp_path: Path, **options: object) -> tuple[DRH, Path]:
        model = hashing_module(**options)
        fit(model, face_data(), epochs=2).save_checkpoint(tmp_path / "last.ckpt")
        return model.eval(), tmp_path / "last.ckpt"

    def test_all_that_makes_codes_comes_back(self, tmp_path: Path) -> None:
        model, path = self.trained(tmp_path, layer={"hidden": "3", "permutation_seed": 2})
        again = hashing_module(tiny_backbone(9), layer={"hidden": "3"})
        again.load_trained(path)
        image = torch.rand(3, 3, 16, 16) * 2 - 1
        assert torch.equal(again.eval()(image), model(image))
        assert again.fingerprint() == model.fingerprint()
        assert again.backbone_file == str(path)

    def test_backbone_alone(self, tmp_path: Path) -> None:
        model, path = self.trained(tmp_path)
        again = hashing_module(tiny_backbone(9))
        before = again.layer.projection.weight.clone()
        again.load_backbone(path)
        assert weights_fingerprint(again.backbone.backbone) == weights_fingerprint(model.backbone.backbone)
        assert torch.equal(again.layer.projection.weight, before)
        assert again.backbone_file == str(path)

    @pytest.mark.parametrize("layer", [{"m": 64, "q": 4}, {"m": 16}, {"q": 4}])
    def test_codes_of_another_model_are_refused(self, layer: dict, tmp_path: Path) -> None:
        """32 symbols out of 8 and 64 out of 4 have weights of the same shape."""
        _, path = self.trained(tmp_path)
        other = hashing_module(layer=layer)
        message = (
            r"makes another model's codes: 32 symbols out of 8 from embeddings of 16; the config says .*layer\.m=32"
        )
        with pytest.raises(UserError, match=message):
            other.load_trained(path)
        with pytest.raises(UserError, match=message):
            fit(other, face_data(), epochs=4, ckpt_path=path, weights_only=True)

    def test_embeddings_of_another_length_are_refused(self, tmp_path: Path) -> None:
        _, path = self.trained(tmp_path)
        other = hashing_module(MiniFaceNet(embedding_size=24, size=16))
        with pytest.raises(UserError, match=r"embeddings of 16; the config says .* from embeddings of 24"):
            other.load_trained(path)

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        torch.save(tiny_backbone().state_dict(), tmp_path / "backbone.pth")
        with pytest.raises(UserError, match=r"backbone\.pth holds no rank hash but MiniFaceNet"):
            hashing_module().load_trained(tmp_path / "backbone.pth")
        _, path = self.trained(tmp_path)
        with pytest.raises(UserError, match="does not fit the network"):
            hashing_module(layer={"hidden": "2"}).load_trained(path)

    def test_resumed_run_ends_like_one_that_was_not(self, tmp_path: Path) -> None:
        _, path = self.trained(tmp_path)
        straight, resumed = hashing_module(), hashing_module()
        fit(straight, face_data(), epochs=4)
        fit(resumed, face_data(), epochs=4, ckpt_path=path, weights_only=True)
        for name, value in weights(straight).items():
            assert torch.equal(weights(resumed)[name], value), name

    def test_resuming_behind_another_backbone_is_refused(self, tmp_path: Path) -> None:
        _, path = self.trained(tmp_path)
        longer = tiny_backbone()
        longer.more = torch.nn.Linear(2, 2)
        with pytest.raises(UserError, match="trained behind another frozen backbone"):
            fit(hashing_module(longer), face_data(), epochs=4, ckpt_path=path, weights_only=True)
        with pytest.raises(UserError, match="trained behind another frozen backbone"):
            fit(hashing_module(tiny_backbone(9)), face_data(), epochs=4, ckpt_path=path, weights_only=True)


class TestEvaluation:
    def test_batches_of_a_benchmark_become_codes(self) -> None:
        model = hashing_module().eval()
        image = torch.rand(4, 3, 16, 16) * 2 - 1
        output = model.validation_step({"image": image, "index": torch.arange(4)}, 0)
        assert output["embedding"].dtype == torch.uint8
        assert torch.equal(output["flipped"], model(image.flip(-1)))
        assert model.alphabet == 8

    def test_reference_and_what_makes_codes_of_it(self) -> None:
        model = hashing_module().eval()
        image = torch.rand(4, 3, 16, 16) * 2 - 1
        reference, rank_hash = model.reference(), model.rank_hash()
        assert reference.alphabet is None
        assert rank_hash is not None
        with torch.no_grad():
            assert torch.equal(rank_hash.codes(reference(image)), model(image))

    def test_matchers_are_kept(self) -> None:
        matcher = object()
        assert hashing_module(matchers={"bits": matcher}).matchers == {"bits": matcher}
        assert hashing_module().matchers == {}


class TestCheckReady:
    """What could only fail is refused before anything is embedded."""

    def test_untrained_frozen_backbone(self, tmp_path: Path) -> None:
        model = hashing_module(allow_random_backbone=False)
        with pytest.raises(UserError, match=r"init_from=null: .* model\.allow_random_backbone=true"):
            model.check_ready(face_data())
        hashing_module(allow_random_backbone=False, freeze=False).check_ready(face_data())
        torch.save(tiny_backbone().state_dict(), tmp_path / "backbone.pth")
        model.load_backbone(tmp_path / "backbone.pth")
        model.check_ready(face_data())

    def test_batches_that_compare_nothing(self) -> None:
        model = hashing_module()
        with pytest.raises(UserError, match=r"expected identity_balanced, found Shuffled\. .*=identity_balanced"):
            model.check_ready(face_data(sampling=Shuffled))
        with pytest.raises(UserError, match=r"batch_size=4: with .*images_per_class=4 a batch holds one person only"):
            model.check_ready(face_data(batch_size=4))
        with pytest.raises(UserError, match="6 identities have two images or more, expected at least 8"):
            model.check_ready(face_data(batch_size=16, sampling=partial(IdentityBalanced, images_per_class=2)))

    def test_features_that_augmentation_would_change(self, tmp_path: Path) -> None:
        data = face_data()
        data.augmentation = FaceAugmentation(blur=0.5)
        with pytest.raises(UserError, match=r"can only be mirrored; set datamodule\.augmentation\.blur=0"):
            hashing_module(feature_cache=tmp_path).check_ready(data)
        hashing_module().check_ready(data)

    def test_loss_that_the_alphabet_does_not_allow(self) -> None:
        with pytest.raises(UserError, match=r"model\.layer\.q is 16"):
            hashing_module(layer={"q": 16}, loss={"bin_lut": "sigmoid", "bin_lut_parity": True})


class TestConfig:
    def composed(self, *overrides: str) -> DRH:
        config = check("train", ["experiment=arcface", "model=drh", "loss=drh", *overrides])
        return instantiate(config.model)

    def test_every_argument_has_a_key_with_its_default(self) -> None:
        model, loss = (OmegaConf.load(CONF / f"{group}/drh.yaml") for group in ("model", "loss"))
        for node, cls in ((model, DRH), (model.layer, RankHashLayer), (loss, DRHLoss)):
            parameters = inspect.signature(cls).parameters
            elsewhere = {
                "size",
                "backbone",
                "optimizer",
                "scheduler",
            }  # known at run time, or from a group of their own
            assert set(node) - {"_target_", "_partial_", "defaults"} == set(parameters) - elsewhere
            for name, parameter in parameters.items():
                if name in node and isinstance(parameter.default, bool | float | str):
                    assert node[name] == parameter.default, name

    def test_matchers_have_the_alphabet_of_the_layer(self) -> None:
        model = self.composed("model.layer.q=4", "model.layer.m=64")
        assert (model.alphabet, model.layer.m) == (4, 64)
        assert [(name, matcher.q) for name, matcher in model.matchers.items()] == [
            ("bits", 4), ("1bit", 4), ("protected", 4)
        ]  # fmt: skip

    def test_optimizer_of_the_specification(self) -> None:
        optimizer = check("train", ["experiment=arcface", "model=drh", "loss=drh"]).model.optimizer
        found = {name: optimizer[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}
        assert found == {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0}
