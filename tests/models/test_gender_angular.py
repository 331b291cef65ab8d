from __future__ import annotations

import copy
import io
import logging
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sampling import GenderBalanced
from src.errors import UserError
from src.losses.gender_angular import GenderAngularLoss
from src.losses.heads import NormalizedSoftmaxHead
from src.models.export import export_onnx
from src.models.gender_angular import GenderAngular
from src.models.networks.mini import MiniFaceNet
from src.models.networks.onnx_network import OnnxNetwork
from src.models.networks.privacy_layer import PrivacyLayer
from src.models.networks.weights import weights_fingerprint
from src.models.optimization import cosine
from tests.memory_source import MemorySource

PEOPLE, IMAGES = 6, 8

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*number of training batches", "ignore:.*in eval mode at the start"
)


def backbone(seed: int = 0) -> MiniFaceNet:
    torch.manual_seed(seed)
    network = MiniFaceNet(embedding_size=16, size=16)
    network(torch.randn(32, 3, 16, 16))  # batch statistics that are not those of the start
    return network.eval()


def module(network: MiniFaceNet | None = None, **options: object) -> GenderAngular:
    torch.manual_seed(1)
    arguments: dict[str, object] = {"feature_cache": None, "head_lr": 0.02} | options
    return GenderAngular(
        backbone() if network is None else network,
        layer=PrivacyLayer,
        loss=partial(GenderAngularLoss, head=partial(NormalizedSoftmaxHead, scale=16.0)),
        optimizer=partial(torch.optim.Adam, lr=0.01),
        **arguments,  # type: ignore[arg-type]
    )


def encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def data(flip: float = 0.0, people: int = PEOPLE, unreadable: int | None = None) -> FaceDataModule:
    generator = np.random.default_rng(0)
    people_pixels = generator.integers(0, 256, (people, 16, 16, 3))
    images: list[bytes | None] = []
    for person in range(people):
        for _ in range(IMAGES):
            noise = generator.normal(0, 20, (16, 16, 3))
            images.append(encode(np.clip(people_pixels[person] + noise, 0, 255).astype(np.uint8)))
    if unreadable is not None:
        images[unreadable] = None
    labels = np.repeat(np.arange(people), IMAGES)
    source = MemorySource({"image": images}, labels, attributes=(labels % 2).tolist(), resolution=16)
    return FaceDataModule(
        lambda: source,
        size=16,
        fields=("image", "label", "attribute"),
        batch_size=16,
        sampling=GenderBalanced,
        num_workers=0,
        max_bad_fraction=0.1,
        augmentation=FaceAugmentation(flip=flip),
    )


def fit(
    model: GenderAngular,
    datamodule: FaceDataModule,
    epochs: int = 4,
    callbacks: list[L.Callback] | None = None,
    **options: object,
) -> L.Trainer:
    trainer = L.Trainer(
        callbacks=callbacks,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        gradient_clip_val=5.0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
    )
    torch.manual_seed(2)  # of the class centres
    trainer.fit(model, datamodule=datamodule, **options)  # type: ignore[arg-type]
    return trainer


def weights(model: GenderAngular) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class TestTraining:
    def test_angles_fall_and_the_backbone_stays(self) -> None:
        model = module()
        frozen = weights_fingerprint(model.backbone.backbone)
        first = fit(copy.deepcopy(model), data(), epochs=1).callback_metrics
        last = fit(model, data(), epochs=60).callback_metrics
        assert last["train/centroid_angle_degrees"] < 0.5 * first["train/centroid_angle_degrees"]
        assert last["train/prototype_angle_degrees"] < 0.5 * first["train/prototype_angle_degrees"]
        assert last["train/target_cosine"] > first["train/target_cosine"]
        assert last["train/female"] + last["train/male"] == 16
        assert weights_fingerprint(model.backbone.backbone) == frozen

    def test_backbone_is_in_evaluation_mode_in_every_step(self) -> None:
        modes = []

        class Watched(GenderAngular):
            def training_step(self, batch: object, batch_idx: int) -> Tensor:
                modes.append((self.backbone.backbone.training, self.backbone.layer.training))
                return super().training_step(batch, batch_idx)  # type: ignore[arg-type]

        model = module()
        model.__class__ = Watched
        fit(model, data())
        model.eval()
        model.train()
        fit(model, data(), epochs=1)
        assert set(modes) == {(False, True)}

    def test_validation_in_training_leaves_the_backbone_as_it_is(self) -> None:
        """The reference puts it into training mode after its first evaluation: specification, section 7, row 5."""
        modes = []

        class Watch(L.Callback):
            def on_train_batch_start(self, trainer: L.Trainer, pl_module: GenderAngular, *_: object) -> None:
                modes.append((pl_module.backbone.backbone.training, pl_module.layer.training))

        class Validated(FaceDataModule):
            def val_dataloader(self) -> list[DataLoader]:  # type: ignore[override]
                return [DataLoader([{"image": torch.randn(3, 16, 16), "index": i} for i in range(4)], batch_size=2)]

        model, datamodule = module(), data()
        datamodule.__class__ = Validated
        buffers = [value.clone() for value in model.backbone.backbone.buffers()]
        fit(model, datamodule, epochs=3, callbacks=[Watch()])
        assert set(modes) == {(False, True)}
        for value, before in zip(model.backbone.backbone.buffers(), buffers, strict=True):
            assert torch.equal(value, before)

    def test_logged_parts_add_up_to_the_loss(self) -> None:
        metrics = fit(module(), data(), epochs=1).callback_metrics
        angles = [metrics[f"train/{name}_angle_degrees"].deg2rad() for name in ("centroid", "prototype")]
        torch.testing.assert_close(metrics["train/privacy_loss"], 20 * angles[0] + angles[1])
        torch.testing.assert_close(
            metrics["train/loss"], metrics["train/identity_loss"] + metrics["train/privacy_loss"]
        )

    def test_the_loss_is_that_of_the_specification(self) -> None:
        model = module()
        datamodule = data()
        fit(model, datamodule, epochs=1)
        batch = datamodule.example_batch()
        assert model.loss is not None
        output = model.loss(model(batch["image"]), batch["label"], batch["attribute"])
        total = output.identity + 20 * output.centroid_angle + output.prototype_angle
        torch.testing.assert_close(output.loss.detach(), total)

    def test_only_the_layer_is_clipped(self) -> None:
        model = module()
        fit(model, data(), epochs=1)
        assert model.loss is not None
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 10.0)
        model.configure_gradient_clipping(torch.optim.SGD(model.parameters(), 1.0), 5.0, "norm")
        norm = torch.cat([p.grad.flatten() for p in model.layer.parameters() if p.grad is not None]).norm()
        assert float(norm) == pytest.approx(5.0, rel=1e-4)
        assert model.loss.head.weight.grad is not None
        assert (model.loss.head.weight.grad == 10).all()

    def test_learning_rates_and_schedule(self) -> None:
        trainer = fit(module(), data(), epochs=1)
        assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.01, 0.02]
        trainer = fit(module(scheduler=cosine), data(), epochs=2)
        assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([0, 0], abs=1e-9)


class TestFeatureCache:
    def test_training_on_features_is_training_on_images(self, tmp_path: Path) -> None:
        on_images, on_features = module(), module(feature_cache=tmp_path)
        fit(on_images, data(unreadable=3))
        fit(on_features, data(unreadable=3))
        for name, value in weights(on_images).items():
            torch.testing.assert_close(weights(on_features)[name], value, rtol=1e-4, atol=1e-5, msg=name)

    def test_mirrored_alike(self, tmp_path: Path) -> None:
        on_images, on_features = module(), module(feature_cache=tmp_path)
        fit(on_images, data(flip=0.5))
        fit(on_features, data(flip=0.5))
        torch.testing.assert_close(
            on_features.layer.proj[0].weight, on_images.layer.proj[0].weight, rtol=1e-4, atol=1e-5
        )

    def test_embeddings_are_computed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fit(module(feature_cache=tmp_path), data(), epochs=1)
        assert len(list(tmp_path.glob("*.safetensors"))) == 1
        again = module(feature_cache=tmp_path)
        monkeypatch.setattr(MiniFaceNet, "embed", None)
        fit(again, data(), epochs=1)

    def test_another_backbone_has_other_embeddings(self, tmp_path: Path) -> None:
        fit(module(feature_cache=tmp_path), data(), epochs=1)
        fit(module(backbone(seed=5), feature_cache=tmp_path), data(), epochs=1)
        assert len(list(tmp_path.glob("*.safetensors"))) == 2


class TestCheckpoints:
    def trained(self, tmp_path: Path, **options: object) -> tuple[GenderAngular, Path]:
        torch.save(backbone().state_dict(), tmp_path / "backbone.pth")
        model = module(**options)
        model.load_backbone(tmp_path / "backbone.pth")
        trainer = fit(model, data(), epochs=2)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return model, tmp_path / "last.ckpt"

    def test_frozen_weights_are_named_and_not_kept(self, tmp_path: Path) -> None:
        model, path = self.trained(tmp_path)
        content = torch.load(path, weights_only=True)
        assert set(content["state_dict"]) == {
            *(f"backbone.layer.{name}" for name in model.layer.state_dict()),
            "loss.head.weight",
        }
        assert content["frozen_backbone"]["path"] == str(tmp_path / "backbone.pth")

    @pytest.mark.parametrize("save_backbone", [False, True])
    def test_trained_templates_come_back(self, tmp_path: Path, save_backbone: bool) -> None:
        model, path = self.trained(tmp_path, save_backbone=save_backbone)
        if save_backbone:
            (tmp_path / "backbone.pth").unlink()
        again = module(backbone(seed=9))
        again.load_trained(path)
        image = torch.randn(3, 3, 16, 16)
        torch.testing.assert_close(again.eval()(image), model.eval()(image))
        assert again.fingerprint() == model.fingerprint()

    def test_lost_backbone_is_taken_from_elsewhere_if_it_is_the_same(self, tmp_path: Path) -> None:
        model, path = self.trained(tmp_path)
        moved = (tmp_path / "backbone.pth").rename(tmp_path / "moved.pth")
        again = module(backbone(seed=9))
        again.load_trained(path, moved)
        assert again.fingerprint() == model.fingerprint()
        torch.save(backbone(seed=9).state_dict(), moved)
        with pytest.raises(UserError, match=r"neither that file nor init_from=.*moved\.pth holds it"):
            module(backbone(seed=9)).load_trained(path, moved)

    def test_file_of_the_reference(self, tmp_path: Path) -> None:
        model, _ = self.trained(tmp_path)
        torch.save(model.layer.state_dict(), tmp_path / "1030ftn_layers.pth")
        again = module(backbone(seed=9))
        again.load_trained(tmp_path / "1030ftn_layers.pth", tmp_path / "backbone.pth")
        assert again.fingerprint() == model.fingerprint()
        start = module(layer_weights=tmp_path / "1030ftn_layers.pth")
        torch.testing.assert_close(start.layer.state_dict(), model.layer.state_dict())

    def test_layer_of_another_length_is_refused(self, tmp_path: Path) -> None:
        torch.save(PrivacyLayer(8).state_dict(), tmp_path / "5ftn_layers.pth")
        with pytest.raises(UserError, match=r"does not fit model\.layer"):
            module().load_trained(tmp_path / "5ftn_layers.pth")

    def test_class_centres_of_the_reference(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        kernel = F.normalize(torch.randn(16, PEOPLE), dim=0)
        torch.save({"kernel": kernel}, tmp_path / "5header.pth")
        model = module(head_weights=tmp_path / "5header.pth", head_lr=0.0)
        fit(model, data(), epochs=1)
        assert model.loss is not None
        torch.testing.assert_close(model.loss.head.weight.detach(), kernel.T)
        with pytest.raises(
            UserError, match=r"5header\.pth: class centres of 6 identities .* has 4, .*allow_head_reinit"
        ):
            fit(module(head_weights=tmp_path / "5header.pth"), data(people=4))
        with caplog.at_level(logging.WARNING):
            fit(module(head_weights=tmp_path / "5header.pth", allow_head_reinit=True), data(people=4), epochs=1)
        assert "new ones are learnt" in caplog.text

    def test_resumed_run_ends_like_one_that_was_not(self, tmp_path: Path) -> None:
        _, path = self.trained(tmp_path)
        straight, resumed = module(), module()
        for model in (straight, resumed):
            model.load_backbone(tmp_path / "backbone.pth")
        fit(straight, data(), epochs=4)
        fit(resumed, data(), epochs=4, ckpt_path=path, weights_only=True)
        for name, value in weights(straight).items():
            assert torch.equal(weights(resumed)[name], value), name

    def test_resuming_behind_another_backbone_is_refused(self, tmp_path: Path) -> None:
        _, path = self.trained(tmp_path)
        with pytest.raises(UserError, match="the run was trained behind the backbone of"):
            fit(module(backbone(seed=9)), data(), epochs=4, ckpt_path=path, weights_only=True)


def test_reference_is_the_bare_backbone() -> None:
    model = module()
    image = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.reference()(image), model.backbone.backbone(image))


def test_image_and_mirror_image_have_the_same_template() -> None:
    model = module().eval()
    image = torch.randn(2, 3, 16, 16)

    def template(images: Tensor) -> Tensor:
        output = model.validation_step({"image": images, "index": torch.arange(2)}, 0)
        return output["embedding"] + output["flipped"]

    with torch.no_grad():
        torch.testing.assert_close(template(image), template(image.flip(-1)))


class TestCheckReady:
    """What could only fail is refused before anything is embedded."""

    def ready(self, **options: object) -> GenderAngular:
        return module(allow_random_backbone=True, **options)

    def test_untrained_backbone(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="init_from=null: the backbone is frozen"):
            module().check_ready(data())
        self.ready().check_ready(data())
        loaded = module()
        torch.save(backbone().state_dict(), tmp_path / "backbone.pth")
        loaded.load_backbone(tmp_path / "backbone.pth")
        loaded.check_ready(data())

    def test_people_of_one_gender(self) -> None:
        datamodule = data()
        datamodule.dataset.source.attributes[:] = 1
        with pytest.raises(UserError, match="0 identities marked female and 6 marked male"):
            self.ready().check_ready(datamodule)

    def test_a_person_of_two_genders(self) -> None:
        datamodule = data()
        datamodule.dataset.source.attributes[0] = 1
        with pytest.raises(UserError, match="images of both genders, the first is 'person 0'"):
            self.ready().check_ready(datamodule)

    def test_class_centres_of_other_identities(self, tmp_path: Path) -> None:
        torch.save({"kernel": torch.randn(16, 5)}, tmp_path / "5header.pth")
        with pytest.raises(UserError, match=r"5header\.pth: class centres of 5 identities"):
            self.ready(head_weights=tmp_path / "5header.pth").check_ready(data())

    def test_augmentation_that_embeddings_would_lack(self, tmp_path: Path) -> None:
        datamodule = data()
        datamodule.augmentation = FaceAugmentation(blur=0.5)
        self.ready().check_ready(datamodule)
        with pytest.raises(UserError, match=r"datamodule\.augmentation\.blur=0"):
            self.ready(feature_cache=tmp_path).check_ready(datamodule)


def test_onnx_backbone(tmp_path: Path) -> None:
    network = backbone()
    export_onnx(network, 16, tmp_path / "backbone.onnx")
    on_onnx, on_torch = module(OnnxNetwork(tmp_path / "backbone.onnx"), feature_cache=tmp_path), module(network)
    on_onnx.check_ready(data())
    for model in (on_onnx, on_torch):
        fit(model, data(), epochs=1)
    torch.testing.assert_close(on_onnx.layer.proj[0].weight, on_torch.layer.proj[0].weight, rtol=1e-3, atol=1e-4)
