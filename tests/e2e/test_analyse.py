"""`analyse.py` on finished runs: files, numbers, and refusals in one sentence."""

import json
import runpy
import shutil
import sys

import pandas as pd
import pytest
import torch

from cohort import CohortConfig, SelfDistillConfig, self_distill, train_cohort
from cohort.analysis.analyses import agreement
from cohort.config_file import to_yaml
from cohort.data.registry import load_dataset
from cohort.learning.evaluation import log_posterior_over
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.metrics.diversity import diversity
from cohort.models.registry import build_student
from cohort.run import finished as runs
from tests.support.command import ROOT

SCRIPT = str(ROOT / "scripts" / "analyse.py")
QUICK = ("--examples", 64, "--draws", 2, "--sigmas", "0,0.1")


def make_run(folder, seed=0):
    """The folder of a finished run of one resnet8 on a few digits, without the training."""
    config = CohortConfig(k=1, teacher="none", train_subset=200, test_subset=90, seed=seed)
    data = load_dataset(config, seed)
    of_data = {"image_shape": data.image_shape, "mean": data.mean, "std": data.std}
    student = build_student("resnet8", num_classes=10, seed=seed, student=0, **of_data)
    student(torch.rand(16, *data.image_shape))
    card = ModelCard(network="resnet8", dataset="digits", classes=data.classes, **of_data)
    files = folder / "students" / "0"
    files.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    (files / WEIGHTS_FILE).write_bytes(weights_bytes(student))
    (files / CARD_FILE).write_text(card.to_json())
    return folder


def analyse(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(SCRIPT, run_name="__main__")
    printed = capsys.readouterr()
    return ended.value.code, printed.out.splitlines(), printed.err


@pytest.fixture(scope="module")
def byot(tmp_path_factory):
    """The folder of a finished run of a student with three exits."""
    config = SelfDistillConfig(
        train_subset=200,
        test_subset=90,
        epochs=2,
        workers=0,
        threads=1,
        run_dir=str(tmp_path_factory.mktemp("runs") / "byot"),
    )
    return self_distill(config).run_dir


def test_plain_runs_take_part_in_noise_and_gradients(tmp_path, monkeypatch, capsys):
    one, other = make_run(tmp_path / "one"), make_run(tmp_path / "other", seed=1)
    out = tmp_path / "deep" / "out"
    code, lines, _ = analyse(monkeypatch, capsys, one, other, "--output", out, *QUICK)
    assert code == 0
    notes, files = lines[:2], lines[2:]
    assert notes[0] == (
        "note: one has no part in separability and early_exit, for want of a student with exits; "
        "diversity, for want of two students, or a student with two members; transfer, for want of "
        "three students, or a student with three members; agreement, for want of a cohort's records of "
        "how alike its students are; jacobian, for want of teachers "
        f"({one / 'config.yaml'} names no teachers)"
    )
    expected = [
        out / f"{name}.{end}"
        for name in ("noise", "posterior", "gradients", "reliability")
        for end in ("svg", "png", "csv")
    ]
    expected.append(out / "index.json")
    assert files == [str(file) for file in expected]
    assert sorted(out.iterdir()) == sorted(expected)
    noise = pd.read_csv(out / "noise.csv")
    assert noise["group"].unique().tolist() == ["one+1"]  # they differ in seed alone
    assert noise["seed"].tolist() == [0, 0, 1, 1]
    assert noise["student"].tolist() == [0] * 4
    assert noise["run"].tolist() == ["one", "one", "other", "other"]
    assert noise["sigma"].tolist() == [0, 0.1, 0, 0.1]
    assert noise["loss_std"].tolist()[::2] == [0, 0]
    gradients = pd.read_csv(out / "gradients.csv")
    assert gradients["layer"].tolist()[:2] == ["network.stem", "network.stages.0.0.conv1"]
    assert gradients["depth"].tolist() == [*range(1, 9)] * 2
    assert (gradients["mean_abs_gradient"] > 0).all()


def test_a_run_with_exits_takes_part_in_all(tmp_path, monkeypatch, capsys, byot):
    plain = make_run(tmp_path / "plain")
    out = tmp_path / "out"
    code, lines, _ = analyse(monkeypatch, capsys, byot, plain, "--output", out, *QUICK)
    assert code == 0
    assert lines.count(str(out / "index.json")) == 1
    analysed = json.loads((out / "index.json").read_text())["analyses"]
    assert list(analysed) == [
        "noise", "posterior", "gradients", "separability", "early_exit", "reliability"
    ]  # fmt: skip
    for entry in analysed.values():
        assert str(out / entry["table"]) in lines
        for name, caption in entry["figures"].items():
            assert {str(out / f"{name}.{end}") for end in ("svg", "png")} <= set(lines)
            assert "no band" in caption or "deviation" in caption
    shares = pd.read_csv(out / "early_exit.csv")
    assert shares["run"].unique().tolist() == ["byot"]
    shares = shares[shares["exit"].isna()]
    total = shares[["share_exit_1", "share_exit_2", "share_exit_3"]].sum(axis=1)
    assert total.tolist() == pytest.approx([1] * len(shares))
    separability = pd.read_csv(out / "separability.csv")
    assert separability["place"].tolist() == ["stages.0", "stages.1", "end"]
    ratio = separability["within"] / separability["between"]
    assert separability["ratio"].tolist() == pytest.approx(ratio.tolist())
    gradients = pd.read_csv(out / "gradients.csv")
    of_byot, of_plain = (gradients[gradients["run"] == name] for name in ("byot", "plain"))
    titles = ["self-distillation", "labels at every exit", "labels at the last exit"]
    assert of_byot["loss"].unique().tolist() == titles
    assert of_plain["loss"].unique().tolist() == ["labels"]
    # Depth by depth the same layers as without exits; two branches and classifiers aside.
    assert of_byot["depth"].dropna().tolist() == of_plain["depth"].tolist() * 3
    aside = of_byot[of_byot["depth"].isna()]
    assert (aside["mean_abs_gradient"] > 0).tolist() == [True] * 16 + [False] * 8


def test_a_single_test_image_makes_no_scatter(tmp_path, monkeypatch, capsys, byot):
    run = shutil.copytree(byot, tmp_path / "run")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("test_subset: 90", "test_subset: 1"))
    flags = (run, "--output", tmp_path / "out", "--analyses", "early_exit,separability")
    code, lines, err = analyse(monkeypatch, capsys, *flags)
    assert (code, lines) == (2, [])
    assert err.startswith("error: ")
    assert "separability needs two test images, which run lacks" in err


def test_analyses_of_ones_choice(tmp_path, monkeypatch, capsys, byot):
    one, two = (shutil.copytree(byot, tmp_path / name) for name in "xy")
    out = tmp_path / "out"
    code, lines, _ = analyse(
        monkeypatch, capsys, one, two, "--output", out, "--analyses", "separability", *QUICK
    )
    assert code == 0
    features = [f"-features-{run}.{end}" for run in "xy" for end in ("svg", "png")]
    endings = (".svg", ".png", *features, ".csv")
    written = [str(out / f"separability{end}") for end in endings]
    assert lines == [*written, str(out / "index.json")]
    # Runs that differ in nothing are a group, whose band is none.
    table = pd.read_csv(out / "separability.csv")
    assert table["group"].unique().tolist() == ["x+1"]
    assert table["run"].tolist() == ["x"] * 3 + ["y"] * 3


def test_beside_a_cohort_and_again_for_more(tmp_path, monkeypatch, capsys):
    """How alike the students are is on record from training, and other analyses stay in the index."""
    run_dir = tmp_path / "pair"
    small = {"train_subset": 64, "test_subset": 40, "validation": 20, "epochs": 2, "batch_size": 32}
    train_cohort(CohortConfig(k=2, exchange="in_process", threads=1, run_dir=str(run_dir), **small))
    run = runs.load_run(run_dir)
    assert [r["step"] for r in agreement.told(run)] == [2, 4]
    split = run.dataset.test
    answers = [log_posterior_over(student, split, torch.device("cpu")) for student in run.students]
    last = agreement.told(run)[-1]
    assert last["agreement"] == (answers[0].argmax(1) == answers[1].argmax(1)).double().mean()
    assert last["pairwise_kl"] == pytest.approx(diversity(torch.stack(answers)), rel=1e-4)
    for names in ("agreement,reliability", "posterior"):
        assert analyse(monkeypatch, capsys, run_dir, "--analyses", names, *QUICK)[0] == 0
    beside = run_dir / "analysis"
    index = json.loads((beside / "index.json").read_text())
    assert list(index["analyses"]) == ["agreement", "reliability", "posterior"]
    assert pd.read_csv(beside / "agreement.csv")["epoch"].tolist() == [1, 2]
    posterior = pd.read_csv(beside / "posterior.csv")
    assert posterior["student"].tolist() == [0] * 5 + [1] * 5
    summary = json.loads((run_dir / "summary.json").read_text())
    table = pd.read_csv(beside / "reliability.csv")
    trained = table[table["posterior"] == "as trained"].groupby("student")["ece"].first()
    assert trained["0"] == pytest.approx(summary["students"][0]["test_ece"], abs=1e-5)
    assert trained["ensemble"] == pytest.approx(summary["ensemble"]["test_ece"], abs=1e-5)
    assert (beside / "posterior.svg").exists()


def test_the_same_again_gives_the_same_files(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run")
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        arguments = (run, "--output", out, "--analyses", "noise", "--relative", *QUICK)
        assert analyse(monkeypatch, capsys, *arguments)[0] == 0
    for file in outs[0].iterdir():
        assert file.read_bytes() == (outs[1] / file.name).read_bytes(), file.name


def test_the_config_of_another_kind_of_run_is_read(tmp_path):
    run = make_run(tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text() + "alpha: 0.3\nexit_places: [a, b]\n")
    loaded = runs.load_run(run)
    dataset = loaded.dataset
    assert (loaded.name, len(dataset.train), len(dataset.test)) == ("run", 200, 90)
    assert [student.training for student in loaded.students] == [False]
    expected = load_dataset(CohortConfig(train_subset=200, test_subset=90), 0)
    assert (dataset.train.labels == expected.train.labels).all()


def test_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    run, out = make_run(tmp_path / "run"), ("--output", tmp_path / "out")

    def refused(*arguments):
        code, lines, error = analyse(monkeypatch, capsys, *arguments)
        assert (code, lines) == (2, [])
        assert error.count("\n") == 1
        return error

    assert "needs a student with exits" in refused(run, *out, "--analyses", "noise,early_exit")
    assert not (tmp_path / "out").exists()
    assert "is not the folder of a run" in refused(tmp_path, *out)
    assert "given twice" in refused(run, run, *out)
    assert "--draws" in refused(run, *out, "--draws", "many")
    assert "--output is missing: 2 runs" in refused(run, tmp_path / "other")
    assert "--alpha is 0.5, which is for" in refused(run, *out, "--alpha", 0.5)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "index.json").write_text("{")
    damaged = refused(run, "--output", tmp_path / "damaged", "--analyses", "noise")
    assert "index.json does not describe analyses" in damaged
    of_a_run = refused(run, "--output", run)
    assert f"--output is {run}, the folder of a run; give one of its own, such as" in of_a_run
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(run, "--output", tmp_path / "file")
    assert "--data-root" in refused(run, *out, "--data-root")
    (run / "students" / "0").rename(run / "gone")
    assert "holds no trained student" in refused(run, *out)
