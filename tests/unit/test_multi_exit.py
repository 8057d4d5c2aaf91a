"""Branches and classifiers of a network with exits, and such networks by name."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cohort.config_file import to_yaml
from cohort.errors import ConfigError
from cohort.imports import written_name
from cohort.models.early_exit import MultiExitStudent
from cohort.models.multi_exit import MultiExit, branch, multi_exit, stride
from cohort.models.normalised import Normalised
from cohort.models.registry import build_network, build_student, with_places
from cohort.models.spec import WithExits, parse_spec
from cohort.runtime.config import CohortConfig
from tests.support import exits
from tests.support.exits import Silent, Tiny

SHAPE = (3, 32, 32)
RESNET = "resnet8+exits=stages.0/stages.1"
TINY = "tests.support.exits:Tiny"


def build(spec=RESNET, image_shape=SHAPE, seed=0):
    torch.manual_seed(seed)
    return build_network(spec, num_classes=5, image_shape=image_shape)


def equal(a, b):
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def kernels(network):
    return [
        [m.kernel_size[0] for m in part.modules() if isinstance(m, nn.Conv2d)]
        for part in network.branches
    ]


def test_the_branch_is_that_of_the_paper():
    kinds = [type(module) for module in branch(16, 64, 4)]
    unit = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert kinds == [*unit * 3, nn.AdaptiveAvgPool2d, nn.Flatten]
    convolutions = [m for m in branch(16, 64, 4) if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(16, 16), (16, 16), (16, 64)]
    assert [(m.kernel_size, m.stride, m.padding) for m in convolutions] == [
        ((k, k), (k, k), (0, 0)) for k in (1, 4, 1)
    ]
    # 1x1: 16·16; 4x4: 16·16·16; 1x1: 16·64; batch norms: 2·(16 + 16 + 64)
    assert sum(p.numel() for p in branch(16, 64, 4).parameters()) == 256 + 4096 + 1024 + 192
    assert branch(16, 3, 2)[0].out_channels == 1
    spread = branch(8, 256, 8)[3].weight.std().item()
    assert spread == pytest.approx((2 / (64 * 64)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("image_shape", "expected"),
    [
        ((3, 32, 32), [4, 2]),  # maps of 32, 16 and 8 pixels
        ((1, 8, 8), [4, 2]),
        ((3, 7, 7), [3, 2]),  # 7, 4 and 2
        ((3, 4, 4), [2, 1]),  # 4, 2 and 1, which is no map to bring others to
        ((3, 4, 32), [4, 2]),
        ((3, 32, 4), [4, 2]),
    ],
)
def test_maps_are_brought_to_the_size_of_the_last(image_shape, expected):
    network = build(image_shape=image_shape)
    assert [part[1] for part in kernels(network)] == expected
    outputs = network.outputs(torch.rand(3, *image_shape))
    assert [tuple(x.shape) for x in outputs.features] == [(3, 64)] * 3
    assert [tuple(x.shape) for x in outputs.logits] == [(3, 5)] * 3


@given(*[st.integers(1, 300)] * 4)
def test_a_stride_fits_into_the_map_and_leaves_at_least_the_last(h, w, last_h, last_w):
    k = stride((h, w), (last_h, last_w))
    assert 1 <= k <= min(8, h, w)
    assert k == 1 or (h // k >= last_h and w // k >= last_w)


def test_strides_are_at_most_8():
    assert stride((64, 64), (2, 2)) == 8
    assert stride((16, 64), (2, 2)) == 8
    assert stride((64, 6), (2, 2)) == 3


@pytest.mark.parametrize("spec", [RESNET, f"{TINY}+exits"])
def test_the_deepest_exit_is_the_plain_network(spec):
    network = build(spec)
    plain = build(spec.partition("+")[0])  # drawn first, so the same for the same seed
    images = torch.rand(4, *SHAPE)
    network.eval(), plain.eval()
    assert torch.equal(network(images), plain(images))
    outputs = network.outputs(images)
    assert torch.equal(outputs.logits[-1], plain(images))
    seen = []
    plain.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    plain(images)
    assert torch.equal(outputs.features[-1], seen[0])
    for logits, features, classifier in zip(*outputs, network.classifiers, strict=True):
        assert torch.equal(logits, classifier(features))
        assert features.shape == (4, classifier.in_features)


def test_one_exit_is_that_of_all_and_runs_nothing_else():
    network = build().eval()
    images = torch.rand(2, *SHAPE)
    outputs = network.outputs(images)
    called = []
    for kind in ("sections", "branches", "classifiers"):
        for number, module in enumerate(getattr(network, kind), start=1):
            name = f"{kind[0]}{number}"
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    expected = [["s1", "b1", "c1"], ["s1", "s2", "b2", "c2"], ["s1", "s2", "s3", "c3"]]
    for exit in (1, 2, 3):
        called.clear()
        assert torch.equal(network.logits_at(images, exit), outputs.logits[exit - 1])
        assert called == expected[exit - 1]
    called.clear()
    network(images)
    assert called == expected[-1]
    called.clear()
    network.outputs(images)
    assert sorted(called) == ["b1", "b2", "c1", "c2", "c3", "s1", "s2", "s3"]


def test_all_exits_learn_together():
    network = build()
    before = copy.deepcopy(network.state_dict())
    sum(
        logits.square().mean() for logits in network.outputs(torch.rand(4, *SHAPE)).logits
    ).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    moved = [key for key in before if not torch.equal(before[key], network.state_dict()[key])]
    assert moved
    assert all("running" in key or "num_batches" in key for key in moved)


def test_it_depends_on_the_seed_alone():
    assert equal(build(seed=3), build(seed=3))
    a, b = build(seed=3), build(seed=4)
    assert not any(
        torch.equal(x, y)
        for part in ("branches", "classifiers")
        for x, y in zip(getattr(a, part).parameters(), getattr(b, part).parameters(), strict=True)
        if x.dim() > 1
    )


def test_building_leaves_modes_and_statistics():
    torch.manual_seed(0)
    plain = Tiny(5, SHAPE)
    before = copy.deepcopy(plain.state_dict())
    network = multi_exit(plain, plain.exits_after, SHAPE, "tiny")
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[key], value) for key, value in plain.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_copies():
    network = build(f"{TINY}+exits").eval()
    images = torch.rand(2, *SHAPE)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert equal(copied, network)
        for ours, theirs in zip(
            copied.outputs(images).logits, network.outputs(images).logits, strict=True
        ):
            assert torch.equal(ours, theirs)


def test_torchvisions_resnets_have_default_places():
    import torchvision

    spec = WithExits(lambda num_classes: torchvision.models.resnet18(num_classes=num_classes))
    network = build(spec)
    assert network.places == ("layer1", "layer2", "layer3")
    assert kernels(network) == [[1, 4, 1], [1, 2, 1], [1, 1, 1]]  # maps of 8, 4, 2 and then 1
    assert network.outputs(torch.rand(2, *SHAPE)).features[0].shape == (2, 512)


# By name


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("resnet20", "resnet20"),
        ("resnet20+exits", WithExits("resnet20")),
        ("a.b:c+exits=body.0/body.2", WithExits("a.b:c", ("body.0", "body.2"))),
    ],
)
def test_names_are_parsed_and_written(text, spec):
    assert parse_spec(text, "--students") == spec
    assert written_name(spec) == text
    assert parse_spec(spec, "--students") is spec


@pytest.mark.parametrize(
    "text",
    [
        "resnet20+",
        "resnet20+exit",
        "resnet20+exits=",
        "r+exits=a//b",
        "+exits=a",
        "+exits",
        "r+exits+exits",
    ],
)
def test_what_is_not_written_so_is_refused(text):
    assert sentence(text).startswith(f"--students is {text!r}; exits are written NAME+exits")


def sentence(spec):
    with pytest.raises(ConfigError) as caught:
        build(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_network_that_names_no_places():
    told = sentence("tests.support.exits:Silent+exits")
    assert told.startswith(
        "--students is 'tests.support.exits:Silent+exits', a network that does not"
    )
    assert "among body, body.0, body.1" in told
    assert "Silent" in sentence(WithExits(Silent))


def test_other_errors_name_the_flag():
    assert sentence("resnet8+exits=stages.7").startswith(
        "--students puts exits after stages.7 in resnet8, but it has no module 'stages.7'; did you"
    )
    assert sentence("resnet21+exits=a").startswith("--students is 'resnet21'")


def test_default_places_are_written_down_resolved():
    def resolved(spec):
        return with_places(spec, num_classes=5, image_shape=SHAPE)

    assert resolved(f"{TINY}+exits") == WithExits(TINY, ("body.0", "body.1"))
    assert written_name(resolved(WithExits(Tiny))) == f"{TINY}+exits=body.0/body.1"
    assert resolved("resnet8") == "resnet8"
    assert resolved(RESNET) == WithExits("resnet8", ("stages.0", "stages.1"))
    assert resolved(Tiny) is Tiny
    state = torch.get_rng_state()
    resolved(f"{TINY}+exits")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_student_has_exits_if_its_spec_has():
    arguments = {"num_classes": 5, "image_shape": SHAPE, "mean": (0.5,) * 3, "std": (0.2,) * 3}
    student = build_student(WithExits(Tiny, ("body.1",)), seed=0, student=0, **arguments)
    assert isinstance(student, MultiExitStudent)
    assert isinstance(student.network, MultiExit)
    assert student.network.num_exits == 2
    assert type(build_student(Tiny, seed=0, student=0, **arguments)) is Normalised
    again = build_student(WithExits(Tiny, ("body.1",)), seed=0, student=0, **arguments)
    assert equal(student, again)


def test_a_config_writes_networks_with_exits():
    config = CohortConfig(k=2, students=(WithExits(Tiny, ("body.1",)), "resnet8+exits=stages.0"))
    assert f"- {TINY}+exits=body.1\n- resnet8+exits=stages.0" in to_yaml(config)
    assert f"students: {TINY}+exits\n" in to_yaml(CohortConfig(students=WithExits(exits.Tiny)))
