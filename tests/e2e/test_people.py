"""People are looked for by features: trained, measured, measured again, drawn, and used as teachers."""

import json

import pytest
import torch

from cohort import load_student
from cohort.analysis.evaluate import evaluate_run
from cohort.data.dataset import Search
from cohort.learning.measuring import Measuring
from cohort.reporting.records import read_metrics
from cohort.run.finished import load_students
from tests.support.command import SELF_DISTILL, here
from tests.support.pictures import make_market

SMALL = ["--epochs", "2", "--batch-size", "16", "--threads", "1", "--log-every", "4"]
MADE_UP = ["--dataset", "synthetic-people", "--train-subset", "96", "--test-subset", "20"]
KEYS = ("map", "map_trapezoid", "rank1", "rank5", "rank10")


def train(folder, *flags):
    arguments = ("--k", 2, "--students", "resnet8", "--exchange", "in_process", *SMALL, *flags)
    code, out, err = here(*arguments, "--run-dir", folder)
    assert (code, err) == (0, ""), err
    return out


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A finished run of two students, and what it printed."""
    folder = tmp_path_factory.mktemp("people") / "run"
    return folder, train(folder, *MADE_UP, "--distance", "cosine", "--validation", 40)


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def test_a_run_is_measured_by_finding_people_again(run_dir):
    folder, shown = run_dir
    summary = summary_of(folder)
    for line in (*summary["students"], summary["ensemble"]):
        measured = {key.removeprefix("test_") for key in line if key.startswith("test_")}
        assert measured == {*KEYS, *(f"multi_{key}" for key in KEYS), "unmatched_queries"}
    records = list(read_metrics(folder / "metrics.jsonl"))
    tested = [record for record in records if record["phase"] == "test"][-3:]
    assert [record["student"] for record in tested] == [0, 1, "ensemble"]
    assert tested[0]["map"] == summary["students"][0]["test_map"]
    held_out = [record for record in records if record["phase"] == "validation"]
    assert "accuracy" in held_out[0]  # of classes that are learned
    assert "map" not in held_out[0]
    assert "ensemble: mAP" in shown
    assert "accuracy" not in shown.split("rank-1")[-1].split("student", 1)[1]


def test_it_is_measured_again_and_by_hand(run_dir):
    folder, _ = run_dir
    summary = summary_of(folder)
    again = evaluate_run(folder).summary
    assert again["students"] == summary["students"]
    assert again["ensemble"] == summary["ensemble"]
    students, dataset = load_students(folder)
    assert isinstance(dataset.test, Search)
    pixels = torch.from_numpy(dataset.test.images) / 255
    features = [load_student(folder / "students" / str(k)).features(pixels) for k in (0, 1)]
    cosine = Measuring("cosine", torch.device("cpu")).of(dataset.test, torch.cat(features, dim=1))
    assert cosine["map"] == pytest.approx(summary["ensemble"]["test_map"], abs=1e-3)
    assert len(students) == 2


def test_another_distance_gives_other_numbers_and_a_picture_is_drawn(run_dir, tmp_path):
    folder, _ = run_dir
    drawn = [tmp_path / "one.svg", tmp_path / "again.svg"]
    for picture in drawn:
        flags = ("--distance", "euclidean", "--ranking", picture)
        code, out, err = here(folder, *flags, script="evaluate.py")
        assert (code, err) == (0, "")
        assert "distances between features are euclidean" in out
        assert f"{picture} shows whom" in out
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    assert out != here(folder, script="evaluate.py")[1]


def test_a_student_teaches_the_next_one(run_dir, tmp_path):
    """Table 4 of Deep Mutual Learning: distilled from a network that was trained before."""
    folder, _ = run_dir
    flags = ("--method", "kd", "--teacher", folder / "students" / "0", "--workers", 0)
    arguments = ("--model", "resnet8", *SMALL, *MADE_UP, "--validation", 40, *flags)
    code, _, err = here(*arguments, "--run-dir", tmp_path / "kd", script=SELF_DISTILL)
    assert (code, err) == (0, "")
    summary = summary_of(tmp_path / "kd")
    assert "test_map" in summary["best"]
    again = evaluate_run(tmp_path / "kd").summary
    assert again["students"][0] == summary["students"][0]
    assert again["ensemble"] == summary["ensemble"]


def test_exits_are_measured_by_the_deepest(tmp_path):
    arguments = ("--model", "resnet8", *SMALL, *MADE_UP, "--workers", 0)
    code, _, err = here(*arguments, "--run-dir", tmp_path / "byot", script=SELF_DISTILL)
    assert (code, err) == (0, "")
    summary = summary_of(tmp_path / "byot")
    (line,) = summary["students"]
    assert line["test_map"] == summary["ensemble"]["test_map"]
    assert evaluate_run(tmp_path / "byot").summary["students"] == [line]


def test_the_official_layout(tmp_path):
    root = make_market(tmp_path / "data", identities=4, test_identities=3, more=True, size=(32, 16))
    flags = ("--dataset", "market1501", "--data-root", root, "--image-size", "32x16")
    train(tmp_path / "run", *flags)
    summary = summary_of(tmp_path / "run")
    assert evaluate_run(tmp_path / "run").summary["ensemble"] == summary["ensemble"]
    code, out, err = here(tmp_path / "run", "--ranking", tmp_path / "r.png", script="evaluate.py")
    assert (code, err) == (0, "")
    assert "this is not the whole of Market-1501" in out
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_what_makes_no_sense_is_refused(run_dir, tmp_path):
    folder, _ = run_dir
    refused = {
        ("evaluate.py", folder, "--ranking", "x.jpg"): "--ranking is x.jpg; it must end in .png",
        ("evaluate.py", folder, "--ranking", tmp_path / "no" / "x.png"): "a folder that is there",
        ("evaluate.py", folder, "--latency", 3): "--latency was given, but the students of",
        ("analyse.py", folder, "--output", tmp_path, "--analyses", "diversity"): "test images of the",
        ("ods_distill.py", "--teachers", folder, "--validation", 40): "the members of an ensemble",
        (
            "launch_cohort.py", *MADE_UP, "--students", "squeezenet1_0", "--image-size", "64x64",
        ): "--students is 'squeezenet1_0', but --dataset synthetic-people is for finding",
        ("launch_cohort.py", "--distance", "cosine"): "--distance is cosine; --dataset digits",
    }  # fmt: skip
    for (script, *arguments), sentence in refused.items():
        code, _, err = here(*arguments, script=script)
        assert (code, sentence in err, err.count("\n")) == (2, True, 1), err
