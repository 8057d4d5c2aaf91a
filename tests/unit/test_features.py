"""What the last layer reads: of our own networks, of torchvision's and of anybody's."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from cohort.errors import ConfigError
from cohort.models.registry import build_student
from cohort.models.spec import WithExits, WithMembers

SHAPE = (3, 32, 32)


def student_of(network):
    return build_student(
        network, num_classes=5, image_shape=SHAPE, mean=(0.4,) * 3, std=(0.2,) * 3,
        seed=0, student=0,
    ).eval()  # fmt: skip


def pixels():
    return torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))


def last_linear(student):
    return [module for module in student.modules() if isinstance(module, nn.Linear)][-1]


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("resnet8", 64),
        ("wrn_10_1", 64),
        ("mobilenet", 1024),
        ("vgg11_bn", 512),
        ("inception_v1", 1024 * 16),
        ("mobilenet_v3_small", 1024),
        (WithExits("resnet8"), 64),
    ],
)
def test_the_last_layer_gives_the_logits_of_the_features(network, size):
    student, x = student_of(network), pixels()
    features = student.features(x)
    assert (features.shape, features.dtype) == ((2, size), torch.float32)
    assert not features.requires_grad
    layer = last_linear(student)
    torch.testing.assert_close(layer(features), student(x))


def with_dropout_and_log(num_classes):
    """Its output is no linear layer's, though its logits are."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), weight_norm(nn.Linear(6, num_classes)),
        nn.LogSoftmax(1),
    )  # fmt: skip


class CalledByName(nn.Module):
    """Its layer is given its input as a keyword, and it has a parameter of its own."""

    def __init__(self, num_classes):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.layer = nn.Linear(48, num_classes)

    def forward(self, x):
        return self.layer(input=self.scale * x[:, :, ::8, ::8].flatten(1))


@pytest.mark.parametrize(("network", "size"), [(with_dropout_and_log, 6), (CalledByName, 48)])
def test_of_anybodys_network(network, size):
    student, x = student_of(network), pixels()
    features = student.features(x)
    assert features.shape == (2, size)
    logits = last_linear(student)(features)
    torch.testing.assert_close(logits.softmax(1), student(x).softmax(1))


def test_training_is_left_as_it_was():
    student, other = student_of(with_dropout_and_log), student_of(with_dropout_and_log)
    student.train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert torch.equal(student.features(pixels()), other.features(pixels()))
    assert all(module.training for module in student.modules())
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert not any(module._forward_hooks for module in student.modules())


def squeeze(num_classes):
    """Ends in a convolution, after a linear layer with as many outputs as there are classes."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.classifier = nn.Linear(3, num_classes), nn.Conv2d(3, num_classes, 1)

        def forward(self, x):
            gate = self.gate(x.mean((2, 3)))
            return self.classifier(x).mean((2, 3)) * gate.sigmoid()

    return Net()


def tokens(num_classes):
    """The mean of the logits of 32 rows."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(32, num_classes)

        def forward(self, x):
            return self.layer(x.mean(1)).mean(1)

    return Net()


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("squeezenet1_0", "SqueezeNet gives its logits by a Conv2d, so it has no features"),
        (squeeze, "Net gives its logits by a Conv2d"),
        (tokens, "let an nn.Linear that reads \\[batch, features\\] end it"),
        (WithMembers("resnet8", 2), "a student with 2 members has no features of its own"),
    ],
)
def test_what_has_no_features_is_refused(network, words):
    student = student_of(network)
    with pytest.raises(ConfigError, match=words):
        student.features(pixels())
    assert not any(module._forward_hooks for module in student.modules())
