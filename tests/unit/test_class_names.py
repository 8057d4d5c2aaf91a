"""Names of classes, not their numbers, say what a network and its data have in common."""

import json

import numpy as np
import pytest
from PIL import Image

from cohort import (
    CohortConfig,
    ImageDataset,
    OdsConfig,
    SelfDistillConfig,
    Split,
    ods_distill,
    resume,
    self_distill,
    train_cohort,
)
from cohort.analysis.evaluate import evaluate_run
from cohort.data.class_names import in_order_of
from cohort.data.dataset import Search
from cohort.errors import ConfigError
from cohort.run.finished import load_run

GREYS = {"dark": 40, "middle": 120, "bright": 210}
SMALL = {
    "batch_size": 8, "epochs": 2, "threads": 1, "log_every": 1, "lr": 0.05, "seed": 3,
}  # fmt: skip
STUDENTS = {"students": "resnet8", "exchange": "in_process", "k": 2}
ORDER = ["dark", "middle", "bright"]
"""In which the data set of this module has its classes."""


@pytest.fixture(autouse=True)
def _usual_order(monkeypatch):
    monkeypatch.setattr(f"{__name__}.ORDER", ["dark", "middle", "bright"])


def greys() -> ImageDataset:
    """Pictures of three greys, always the same ones; their labels follow ``ORDER``."""
    random = np.random.default_rng(0)
    names = [list(GREYS)[i] for i in random.permutation(np.arange(60) % 3)]
    values = np.array([GREYS[name] for name in names])
    pixels = random.normal(values[:, None, None, None], 30, (60, 1, 8, 8)).clip(0, 255)
    images, labels = pixels.astype(np.uint8), np.array([ORDER.index(name) for name in names])
    return ImageDataset(
        name="greys",
        train=Split(images[:32], labels[:32]),
        test=Split(images[32:46], labels[32:46]),
        validation=Split(images[46:], labels[46:]),
        classes=tuple(ORDER),
        mean=(0.48,),
        std=(0.3,),
    )


def cohort(folder, **options):
    config = CohortConfig(**{**SMALL, **STUDENTS, "dataset": greys, **options}, run_dir=str(folder))
    return train_cohort(config)


def in_another_order(monkeypatch, *names):
    monkeypatch.setattr(f"{__name__}.ORDER", list(names or ("bright", "dark", "middle")))


def hashes(result):
    return [row["weights_sha256"] for row in result.summary["students"]]


def classes_in(folder, number=0):
    return json.loads((folder / f"students/{number}/model.json").read_text())["classes"]


# Data sets


def test_labels_follow_the_names():
    labels = np.array([0, 1, 2, 1])
    images = np.zeros((4, 1, 2, 2), np.uint8)
    search = Search(images, labels, cameras=labels, roles=labels.astype(np.int8))
    dataset = ImageDataset(
        name="x", train=Split(images, labels), test=search, classes=("10", "2", "1"),
        validation=Split(images[:2], labels[:2]),
    )  # fmt: skip
    other = in_order_of(dataset, ("1", "10", "2"), "it")
    assert other.classes == ("1", "10", "2")
    assert other.train.labels.tolist() == [1, 2, 0, 2]
    assert other.validation.labels.tolist() == [1, 2]
    assert other.test.labels.tolist() == [0, 1, 2, 1]  # people, not classes
    assert dataset.in_order_of(dataset.classes) is dataset
    back = other.in_order_of(dataset.classes)
    assert back.train.labels.tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("a", "b"), "knows 2 classes, and --dataset greys has others: 'a', 'b' which the data have not; "
         "'dark', 'middle', 'bright' only the data have; give it"),
        (("dark", "bright"), "others: 'middle' only the data have;"),
        (("dark", "bright", "middle", "1"), "others: '1' which the data have not;"),
        (("1", "01", "001", "0001", "00001"), "'1', '01', '001', '0001', … (5 in all) which the"),
        (("Dark", "middle", "bright"), "'Dark' which the data have not; 'dark' only the data have"),
        (("dark", "dark", "middle", "bright"), "others: a name stands for several of them;"),
    ],
)  # fmt: skip
def test_other_names_are_named(classes, words):
    with pytest.raises(ConfigError) as caught:
        in_order_of(greys(), classes, "--teacher runs/a")
    message = str(caught.value)
    assert message.startswith("--teacher runs/a knows ")
    assert words in message, message
    assert "\n" not in message


# Where a network meets data


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    return cohort(folder, teacher="none", validation=None)


def test_another_order_measures_the_same(finished, monkeypatch):
    told = evaluate_run(finished.run_dir, trust_code=True).summary["students"]
    in_another_order(monkeypatch)
    again = evaluate_run(finished.run_dir, trust_code=True).summary["students"]
    assert again == told
    assert told[0]["test_accuracy"] > 0.5  # learned something that another order would spoil
    assert load_run(finished.run_dir, trust_code=True).dataset.classes == (
        "dark",
        "middle",
        "bright",
    )


@pytest.mark.parametrize(
    "names", [("dark", "middle", "white"), ("dark", "middle", "bright", "new")]
)
def test_other_classes_are_not_evaluated(finished, names, monkeypatch):
    monkeypatch.setattr(f"{__name__}.GREYS", dict(zip(names, (40, 120, 210, 250), strict=False)))
    in_another_order(monkeypatch, *names)
    with pytest.raises(ConfigError, match=f"the run in {finished.run_dir} knows 3 classes"):
        load_run(finished.run_dir, trust_code=True)


def test_a_run_goes_on_with_its_own_order(monkeypatch, tmp_path):
    whole = cohort(tmp_path / "whole", steps=6)
    cohort(tmp_path / "part", steps=3)
    in_another_order(monkeypatch)
    part = resume(tmp_path / "part", given={"steps": 6, "trust_code": True})
    assert hashes(part) == hashes(whole)
    assert classes_in(part.run_dir) == ["dark", "middle", "bright"]
    assert part.summary["ensemble"] == whole.summary["ensemble"]
    card = json.loads((tmp_path / "part/data.json").read_text())
    assert card["classes"] == ["dark", "middle", "bright"]


def test_a_run_does_not_go_on_with_other_classes(monkeypatch, tmp_path):
    cohort(tmp_path / "run", steps=3)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(f"{__name__}.GREYS", {"a_dark": 40, "middle": 120, "b_bright": 210})
    in_another_order(monkeypatch, "a_dark", "b_bright", "middle")
    with pytest.raises(ConfigError) as caught:
        resume(tmp_path / "run", given={"steps": 6, "trust_code": True})
    assert str(caught.value).startswith(
        f"--resume {tmp_path / 'run'}: the run knows 3 classes, and"
    )
    assert "'dark', 'bright' which the data have not" in str(caught.value)
    assert "'a_dark', 'b_bright' only the data have" in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_of_before_there_were_data_cards_is_as_its_students_say(monkeypatch, tmp_path):
    cohort(tmp_path / "run", steps=3)
    whole = cohort(tmp_path / "whole", steps=6)
    (tmp_path / "run/data.json").unlink()
    in_another_order(monkeypatch)
    assert hashes(resume(tmp_path / "run", given={"steps": 6, "trust_code": True})) == hashes(whole)


def test_a_student_learns_in_its_teachers_order(finished, monkeypatch, tmp_path):
    def taught(folder):
        teacher = str(finished.run_dir / "students/0")
        values = {**SMALL, "dataset": greys, "model": "resnet8", "method": "kd", "workers": 0}
        config = SelfDistillConfig(**values, steps=3, teacher=teacher, run_dir=str(folder))
        return self_distill(config)

    usual = taught(tmp_path / "usual")
    in_another_order(monkeypatch)
    other = taught(tmp_path / "other")
    assert hashes(other) == hashes(usual)
    assert classes_in(other.run_dir) == classes_in(usual.run_dir)
    in_another_order(monkeypatch, "middle", "bright", "dark")
    again = resume(tmp_path / "other", given={"steps": 4, "trust_code": True})
    assert classes_in(again.run_dir) == classes_in(usual.run_dir)


def test_an_ensemble_teaches_in_its_order(finished, monkeypatch, tmp_path):
    def taught(folder):
        values = {**SMALL, "student": "single", "workers": 0, "steps": 3}
        config = OdsConfig(
            **values, trust_code=True, teachers=str(finished.run_dir), run_dir=str(folder)
        )
        return ods_distill(config)

    usual = taught(tmp_path / "usual")
    in_another_order(monkeypatch)
    other = taught(tmp_path / "other")
    assert hashes(other) == hashes(usual)
    assert other.summary["students"] == usual.summary["students"]


def test_teachers_of_other_classes_are_refused(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(f"{__name__}.GREYS", {"dark": 40, "middle": 120, "white": 210})
    in_another_order(monkeypatch, "dark", "middle", "white")
    teacher = str(finished.run_dir / "students/0")
    values = {**SMALL, "dataset": greys, "model": "resnet8", "method": "kd", "workers": 0}
    with pytest.raises(
        ConfigError, match=r"--teacher .* knows 3 classes of greys, .*'bright' which the data"
    ):
        self_distill(SelfDistillConfig(**values, teacher=teacher, run_dir=str(tmp_path / "a")))
    with pytest.raises(
        ConfigError, match=r"--teachers .* knows 3 classes of greys, .*'white' only the data"
    ):
        ods_distill(
            OdsConfig(
                **SMALL,
                trust_code=True,
                teachers=str(finished.run_dir),
                run_dir=str(tmp_path / "b"),
            )
        )
    assert list(tmp_path.iterdir()) == []


# Pictures in folders


def write_pictures(root, classes, count=12):
    """Noise around one grey value per class."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, value in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.normal(value, 25, (16, 16, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02d}.png")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"a_dark": 90, "b_bright": 160}, "'bright', 'dark' which the data have not; 'a_dark', 'b_bright'"),
        ({"bright": 160, "dark": 90, "extra": 120}, "has others: 'extra' only the data have"),
    ],
)  # fmt: skip
def test_folders_of_other_classes_are_refused(classes, words, tmp_path):
    write_pictures(tmp_path / "a", {"bright": 160, "dark": 90})
    write_pictures(tmp_path / "b", classes)
    data = {"dataset": "folder", "image_size": 16, "k": 1, "teacher": "none", "steps": 2}
    run = cohort(tmp_path / "run", **data, data_root=str(tmp_path / "a"))
    assert evaluate_run(run.run_dir).summary["students"][0]["student"] == 0
    with pytest.raises(ConfigError) as caught:
        evaluate_run(run.run_dir, data_root=str(tmp_path / "b"))
    assert words in str(caught.value)
    with pytest.raises(ConfigError):
        resume(run.run_dir, given={"steps": 4, "data_root": str(tmp_path / "b")})
