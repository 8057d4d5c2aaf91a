"""The benchmark against public packages: its arithmetic, what they are given, and when they are missing."""

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from cohort.benchmark.against.config import AgainstConfig
from cohort.benchmark.against.measure import Measurements, build, rivals
from cohort.benchmark.against.packages import Batches, divergence
from cohort.benchmark.against.results import rows, table
from cohort.errors import ConfigError
from tests.support.command import run_here

SMALL = {"students": "resnet8", "image_size": 8, "classes": 3, "batch_size": 4}


def test_speeds_are_compared_round_by_round():
    # The machine is ten times slower in the second round, which no ratio may show.
    seconds = {"cohort": [2.0, 20.0, 2.0], "KD-Lib": [6.0, 60.0, 6.0]}
    measured = Measurements(seconds, threads=2, gpus=0, notice="")
    found = rows(AgainstConfig(batch_size=32, steps=5), measured)
    assert found["cohort"]["images_per_second"] == pytest.approx([44, 80, 80])
    assert found["cohort"]["speed_of_ours"] == pytest.approx([1, 1, 1])
    assert found["KD-Lib"]["speed_of_ours"] == pytest.approx([3, 3, 3])
    assert list(table(AgainstConfig(), measured).columns[0].cells) == ["cohort", "KD-Lib"]


def test_packages_train_in_fp32_and_beside_bf16_under_autocast_too():
    packages = ["pytorch-dml", "KD-Lib"]
    assert [rival.name for rival in rivals(AgainstConfig())] == packages
    assert [rival.name for rival in rivals(AgainstConfig(precision="bf16"))] == [
        name for package in packages for name in (package, f"{package}, autocast")
    ]


def test_divergence_by_hand():
    even, unlike = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert divergence(even, unlike).item() == pytest.approx(by_hand)


class Trainer:
    """What is used of pytorch-dml's, remembering what it was given."""

    def __init__(self, networks, config, device, optimizers):
        self.given = networks, config, device, optimizers
        self.seen = []

    def train_epoch(self, batches, epoch):
        self.seen += list(batches)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_package_gets_the_students_and_batches_that_ours_learn_from(channels_last, monkeypatch):
    trainers = []

    def trainer(*given):
        trainers.append(Trainer(*given))
        return trainers[-1]

    module = ModuleType("pydml")
    module.DMLTrainer, module.DMLConfig = trainer, SimpleNamespace
    module.__spec__ = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "pydml", module)
    config = AgainstConfig(k=3, channels_last=channels_last, **SMALL)
    take = build(config, "pytorch-dml", torch.device("cpu"))
    take(range(2, 4))
    (one,) = trainers
    networks, temperature, device, optimizers = one.given
    assert (temperature.temperature, device) == (1.0, "cpu")
    assert len(networks) == len(optimizers) == 3
    for network, optimizer in zip(networks, optimizers, strict=True):
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert trained == {id(p) for p in network.parameters()}
        kernel = network.network.stages[0][0].conv1.weight
        assert kernel.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert not torch.equal(*(n.network.classifier.weight for n in networks[:2]))
    assert [(tuple(images.shape), len(labels)) for images, labels in one.seen] == [
        ((4, 3, 8, 8), 4)
    ] * 2
    assert not torch.equal(one.seen[0][0], one.seen[1][0])


def test_batches_say_how_many_they_are():
    source = SimpleNamespace(batch=lambda step: step)
    batches = Batches(source, range(5, 8))
    assert (len(batches), list(batches)) == (3, [5, 6, 7])


def test_a_package_that_is_missing_is_refused_with_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pydml", None)
    code, _, err = run_here(monkeypatch, capsys, script="bench_against.py")
    assert code == 2
    assert err.startswith("error: pytorch-dml is not installed; `pip install --no-deps --target ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"k": 1}, "--k is 1; it must be 2 or greater"),
        ({"students": "resnet8,resnet20"}, "--students is 'resnet8,resnet20'; name one plain"),
        ({"batch_size": 2001}, "--batch-size is 2001; it must be at most 2000"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        AgainstConfig(**given)
