"""Each sentence with which the file of a study is refused."""

import pytest

from cohort.errors import ConfigError
from cohort.tuning.file.load import load_study
from tests.support.study_files import ARMS, DRAWN, GRID, OPTUNA, changed, load, parsed

REFUSED = [
    (GRID, "sedes", [0], "unknown key 'sedes'; did you mean 'seeds'?"),
    (GRID, "name", "x", "unknown key 'name'; the keys are command, base"),
    (GRID, "smoke/bas", {}, "unknown key 'smoke.bas'; did you mean 'base'?"),
    (GRID, "base/epoch", 3, "unknown key 'base.epoch' of launch_cohort; did you mean 'epochs'?"),
    (GRID, "base/epochs", "many", "base.epochs is 'many': input should be a valid integer"),
    (GRID, "base/seed", 1, "base.seed sets 'seed', which a study decides: seeds come from"),
    (GRID, "base/baseline", True, "base.baseline sets 'baseline', which a study decides"),
    (GRID, "base/balance", True, "base.balance sets 'balance', which a study decides"),
    (GRID, "base/students", "run:x", "base.students is 'run:x'; the study has no runs"),
    (GRID, "base/temperature", 0, "point k=1, teacher=none: --temperature is 0.0; it must be"),
    (GRID, "command", "launch", "command is 'launch': input should be 'launch_cohort'"),
    (GRID, "command", ..., "command is missing; it must be one of launch_cohort, self_distill"),
    (GRID, "command", "ods_distill", "unknown key 'space.k' of ods_distill"),
    (
        GRID,
        "space/epoch",
        {"grid": [1]},
        "unknown key 'space.epoch' of launch_cohort; did you mean 'epochs'?",
    ),
    (GRID, "space/k", {"gird": [1]}, "unknown key 'space.k.gird'; did you mean 'grid'?"),
    (GRID, "space/k", [1], "space.k is [1]; it must hold keys and values"),
    (GRID, "space/k", {}, "space.k is {}; it must have one key of grid, choice"),
    (GRID, "space/k/grid", [], "space.k.grid is []; it must hold at least one value"),
    (GRID, "space/k/grid", 3, "space.k.grid is 3; it must be a list"),
    (GRID, "space/k/grid", [1, 2, 1], "space.k.grid has 1 twice"),
    (GRID, "space/k/grid", [1, {"a": 2}], "space.k.grid has {'a': 2}, which is no value"),
    (GRID, "space/k/grid", [1, "x"], "space.k.grid is 'x': input should be a valid integer"),
    (GRID, "space/k/grid", [1, -2], "point k=-2, teacher=peers: --k is -2; it must be greater"),
    (GRID, "space/k", {"uniform": [3]}, "space.k.uniform is [3]; it must be two numbers, [low"),
    (GRID, "space/k", {"randint": [1, 2.5]}, "space.k.randint is 2.5: input should be a valid"),
    (GRID, "space/lr", {"loguniform": [0, 1]}, "space.lr.loguniform is [0, 1]; both must be gr"),
    (GRID, "space/z", {"zip": {}}, "space.z.zip is {}; it must hold lists of equal length"),
    (
        GRID,
        "space/z",
        {"zip": {"lr": [1], "batch_size": [1, 2]}},
        "space.z.zip must hold lists of equal length, but ",
    ),
    (GRID, "space/z", {"zip": {"lr": 1}}, "space.z.zip.lr is 1; it must be a list"),
    (GRID, "space/z", {"zip": {"k": [1]}}, "space.z has 'k', as has space.k; a key belongs to"),
    (GRID, "space/z", {"cases": {}}, "space.z.cases is {}; it must hold at least one case"),
    (GRID, "space/z", {"cases": {False: {}}}, "space.z.cases has the key False, which is not"),
    (GRID, "space/z", {"cases": {"a": {"lrr": 1}}}, "unknown key 'space.z.cases.a.lrr'"),
    (
        GRID,
        "space/z",
        {"cases": {"a": {"command": "x"}}},
        "space.z.cases.a.command is 'x'; it must be one of launch_cohort",
    ),
    (
        GRID,
        "space/z",
        {"cases": {"a": {"lr": 1}, "b": {"lr": 1.0}}},
        "point k=1, teacher=none, z=b is the same run as point k=1, teacher=none, z=a",
    ),
    (GRID, "space/lr", {"uniform": [0, 1]}, "space.lr is drawn (uniform), and search grid draws"),
    (GRID, "search", {"kind": "random", "samples": 2}, "search.kind is random, but no axis of"),
    (GRID, "search", {"kind": "random"}, "search.samples is missing"),
    (GRID, "search", {}, "search.kind is missing; it must be one of grid, random, optuna"),
    (GRID, "search", {"kind": "random", "samples": 0}, "search.samples is 0; it must be 1 or"),
    (GRID, "search", {"kind": "optuna", "samples": 2}, "space.k is a list (grid), and search opt"),
    (GRID, "scheduler", {"kind": "asha", "grace": 1}, "unknown key 'scheduler.grace'; the keys"),
    (GRID, "scheduler", {"kind": "asha", "reduction_factor": 1}, "scheduler.reduction_factor is"),
    (
        GRID,
        "scheduler",
        {"kind": "median"},
        "scheduler.kind is 'median'; it must be one of none, as",
    ),
    (GRID, "scheduler", {"kind": "pbt"}, "scheduler.kind is 'pbt'; it must be one of none, asha"),
    (DRAWN, "without", [{"lr": 0.1}], "without.0.lr is 0.1, but space.lr is drawn; name labels"),
    (DRAWN, "metric", "train_entropy", "metric is 'train_entropy', which is known of ended runs"),
    (DRAWN, "space/batch_size", {"uniform": [1, 2]}, "space.batch_size.uniform is 1."),
    (GRID, "without", {"k": 1}, "without is {'k': 1}; it must be a list"),
    (GRID, "without", [3], "without.0 is 3; it must hold keys and values"),
    (GRID, "without", [{"kk": 1}], "without.0.kk is of no label of the space; the labels are k"),
    (GRID, "without", [{"k": 7}], "without.0.k is 7; it must be one of 1, 2, 3"),
    (GRID, "without", [{}], "without leaves no point of the space"),
    (GRID, "without", [], "point k=1, teacher=peers: --k is 1 with --teacher peers: a student"),
    (GRID, "seeds", 3, "seeds is 3; it must be a list"),
    (GRID, "seeds", [], "seeds is []; it must hold different numbers of 0 or greater"),
    (GRID, "seeds", [0, 0], "seeds is [0, 0]; it must hold different numbers of 0 or greater"),
    (GRID, "seeds", ["a"], "seeds.0 is 'a': input should be a valid integer"),
    (GRID, "seeds", ..., "seeds is missing"),
    (GRID, "metric", ..., "metric is missing"),
    (GRID, "metric", "accuracy", "metric is 'accuracy'; it must be a measurement, such as test_"),
    (
        GRID,
        "metric",
        "test_map",
        "metric is 'test_map', but its data sets are tested by their classes",
    ),
    (GRID, "metric", "validation_map", "metric is 'validation_map'; it must be a measurement"),
    (
        GRID,
        "base/dataset",
        "market1501",
        "metric is 'test_accuracy', but in market1501 and synthetic-people people are found",
    ),
    (
        GRID,
        "space/dataset",
        {"grid": ["digits", "synthetic-people"]},
        "metric is 'test_accuracy', but in market1501",
    ),
    (GRID, "metric", "validation_nll", "metric is 'validation_nll', but no images are held out"),
    (GRID, "mode", "best", "mode is 'best': input should be 'max' or 'min'"),
    (GRID, "resources", {"cpus": 0}, "resources.cpus is 0; it must be greater than 0"),
    (GRID, "resources", {"cpu": 1}, "unknown key 'resources.cpu'; did you mean 'cpus'?"),
    (GRID, "max_concurrent", 0, "max_concurrent is 0; it must be 1 or greater"),
    (GRID, "report/metric", [], "unknown key 'report.metric'; did you mean 'metrics'?"),
    (GRID, "report/metrics", [], "report.metrics is []; it must hold at least one"),
    (GRID, "report/baseline", {"kk": 1}, "report.baseline.kk is of no label of the space; the"),
    (GRID, "report/baseline", {}, "report.baseline is {}, which no point has"),
    (
        GRID,
        "report/baseline",
        {"k": 1, "teacher": "peers"},
        "report.baseline is {'k': 1, 'teacher': 'peers'}, which no point has",
    ),
    (GRID, "report/figure/x", "kk", "report.figure.x is 'kk'; it must be a label of the space: k"),
    (GRID, "report/figure/series", "k", "report.figure.series is 'k', as is x; take another"),
    (GRID, "report/figure/y", "test_nll", "report.figure.y is 'test_nll'; it must be a list"),
    (GRID, "report/figure/y", ["nll"], "report.figure.y.0 is 'nll'; it must be a measurement"),
    (GRID, "report/figure/kind", "pie", "report.figure.kind is 'pie'; it must be one of lines"),
    (ARMS, "report/figure/panels", "b", "report.figure.panels is 'b'; it must be a label of the"),
    (ARMS, "report/figure", {"kind": "noise", "sigmas": [-1]}, "report.figure.sigmas.0 is -1; it"),
    (ARMS, "runs/wide/command", ..., "runs.wide.command is missing; it must be one of launch_"),
    (ARMS, "runs/wide/command", "x", "runs.wide.command is 'x': input should be"),
    (ARMS, "runs/wide/students", "run:wide", "runs.wide.students is 'run:wide'; a prepared run"),
    (ARMS, "runs/wide/teacher", "peers", "runs.wide: --k is 1 with --teacher peers"),
    (
        ARMS,
        "runs/narrow",
        {"command": "launch_cohort"},
        "runs.narrow is used by no trial; name it as the value 'run:narrow'",
    ),
    (
        ARMS,
        "space/arm/cases/distilled/teacher",
        "run:wid",
        "space.arm.cases.distilled.teacher is 'run:wid'; it must be one of run:wide",
    ),
    (ARMS, "base/students", "resnet8", "unknown key 'base.students' of self_distill"),
    (
        ARMS,
        "space/arm/cases/ods",
        {"command": "ods_distill"},
        "point batch_size=32, lr=0.05, arm=ods: key 'teachers' is missing; name a prepared run",
    ),
    (GRID, "base/lr", 10**399, "base.lr is a number of 400 digits; it must be from -9223372036"),
    (GRID, "space/k/grid", [1, -(10**399)], "space.k.grid.1 is a number of 400 digits; it must"),
    (GRID, "seeds", [10**399], "seeds.0 is a number of 400 digits; it must"),
    (ARMS, "space/arm/cases/other", {"k": 1}, "space.arm.cases.other.command is missing; it must"),
]


@pytest.mark.parametrize(
    ("text", "path", "value", "sentence"),
    REFUSED,
    ids=[f"{c[1]}-{n}" for n, c in enumerate(REFUSED)],
)
def test_what_cannot_be_is_refused_by_file_and_key_path(text, path, value, sentence, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(text, path, value))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'study.yaml'}: {sentence}")
    assert "\n" not in message


COLUMNS = [
    *("trial", "status", "command", "seed", "n", "trials", "pairs", "dropped", "parameters"),
    *("restarts", "wall_seconds", "images_per_second", "trained_steps", "trained_epochs", "steps"),
    *("test_kind", "validation_x", "student_1", "ensemble_of", "best_test_nll", "dee"),
    *("config.lr", "version.torch", "train_entropy_mean", "dee_diff_low"),
]


@pytest.mark.parametrize("name", COLUMNS)
def test_cases_are_not_called_like_a_column_of_the_tables(name, tmp_path):
    document = parsed(GRID)
    document["space"][name] = {"cases": {"a": {"lr": 0.1}, "b": {"lr": 0.2}}}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document)
    sentence = f"space.{name} is called like a column of the study's tables; give it another name"
    assert str(caught.value) == f"{tmp_path / 'study.yaml'}: {sentence}"


@pytest.mark.parametrize("name", ["arm", "tested", "how", "students_kind", "note"])
def test_cases_may_have_any_other_name(name, tmp_path):
    document = parsed(GRID)
    document["space"][name] = {"cases": {"a": {"lr": 0.1}, "b": {"lr": 0.2}}}
    assert name in load(tmp_path, document).space


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"scheduler": {"kind": "asha"}, "seeds": [0, 1]},
            "scheduler.kind is asha with search opt",
        ),
        (
            {"space": {"lr": {"uniform": [0, 0.9]}}},
            "study.yaml: point lr=0.0: --lr is 0.0; it must",
        ),
        ({"report": {"baseline": {"lr": 0.1}}}, "report.baseline.lr is 0.1, but space.lr is drawn"),
    ],
)
def test_optuna_is_refused_what_it_cannot_do(changes, sentence, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, OPTUNA | changes)
    assert sentence in str(caught.value)


def test_files_that_hold_no_study(tmp_path):
    with pytest.raises(ConfigError, match=r"^none\.yaml cannot be read: No such file"):
        load_study("none.yaml")
    with pytest.raises(ConfigError, match="has no smoke size; write one"):
        load(tmp_path, ARMS, smoke=True)
    with pytest.raises(ConfigError, match=r"study\.yaml has the key 1, which is not text"):
        load(tmp_path, "1: 2")
    with pytest.raises(
        ConfigError, match=r"study\.yaml: key 'base' stands in line 1 and in line 3"
    ):
        load(tmp_path, "base: {}\nseeds: [0]\nbase: {}")


def test_the_smoke_size_is_checked_like_the_study(tmp_path):
    document = changed(GRID, "smoke/base/epochs", 0)
    assert load(tmp_path, document).base["epochs"] == 2
    with pytest.raises(ConfigError, match=r"point k=1, teacher=none: --epochs is 0"):
        load(tmp_path, document, smoke=True)
