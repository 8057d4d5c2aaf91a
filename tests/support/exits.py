"""Small networks to be cut, each with its own way of calling its modules, and a student of one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cohort.models.early_exit import MultiExitStudent
from cohort.models.multi_exit import multi_exit

IMAGE_SHAPE = (1, 8, 8)
CLASSES = 5


def conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class Tiny(nn.Module):
    """Maps of 4, 6 and 8 channels, halved twice; says itself where its exits go."""

    exits_after: tuple[str, ...] | None = ("body.0", "body.1")

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(image_shape[0], 4), conv(4, 6, 2), conv(6, 8, 2))
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def head(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(F.relu(maps - 0.1).mean((2, 3))))
        return logits


def tiny_student(seed: int = 0) -> MultiExitStudent:
    """Three exits after Tiny's sections, in evaluation mode.

    Its running statistics have moved, and every exit is sure of some examples and not of others.
    """
    places = Tiny.exits_after or ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = multi_exit(Tiny(CLASSES, IMAGE_SHAPE), places, IMAGE_SHAPE, Tiny)
        student = MultiExitStudent(network, (0.25,), (0.5,))
        images = torch.rand(32, *IMAGE_SHAPE)
        student.outputs(images)
        student.eval()
        with torch.no_grad():
            for logits, classifier in zip(
                student.outputs(images).logits, network.classifiers, strict=True
            ):
                classifier.bias.sub_(logits.mean(0))
                for parameter in classifier.parameters():
                    parameter.div_(logits.std(0).mean())
    return student


class Silent(Tiny):
    exits_after = None


class Root(Tiny):
    """Parameters and buffers of its own, and another default argument."""

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(num_classes, image_shape)
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("shift", torch.tensor(0.25))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        gain = self.gain
        x = self.body[1](self.body[0](x * gain + self.shift))
        if mask is not None:
            x = x * mask
        return self.head(self.body[2](x) * gain)


class Around(Tiny):
    """The input is read again at the end."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x) + x.mean())


class Size(Tiny):
    """The batch's size is read at the start and used at the end."""

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[0]
        logits: Tensor = self.classifier(self.body(x).mean((2, 3)).view(size, -1))
        return logits


class FunctionalDropout(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        features = F.dropout(self.body(x).mean((2, 3)), 0.5, training=self.training)
        logits: Tensor = self.classifier(features)
        return logits


class Branching(Tiny):
    """What it does depends on the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x if x.sum() > 0 else -x))


class Softmax(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).log_softmax(1)


class ReadsMap(Tiny):
    """Its classifier reads a map's channels."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.body(x).permute(0, 2, 3, 1))
        return logits.mean((1, 2))


class Twice(Tiny):
    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(num_classes, image_shape)
        self.same = conv(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.same(self.same(self.body[0](x)))
        return self.head(self.body[2](self.body[1](maps)))


class Unused(Tiny):
    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(num_classes, image_shape)
        self.spare = conv(4, 4)


class Overwriting(Tiny):
    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(num_classes, image_shape)
        self.body.insert(1, nn.ReLU(inplace=True))


class OpaqueHead(Tiny):
    """Its classifier stands in a module of its own, its blocks branch on data where none may look."""

    class Block(nn.Module):
        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.block = block

        def forward(self, x: Tensor) -> Tensor:
            maps: Tensor = self.block(x if x.sum() > 0 else -x)
            return maps

    class Head(nn.Module):
        def __init__(self, classifier: nn.Linear) -> None:
            super().__init__()
            self.fc = classifier

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(x.mean((2, 3)))
            return logits

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(num_classes, image_shape)
        self.classifier: nn.Module = self.Head(self.classifier)
        self.body = nn.Sequential(*(self.Block(block) for block in self.body))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.body(x))
        return logits
