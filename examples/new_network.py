"""A network that says where its exits go, as its own teacher, and with members that share weights.

python examples/new_network.py
"""

from torch import Tensor, nn

from cohort import SelfDistillConfig, WithMembers, self_distill
from cohort.models.registry import build_network


def section(in_channels: int, out_channels: int) -> nn.Sequential:
    """A convolution that halves the map."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class MyNetwork(nn.Module):
    """Three sections and a classifier: pixels [B, C, H, W] to logits [B, num_classes]."""

    exits_after = ("body.0", "body.1")  # modules that all later ones depend on alone

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels = image_shape[0]
        self.body = nn.Sequential(section(channels, 16), section(16, 32), section(32, 32))
        self.classifier = nn.Linear(32, num_classes)  # the last layer must be a linear one

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of the deepest exit."""
        logits_BC: Tensor = self.classifier(self.body(x_BCHW).mean(dim=(2, 3)))
        return logits_BC


if __name__ == "__main__":
    result = self_distill(SelfDistillConfig(model=MyNetwork, epochs=2, workers=0, threads=1))
    for exit in result.summary["students"][0]["exits"]:
        print("exit", exit["exit"], "after", exit["place"], exit["test_accuracy"])
    for network in (MyNetwork, WithMembers(MyNetwork, 4)):  # one network, and four that share it
        built = build_network(network, num_classes=10, image_shape=(1, 8, 8))
        print(type(built).__name__, sum(weights.numel() for weights in built.parameters()))
