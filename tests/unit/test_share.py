"""A student that is shared is loaded without this project, and chosen by no test image."""

import json
import re
import shutil
import sys

import pytest
import torch
import yaml

from cohort import CohortConfig, load_student, train_cohort
from cohort.cli.share import share as command
from cohort.errors import ConfigError, RunError
from cohort.reporting.records import read_metrics
from cohort.run.hub import check_hub, push
from cohort.run.share import share


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two students of which the second is made the better one by the validation split alone."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    config = CohortConfig(
        exchange="in_process",
        threads=1,
        students="resnet8+exits=stages.0,resnet8",
        steps=2,
        batch_size=16,
        train_subset=64,
        test_subset=100,
        validation=20,
        data_root="data",
        run_dir=str(folder),
    )
    train_cohort(config)
    measured = {("validation", 1): 0.75, ("validation", 0): 0.5, ("test", 0): 0.99}
    records = [
        {**r, "accuracy": measured.get((r["phase"], r["student"]), 0.1)}
        for r in read_metrics(folder / "metrics.jsonl")
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    summary = json.loads((folder / "summary.json").read_text())
    summary["students"][1]["test_accuracy"] = 0.8
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_what_is_shared(run, tmp_path, monkeypatch, capsys):
    to = tmp_path / "shared"
    assert command([str(run), "--to", str(to), "--license", "mit"]) == 0
    assert capsys.readouterr().out == f"{to}\n"
    assert {path.name for path in to.iterdir()} == {
        "model.safetensors", "model.json", "model.pt2", "README.md",
    }  # fmt: skip
    text = (to / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert (head["license"], head["datasets"]) == ("mit", ["digits"])
    assert head["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.8}]
    assert "Student 1, the best of its run by the validation split." in text
    assert "80.00 % ± 4.00" in text  # √(0.8 · 0.2 / 100)
    assert "measured on 100 test images on 20" in text
    assert "data_root" not in text
    assert str(tmp_path) not in text
    check_loads_with_torch_alone(text, to, monkeypatch, capsys)
    assert torch.equal(
        load_student(to).network.classifier.weight,
        load_student(run / "students/1").network.classifier.weight,
    )


def test_no_value_of_the_config_ends_its_block(run, tmp_path, monkeypatch):
    config = {"k": 2, "dataset": "digits", "students": "a\n````\n# b"}
    monkeypatch.setattr("cohort.run.model_card.read_config", lambda file: config)
    share(str(run), tmp_path / "shared")
    (_, block) = (tmp_path / "shared" / "README.md").read_text().split("`````yaml\n")
    assert yaml.safe_load(block.split("\n`````\n")[0]) == config


def check_loads_with_torch_alone(text, folder, monkeypatch, capsys):
    """The first example of the card, where nobody can import this project."""
    example, _ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    student = load_student(folder)
    monkeypatch.chdir(folder)
    names = {}
    with monkeypatch.context() as alone:
        for name in [name for name in sys.modules if name.partition(".")[0] == "cohort"]:
            alone.setitem(sys.modules, name, None)
        exec(example, names)
    assert capsys.readouterr().out.count("'") == 4  # two names of classes
    pixels = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(names["network"](pixels), student(pixels), atol=1e-5)


def test_the_graph_of_a_network_with_exits_is_its_deepest(run, tmp_path):
    to = share(str(run), tmp_path / "shared", student=0)
    student, pixels = load_student(to), torch.rand(3, 1, 8, 8)
    assert student.network.num_exits == 2
    graph = torch.export.load(to / "model.pt2").module()
    with torch.no_grad():
        assert torch.allclose(graph(pixels), student(pixels), atol=1e-5)
    text = (to / "README.md").read_text()
    assert "it has the deepest" in text
    assert "Student 0 of its run. No licence was named" in text


def test_without_a_validation_split_it_is_the_first(run, tmp_path):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(x for x in lines if "validation" not in x))
    text = (share(str(run), tmp_path / "shared") / "README.md").read_text()
    assert "Student 0 of its run, which had no validation split to choose by." in text


def test_refusals(run, tmp_path):
    to = tmp_path / "shared"
    for arguments, said in {
        (run, "--to", run): f"--to {run} already holds something",
        (run,): "--to or --to-hub is missing",
        (run, "--to", to, "--student", 7): "--student is 7, but .* has trained students 0, 1",
        (run, "--to", to, "--public"): "--public was given without --to-hub",
        (run, "--to", "s3://bucket/x"): "--to is 's3://bucket/x', on a storage",
        (run, "--to-hub", "mine"): "--to-hub is 'mine'; it must be OWNER/NAME",
        (tmp_path, "--to", to): "RUN_DIR .* is not the folder of a run",
    }.items():
        with pytest.raises(ConfigError, match=said):
            command(list(map(str, arguments)))
        assert not to.exists()


def test_neither_unfinished_runs_nor_code_that_is_not_trusted(run, tmp_path):
    card = json.loads((run / "students/1/model.json").read_text())
    (run / "students/1/model.json").write_text(json.dumps({**card, "network": "mine:net"}))
    with pytest.raises(ConfigError, match=r"names 'mine:net', code .*--trust-code"):
        share(str(run), tmp_path / "shared")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "status": "interrupted"}))
    with pytest.raises(ConfigError, match="interrupted, not finished; --resume it first"):
        share(str(run), tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


class Hub:
    """As much of ``huggingface_hub.HfApi`` as is used."""

    def __init__(self, taken=()):
        self.taken, self.made, self.uploaded = taken, [], []

    def create_repo(self, repo_id, *, private, exist_ok):
        assert not exist_ok
        if repo_id in self.taken:
            raise OSError("409 Client Error: Conflict\nYou already created this model repo")
        self.made.append((repo_id, private))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.uploaded.append((repo_id, folder_path))


def test_a_new_repository_is_private_and_none_is_written_over(tmp_path, monkeypatch):
    hub = Hub(taken=["me/old"])
    assert push(tmp_path, "me/new", public=False, api=hub) == "https://huggingface.co/me/new"
    push(tmp_path, "me/open", public=True, api=hub)
    assert hub.made == [("me/new", True), ("me/open", False)]
    assert hub.uploaded == [("me/new", str(tmp_path)), ("me/open", str(tmp_path))]
    with pytest.raises(RunError, match="--to-hub me/old cannot be written: OSError: 409"):
        push(tmp_path, "me/old", public=False, api=hub)
    assert len(hub.uploaded) == 2
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'cohort\[hub\]'"):
        check_hub("me/new")


def spoil_line(**values):
    def spoil(run):
        summary = json.loads((run / "summary.json").read_text())
        summary["students"][1].update(values)
        (run / "summary.json").write_text(json.dumps(summary))

    return spoil


def add_record(**values):
    def spoil(run):
        record = {"time": 1.0, "phase": "validation", "step": 9, "epoch": 1.0, "student": 0}
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record | values) + "\n")

    return spoil


def spoil_students(run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"students": []}))


DAMAGE = {
    "accuracy": (spoil_line(test_accuracy="x"), "must be a number from 0 to 1"),
    "beyond": (spoil_line(test_accuracy=2.0), "must be a number from 0 to 1"),
    "huge": (
        spoil_line(test_nll=10**400),
        "a number of 401 digits of student 1; it must be a number",
    ),
    "no line": (spoil_students, "says nothing of student 0"),
    "time": (add_record(time=1e300), "none that a calendar has"),
    "metrics": (
        lambda run: (run / "metrics.jsonl").unlink(),
        "metrics.jsonl cannot be read: No such",
    ),
    "weights": (
        lambda run: (run / "students/1/model.safetensors").unlink(),
        "cannot be read: No such",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_run_is_not_shared(run, tmp_path, what):
    spoil, said = DAMAGE[what]
    spoil(run)
    with pytest.raises(ConfigError, match=re.escape(said)):
        share(str(run), tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("odd", [{"accuracy": "x"}, {"student": [0]}, {"student": None}])
def test_records_that_measure_nothing_choose_nobody(run, tmp_path, odd):
    add_record(**{"accuracy": 0.9} | odd)(run)
    share(str(run), tmp_path / "shared")
    assert "Student 1, the best of its run" in (tmp_path / "shared" / "README.md").read_text()
