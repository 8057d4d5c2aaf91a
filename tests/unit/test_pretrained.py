"""Weights from a file: what is loaded, what stays new, what is refused, and that nothing in it runs."""

import json
import os
import pickle

import pytest
import safetensors.torch
import torch

from cohort import (
    CohortConfig,
    OdsConfig,
    SelfDistillConfig,
    ods_distill,
    resume,
    self_distill,
    train_cohort,
)
from cohort.errors import ConfigError
from cohort.learning.pretrained import fit, read_weights
from cohort.learning.student_files import load_student
from cohort.models.registry import build_network, build_student
from cohort.models.spec import WithExits
from cohort.run.pretrained import notices

SHAPE = (3, 32, 32)
CLASSES = tuple(f"pattern {label}" for label in range(10))
DATA = {
    "dataset": "synthetic", "train_subset": 48, "test_subset": 8, "batch_size": 8, "epochs": 1,
    "threads": 1, "log_every": 1,
}  # fmt: skip


def source(name="resnet8", *, num_classes=10, seed=7):
    """A network as somebody else trained it: its state dict."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(name, num_classes=num_classes, image_shape=SHAPE)
        for value in network.state_dict().values():
            if value.is_floating_point():
                value += torch.randn_like(value) / 10  # batch norms are not as new ones either
    return {name: value.contiguous() for name, value in network.state_dict().items()}


def student(spec="resnet8", *, classes=10):
    return build_student(
        spec, num_classes=classes, image_shape=SHAPE, mean=(0.5,) * 3, std=(0.2,) * 3, seed=0,
        student=0,
    )  # fmt: skip


def fitted(path, spec="resnet8", classes=CLASSES):
    return fit(read_weights(str(path)), student(spec, classes=len(classes)), classes, SHAPE)


def same(given, state):
    return given.keys() == state.keys() and all(torch.equal(given[k], state[k]) for k in state)


def of_network(fitting):
    return {name.removeprefix("network."): value for name, value in fitting.items()}


# Files


WRITERS = {
    "safetensors": lambda state, path: safetensors.torch.save_file(state, path),
    "state dict": torch.save,
    "nested": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
    "nested twice": lambda state, path: torch.save({"model": {"state_dict": state}}, path),
    "data parallel": lambda state, path: torch.save(
        {f"module.{name}": value for name, value in state.items()}, path
    ),
    "as a backbone": lambda state, path: torch.save(
        {"model": {f"module.backbone.{name}": value for name, value in state.items()}}, path
    ),
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "half": lambda state, path: torch.save({n: v.half().float() for n, v in state.items()}, path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_weights(kind, tmp_path):
    state = source()
    if kind == "half":
        state = {
            name: v.half().float() if v.is_floating_point() else v for name, v in state.items()
        }
        torch.save(
            {n: v.half() if v.is_floating_point() else v for n, v in state.items()}, tmp_path / "f"
        )
    else:
        WRITERS[kind](state, tmp_path / "f")
    found = fitted(tmp_path / "f")
    assert same(of_network(found.fitting), state)
    assert (found.new, found.unused) == ((), ())


def test_a_network_that_calls_a_part_backbone_keeps_its_name(tmp_path):
    body = source()
    torch.save({f"backbone.{name}": value for name, value in body.items()}, tmp_path / "whole")
    torch.save(body, tmp_path / "body")
    for file in ("whole", "body"):
        found = fit(read_weights(str(tmp_path / file)), student(with_backbone), CLASSES, SHAPE)
        expected = {f"backbone.{name}": value for name, value in body.items()}
        assert same(of_network(found.fitting), expected)


def with_backbone(num_classes, image_shape):
    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = build_network("resnet8", num_classes=10, image_shape=image_shape)

        def forward(self, x):
            return self.backbone(x)

    return Whole()


def test_another_number_of_classes_keeps_a_new_classifier(tmp_path):
    state = source(num_classes=7)
    torch.save(state | {"extra": torch.zeros(2)}, tmp_path / "f")
    found = fitted(tmp_path / "f")
    assert found.new == ("classifier.weight", "classifier.bias")
    assert found.unused == ("classifier.weight", "classifier.bias", "extra")
    body = {n: v for n, v in state.items() if not n.startswith("classifier")}
    assert same(of_network(found.fitting), body)
    assert found.report() == {
        "file": str(tmp_path / "f"),
        "sha256": found.file.sha256,
        "loaded": len(body),
        "new": ["classifier.weight", "classifier.bias"],
        "unused": ["classifier.weight", "classifier.bias", "extra"],
    }


def test_a_network_with_exits_takes_those_of_the_plain_one(tmp_path):
    state = source()
    torch.save(state, tmp_path / "f")
    spec = WithExits("resnet8")
    found = fitted(tmp_path / "f", spec)
    module = student(spec)
    module.load_state_dict({**module.state_dict(), **found.fitting})
    plain = build_network("resnet8", num_classes=10, image_shape=SHAPE)
    plain.load_state_dict(state)
    images = torch.rand(2, *SHAPE)
    expected = plain.eval()(module.normalise(images))
    torch.testing.assert_close(module.eval()(images), expected)
    assert found.unused == ()
    assert {name.split(".")[0] for name in found.new} == {"branches", "classifiers"}


# Runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, whose student is the file."""
    folder = tmp_path_factory.mktemp("first") / "run"
    config = CohortConfig(
        **DATA, k=1, teacher="none", students="resnet8", exchange="in_process", steps=2, seed=5,
        run_dir=str(folder),
    )  # fmt: skip
    train_cohort(config)
    return folder / "students/0"


def cohort(folder, **options):
    values = {"students": "resnet8", "exchange": "in_process", "steps": 2, **options}
    return train_cohort(CohortConfig(**{**DATA, **values}, run_dir=str(folder)))


def at_start(folder, number=0):
    """A student's weights in the checkpoint of step 0."""
    file = folder / f"checkpoints/step_00000000/{number}/model.safetensors"
    return safetensors.torch.load_file(file)


def test_the_students_that_a_file_is_named_for_start_from_it(trained, tmp_path):
    result = cohort(tmp_path / "run", pretrained=f"-,{trained}", keep=9, checkpoint_every=1)
    weights = safetensors.torch.load_file(trained / "model.safetensors")
    anew = cohort(tmp_path / "anew", keep=9, checkpoint_every=1)
    assert same(at_start(tmp_path / "run", 1), weights)
    assert same(at_start(tmp_path / "run", 0), at_start(tmp_path / "anew", 0))
    first, second = result.summary["students"]
    assert "pretrained" not in first
    assert second["pretrained"]["file"] == str(trained)
    assert second["pretrained"]["new"] == second["pretrained"]["unused"] == []
    hashes = [[row["weights_sha256"] for row in r.summary["students"]] for r in (result, anew)]
    assert hashes[0][0] != hashes[1][0]  # its peer is another one


def test_without_the_file_a_run_goes_on_to_the_same_end(trained, tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes((trained / "model.safetensors").read_bytes())
    whole = cohort(tmp_path / "whole", pretrained=str(file), steps=4)
    cohort(tmp_path / "part", pretrained=str(file), steps=2)
    file.unlink()
    part = resume(tmp_path / "part", given={"steps": 4})
    keys = ("weights_sha256", "pretrained")
    ours, theirs = (
        [{k: row[k] for k in keys} for row in r.summary["students"]] for r in (part, whole)
    )
    assert ours == theirs


@pytest.mark.parametrize("method", ["none", "byot"])
def test_a_job_starts_from_it_too(trained, tmp_path, method):
    config = SelfDistillConfig(
        **DATA, model="resnet8", method=method, workers=0, steps=1, keep=9, checkpoint_every=1,
        pretrained=str(trained), run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    result = self_distill(config)
    weights = safetensors.torch.load_file(trained / "model.safetensors")
    start = at_start(tmp_path / "run")
    if method == "none":
        assert same(start, weights)
    else:
        loaded = {name: v for name, v in start.items() if ".stem." in name}
        assert loaded
        for name, value in loaded.items():
            assert torch.equal(value, weights[f"network.{name.split('.', 3)[3]}"])
    assert result.summary["students"][0]["pretrained"]["unused"] == []


def test_a_single_student_of_an_ensemble_starts_from_it_too(trained, tmp_path):
    config = OdsConfig(
        teachers=str(trained.parents[1]), student="single", workers=0, steps=1, batch_size=8,
        epochs=1, threads=1, keep=9, checkpoint_every=1, pretrained=str(trained),
        run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    ods_distill(config)
    weights = safetensors.torch.load_file(trained / "model.safetensors")
    assert same(at_start(tmp_path / "run"), weights)


def test_other_classes_in_a_students_folder_are_known_by_name(trained, tmp_path):
    """As many as ours, so that shapes alone would tell nothing."""
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    card = json.loads((trained / "model.json").read_text())
    assert fitted(trained).new == fitted(trained.parents[1]).new == ()  # the run's folder
    card["classes"] = card["classes"][::-1]
    (folder / "model.json").write_text(json.dumps(card))
    for named in (folder, folder / "model.safetensors"):
        assert fitted(named).new == ("classifier.weight", "classifier.bias")
    exits = fitted(folder, WithExits("resnet8"))
    assert not any(".classifiers." in name for name in exits.fitting)


def test_students_that_start_alike_are_told_of(trained, tmp_path):
    torch.save(source(num_classes=7), tmp_path / "others")
    files = {0: trained, 1: trained, 2: tmp_path / "others", 3: tmp_path / "others"}
    told = list(notices({number: fitted(file) for number, file in files.items()}))
    assert told[2] == (
        f"student 2 starts from {tmp_path / 'others'}: 42 tensors loaded, 2 new (classifier.weight, "
        "classifier.bias), 2 of the file unused"
    )
    assert len(told) == 5
    assert told[4].startswith("students 0, 1 start as one and the same: nothing in them is new")


# Refusals


class Marker:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("wrap", ["zip", "plain"])
def test_code_in_a_file_is_not_run(wrap, tmp_path):
    mark, file = tmp_path / "mark", tmp_path / "f.pt"
    value = {"state_dict": source(), "extra": Marker(mark)}
    if wrap == "zip":
        torch.save(value, file)
    else:
        file.write_bytes(pickle.dumps(Marker(mark)))
    with pytest.raises(ConfigError) as caught:
        fitted(file)
    assert str(caught.value).startswith(
        f"--pretrained {file} is neither a safetensors file nor a torch"
    )
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Marker(mark)))
    assert mark.exists()  # it would have


def in_itself(path):
    found = {"epoch": 3}
    found["model"] = found
    torch.save(found, path)


def stem(tensor):
    return lambda path: torch.save(source() | {"stem.weight": tensor}, path)


def not_finite(path):
    torch.save(source() | {"stem.weight": torch.full((16, 3, 3, 3), torch.nan)}, path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.write_text("hello"), "is neither a safetensors file nor a torch state dict"),
        (lambda path: path.write_bytes(b""), "is neither a safetensors file nor a torch state dict"),
        (lambda path: path.write_bytes(b"\x10" + 7 * b"\0" + b"{\"a\": 1}"), "is neither a safetensors"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no weights"),
        (lambda path: torch.save([1, 2], path), "holds no weights"),
        (lambda path: torch.save({"model": None}, path), "holds no weights"),
        (in_itself, "holds no weights"),
        (not_finite, "is damaged: stem.weight is not finite everywhere"),
        (stem(torch.full((3,), 1e300, dtype=torch.float64)), "stem.weight is not finite everywhere"),
        (stem(torch.zeros(2, 2).to_sparse()), "holds stem.weight as torch.float32, torch.sparse_coo on cpu"),
        (stem(torch.zeros(2, device="meta")), "torch.strided on meta; only plain tensors"),
        (stem(torch.zeros(2, dtype=torch.complex64)), "holds stem.weight as torch.complex64"),
        (stem(torch.zeros(1).expand(1 << 40)), "has more numbers than are in the file"),
        (
            lambda path: torch.save({k: v.to(torch.int8) for k, v in source().items()}, path),
            "is of another network: less than half of this one is in it",
        ),
        (
            lambda path: torch.save(source("vgg11_bn"), path),
            "is of another network: less than half of this one is in it; stem.weight of shape "
            "[16, 3, 3, 3] is not, and the file has stages.0.0.0.weight of shape [64, 3, 3, 3]",
        ),
    ],
)  # fmt: skip
def test_what_is_no_weights_of_this_network_is_refused(make, words, tmp_path):
    make(tmp_path / "f")
    with pytest.raises(ConfigError) as caught:
        fitted(tmp_path / "f")
    message = str(caught.value)
    assert message.startswith(f"--pretrained {tmp_path / 'f'}")
    assert words in message, message
    assert "\n" not in message


def test_of_a_run_with_several_students_one_is_to_be_named(tmp_path):
    for number in (0, 1):
        (tmp_path / f"students/{number}").mkdir(parents=True)
        (tmp_path / f"students/{number}/model.safetensors").touch()
    with pytest.raises(
        ConfigError, match=r"has 2 students; name one of .*students/0, .*students/1"
    ):
        read_weights(str(tmp_path))


def test_nothing_is_written_if_the_file_does_not_fit(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        cohort(tmp_path / "run", pretrained="nowhere.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (lambda: CohortConfig(pretrained="a,b,c"), "--pretrained names 3 files; it must name 1, for all"),
        (lambda: CohortConfig(pretrained="a,"), "--pretrained is 'a,'; it must be a file of weights"),
        (lambda: CohortConfig(pretrained=""), "--pretrained is ''"),
        (lambda: CohortConfig(pretrained="-"), "--pretrained is '-'"),
        (lambda: SelfDistillConfig(pretrained="a,b"), "here is one student, so it must be one file"),
        (lambda: OdsConfig(pretrained="a"), "--pretrained is 'a' with --student be, whose members"),
    ],
)  # fmt: skip
def test_a_list_of_files_that_cannot_be_meant(config, words):
    with pytest.raises(ConfigError) as caught:
        config()
    assert words in str(caught.value)


def test_a_student_that_started_from_a_file_loads_as_any(trained, tmp_path):
    result = cohort(tmp_path / "run", pretrained=str(trained), steps=1)
    student = load_student(result.run_dir / "students/1")
    assert student(torch.rand(2, *SHAPE)).shape == (2, 10)
