from pathlib import Path

import pytest
import torch
from pytorch_lightning.cli import LightningCLI

from ablations.nets import AlexNet
from ablations.study.studyfile import load_study
from ablations.study.yamlfile import merge

STUDIES = Path(__file__).parents[2] / "study_configs"
SHIPPED = ["quickstart", "relu", "lrn", "pooling", "dropout", "gpu-split", "depth"]


def test_the_printed_net():
    net = AlexNet()
    assert sum(p.numel() for p in net.parameters()) == 60_965_224
    with torch.no_grad():
        assert net.eval()(net.example_input_array).shape == (1, 1000)


def test_the_seed_is_read_at_construction():
    def weight(seed):
        torch.manual_seed(seed)
        torch.rand(seed)  # other draws do not matter
        net = AlexNet(num_classes=10, image_size=8, channels=1, width=0.0625)
        return net.network.conv1.weight

    assert torch.equal(weight(1), weight(1))
    assert not torch.equal(weight(1), weight(2))


def test_the_data_module_finds_the_colour_switch():
    arguments = {"num_classes": 10, "image_size": 32, "width": 0.0625}
    assert AlexNet(**arguments).pca_colour is True
    assert AlexNet(**arguments, pca_colour=False).pca_colour is False


@pytest.mark.parametrize("name", SHIPPED)
def test_every_arm_of_a_shipped_study_builds_another_net_or_recipe(name):
    study = load_study(STUDIES / f"{name}.yaml")
    built = set()
    for arm in study.arms:
        arguments = merge(dict(study.base_config), dict(arm.overrides))["model"]["init_args"]
        net = AlexNet(**arguments)
        assert net(net.example_input_array).shape == (1, 10)
        built.add((str(net), str(net.hparams)))
    assert len(built) == len(study.arms)
    assert not study.claims


def test_the_quickstart_has_seven_arms():
    study = load_study(STUDIES / "quickstart.yaml")
    assert (len(study.arms), len(study.seeds), study.margin) == (7, 6, 1.0)


def test_the_digits_base_trains(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    cli = LightningCLI(
        run=False,
        save_config_callback=None,
        args=["--config", str(STUDIES / "bases" / "digits.yaml"), "--trainer.max_epochs=5"],
        parser_kwargs={"allow_abbrev": False},
    )
    cli.trainer.fit(cli.model, cli.datamodule)
    error = cli.trainer.test(cli.model, cli.datamodule, verbose=False)[0]["test/top1_error"]
    assert error < 50  # 90 by chance
