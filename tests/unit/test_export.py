"""One exit alone, in every format, gives what the student gives; and what is refused."""

import dataclasses
import json
import shutil
import sys
from functools import partial

import onnxruntime
import pytest
import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.learning import export, student_files
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.models.early_exit import MultiExitStudent
from cohort.models.member_layers import member_biases
from cohort.models.normalised import Normalised
from cohort.models.registry import build_student
from cohort.run.finished import student_folder
from tests.support.exits import Tiny

SHAPE, MEAN, STD = (1, 8, 8), (0.25,), (0.5,)
export_exit = partial(export.export_exit, trust_code=True)
load_student = partial(student_files.load_student, trust_code=True)
TINY = "tests.support.exits:Tiny+exits=body.0/body.1"
MEMBERS = "tests.support.exits:Tiny+members=2"
FORMATS = ["safetensors", "torch_export", "onnx"]


def card(network):
    return ModelCard(
        network=network, dataset="digits", classes=("0", "1", "2"), image_shape=SHAPE,
        mean=MEAN, std=STD,
    )  # fmt: skip


def trained(spec):
    student = build_student(
        spec, num_classes=3, image_shape=SHAPE, mean=MEAN, std=STD, seed=0, student=0
    )
    pixels = torch.rand(16, *SHAPE)
    student.outputs(pixels) if isinstance(student, MultiExitStudent) else student(pixels)
    return student.eval()


def save(folder, student, written):
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_bytes(weights_bytes(student))
    (folder / CARD_FILE).write_text(written.to_json())
    return folder


@pytest.fixture
def student():
    return trained(TINY)


@pytest.fixture
def folder(tmp_path, student):
    return save(tmp_path / "run" / "students" / "0", student, card(TINY))


def read(file, format):
    """The exported network as a function of a batch of pixels."""
    if format == "safetensors":
        return load_student(file.parent)
    if format == "torch_export":
        return torch.export.load(file).module()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])


def check_same(exported, student, format, *exit):
    for count in (1, 2, 5):  # the batch is free
        pixels = torch.rand(count, *SHAPE)
        expected = student(pixels, *exit)
        if format == "safetensors":
            assert torch.equal(exported(pixels), expected)
        torch.testing.assert_close(exported(pixels), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("format", "exit"),
    [
        ("safetensors", 1),
        ("safetensors", 3),
        ("torch_export", 1),
        pytest.param("onnx", 1, marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_one_exit_alone_gives_the_same(folder, student, tmp_path, format, exit):
    file = export_exit(folder, exit, tmp_path / "new" / "out", format)
    assert file.parent == tmp_path / "new" / "out"
    names = {"safetensors": [CARD_FILE, WEIGHTS_FILE]}.get(format, [file.name])
    assert sorted(path.name for path in file.parent.iterdir()) == names
    check_same(read(file, format), student, format, exit)
    whole = (folder / WEIGHTS_FILE).stat().st_size
    assert format != "safetensors" or file.stat().st_size < whole


@pytest.mark.parametrize("format", FORMATS)
@torch.no_grad()
def test_a_plain_student_of_a_named_network(tmp_path, format):
    student = trained("resnet8")
    folder = save(tmp_path / "0", student, card("resnet8"))
    check_same(read(export_exit(folder, None, tmp_path / "out", format), format), student, format)
    with pytest.raises(ConfigError, match=r"--exit is 1, but the student in \S+ has no exits"):
        export_exit(folder, 1, tmp_path / "out2", format)


@pytest.mark.parametrize("format", FORMATS)
@torch.no_grad()
def test_a_batch_ensemble_answers_with_its_members_mean(tmp_path, format):
    student = trained(MEMBERS)
    for bias in member_biases(student):
        nn.init.normal_(bias)
    folder = save(tmp_path / "0", student, card(MEMBERS))
    check_same(read(export_exit(folder, None, tmp_path / "out", format), format), student, format)


@torch.no_grad()
def test_the_deepest_exit_by_default_and_an_exported_student_again(folder, student, tmp_path):
    deepest = export_exit(folder, None, tmp_path / "a", "safetensors").parent
    assert json.loads((deepest / CARD_FILE).read_text())["exit"] == 3
    again = export_exit(deepest, None, tmp_path / "b", "safetensors").parent
    assert type(load_student(again)) is Normalised
    check_same(load_student(again), student, "safetensors")
    with pytest.raises(ConfigError, match="has no exits"):
        export_exit(deepest, 3, tmp_path / "c", "safetensors")


def refused(said, *arguments):
    with pytest.raises(ConfigError, match=said) as caught:
        export_exit(*arguments)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_write_nothing(folder, tmp_path):
    out = tmp_path / "out"
    refused("^--exit is 4; the network has exits 1 to 3$", folder, 4, out, "onnx")
    refused("'tf'; it must be safetensors, torch_export or onnx$", folder, 1, out, "tf")
    refused("model.json is missing", tmp_path, 1, out, "safetensors")
    assert not out.exists()


def test_nothing_is_overwritten(folder, tmp_path):
    refused(r"^--output \S+ already holds something", folder, 1, folder, "safetensors")
    file = tmp_path / "file"
    file.write_text("mine")
    refused(r"^--output \S+ already holds something", folder, 1, file, "safetensors")
    refused(r"^--output \S+ cannot be written: Not a dir", folder, 1, file / "x", "safetensors")
    assert file.read_text() == "mine"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert export_exit(folder, 1, empty, "safetensors").is_file()


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_onnx_is_an_extra(folder, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    refused(r"needs the extra: pip install 'cohort\[export\]'$", folder, 1, tmp_path / "o", "onnx")
    assert not (tmp_path / "o").exists()


class Branching(Tiny):
    """torch.export cannot follow it."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


@pytest.mark.parametrize("format", ["torch_export", "onnx"])
def test_what_torch_cannot_export(tmp_path, format):
    name = f"{__name__}:Branching"
    folder = save(tmp_path / "0", trained(name), card(name))
    said = "Branching cannot be exported: .*; --format safetensors can hold it$"
    refused(said, folder, None, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


# Student folders


def test_a_student_with_exits_is_loaded_with_them(folder, student):
    loaded = load_student(folder)
    assert isinstance(loaded, MultiExitStudent)
    assert not any(module.training for module in loaded.modules())
    pixels = torch.rand(5, *SHAPE)
    ours, theirs = loaded.outputs(pixels), student.outputs(pixels)
    assert all(torch.equal(a, b) for a, b in zip(sum(ours, ()), sum(theirs, ()), strict=True))


def test_a_card_without_the_key_is_of_a_whole_student(folder):
    fields = json.loads((folder / CARD_FILE).read_text())
    assert fields.pop("exit") is None
    (folder / CARD_FILE).write_text(json.dumps(fields))
    assert isinstance(load_student(folder), MultiExitStudent)


def test_the_factory_that_cannot_be_imported_is_given_without_its_places(tmp_path, student):
    folder = save(tmp_path / "0", student, card("<lambda>+exits=body.0/body.1"))
    with pytest.raises(ConfigError, match="cannot be imported; pass its factory"):
        load_student(folder)
    loaded = load_student(folder, lambda num_classes, image_shape: Tiny(num_classes, image_shape))
    pixels = torch.rand(2, *SHAPE)
    assert torch.equal(loaded(pixels, 1), student(pixels, 1))


@pytest.mark.parametrize(
    ("network", "exit", "said"),
    [
        (TINY, 4, "model.json names exit 4 of .*, which has exits 1 to 3"),
        (TINY, 0, "model.json names exit 0 of .*, which has exits 1 to 3"),
        ("resnet8", 1, "model.json names exit 1 of resnet8, which has no exits"),
        (TINY, "first", "model.json does not describe a student"),
        (TINY, 2, r"model.safetensors cannot be loaded"),
        ("resnet20+exits=stages.0", None, r"model.safetensors cannot be loaded"),
        ("resnet8+what", None, r"model.json is 'resnet8\+what'; exits are written"),
    ],
)
def test_a_card_that_does_not_fit(folder, network, exit, said):
    wrong = dataclasses.replace(card(network), exit=exit)
    (folder / CARD_FILE).write_text(wrong.to_json())
    with pytest.raises(ConfigError, match=said) as caught:
        load_student(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_a_plain_network_are_not_those_of_one_with_exits(tmp_path):
    folder = save(tmp_path / "0", trained("resnet8"), card("resnet20+exits=stages.0/stages.1"))
    with pytest.raises(ConfigError, match=r"model.safetensors cannot be loaded: .*Missing key"):
        load_student(folder)


def test_the_folder_of_a_student_of_a_run(tmp_path, folder):
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        student_folder(run, 0)
    (run / "config.yaml").write_text("k: 1\n")
    assert student_folder(run, 0) == folder
    with pytest.raises(ConfigError, match=r"--student is 3, but \S+ has trained students 0$"):
        student_folder(run, 3)
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match="holds no trained students"):
        student_folder(run, 0)


def test_a_network_without_exits_to_name_is_no_multi_exit(tmp_path):
    linear = f"{__name__}:linear"
    folder = save(tmp_path / "0", trained(linear), card(linear))
    assert type(load_student(folder)) is Normalised


def linear(num_classes, image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
