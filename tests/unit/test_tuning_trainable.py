"""What a trial's process decides before it trains; who stops it; what Tune may not save."""

import pickle
from pathlib import Path

import pytest
from ray import tune

from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.runtime.config import CohortConfig
from cohort.tuning.on_ray import trial as trainable
from cohort.tuning.on_ray.fit import StopTrials
from cohort.tuning.on_ray.run import StudyResult
from cohort.tuning.on_ray.trial import Setting, placed, train_trial
from cohort.tuning.trials import TrialSpec
from tests.support.studies import spec_dict

HOME = Path("/home/of/the/study")


def setting_of(path=HOME, data_root=None):
    return Setting(path, HOME, data_root)


@pytest.mark.parametrize(
    ("of_config", "of_study", "expected"),
    [
        ("data", None, f"{HOME}/data"),
        ("/mnt/data", None, "/mnt/data"),
        ("data", "images", f"{HOME}/images"),
        ("/mnt/data", "/other/data", "/other/data"),
    ],
)
@pytest.mark.parametrize("cls", [CohortConfig, SelfDistillConfig])
def test_data_lie_where_the_study_was_started(cls, of_config, of_study, expected):
    config = placed(cls(data_root=of_config), setting_of(data_root=of_study))
    assert config == cls(data_root=expected)


def test_the_teachers_know_where_their_data_lie():
    assert placed(OdsConfig(), setting_of()) == OdsConfig()
    assert placed(OdsConfig(data_root="there"), setting_of()).data_root == f"{HOME}/there"
    assert placed(OdsConfig(), setting_of(data_root="there")).data_root == f"{HOME}/there"


def test_weights_lie_where_the_study_was_started():
    config = placed(CohortConfig(pretrained="a.pt, -,/b.pt", k=3), setting_of())
    assert config.pretrained == f"{HOME}/a.pt,-,/b.pt"
    assert (
        placed(OdsConfig(student="single", pretrained="a"), setting_of()).pretrained == f"{HOME}/a"
    )


@pytest.mark.parametrize(
    ("config", "here"),
    [
        (CohortConfig(exchange="in_process"), True),
        (CohortConfig(exchange="object_store"), False),
        (CohortConfig(exchange="collective"), False),
        (SelfDistillConfig(workers=0), True),
        (SelfDistillConfig(workers=1), False),
        (OdsConfig(workers=0), True),
        (OdsConfig(workers=2), False),
    ],
)
def test_which_trials_train_in_their_own_process(config, here):
    assert config.in_this_process is here


def given(config, **values):
    spec = TrialSpec("a", "launch_cohort", {}, 0, values)
    return trainable._given(config, spec)


def test_what_may_lie_elsewhere_than_before_is_given_anew():
    assert given(CohortConfig(data_root="data"), k=2) == {}
    assert given(CohortConfig(data_root="/data"), k=2) == {"data_root": "/data"}
    here = SelfDistillConfig(workers=0, gpus=0, method="kd", teacher="/runs/wide/students/0")
    expected = {"teacher": "/runs/wide/students/0", "gpus": 0}
    assert given(here, teacher="run:run-wide.seed-0.12345678", lr=0.1) == expected


def test_what_is_given_may_change_on_resuming():
    teachers = OdsConfig(workers=0, data_root="/data", teachers="/runs/de")
    changed = given(teachers, teachers="run:de")
    assert set(changed) <= set(OdsConfig.EXTENDABLE)
    assert {"teacher", "data_root", "gpus"} <= set(SelfDistillConfig.EXTENDABLE)
    assert {"data_root", "gpus"} <= set(CohortConfig.EXTENDABLE)


def test_a_trial_that_is_to_stop_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "report", lambda *_, **__: pytest.fail("it reported"))
    setting = setting_of(tmp_path)
    setting.stop_file.touch()
    train_trial({"trial": spec_dict("a")}, setting)
    assert not setting.folders.exists()


def test_what_a_run_refuses_is_reported_and_not_tried_again(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(tune, "report", lambda measured: heard.append(measured))
    train_trial({"trial": spec_dict("a", temperature=0)}, setting_of(tmp_path))
    sentence = "a: --temperature is 0.0; it must be greater than 0"
    assert heard == [{"ended": "failed", "reason": sentence}]


def test_trials_are_told_to_stop_once_somebody_asks(tmp_path):
    asked = []
    stop = StopTrials(tmp_path / "stopping", lambda: bool(asked))
    stop.on_step_begin(iteration=0, trials=[])
    assert not (tmp_path / "stopping").exists()
    asked.append(True)
    for iteration in (1, 2):
        stop.on_step_begin(iteration=iteration, trials=[])
        assert (tmp_path / "stopping").exists()


def test_tune_may_save_what_cannot_be_saved(tmp_path):
    with (tmp_path / "open").open("w") as file:
        stop = StopTrials(tmp_path / "stopping", file.writable)
        assert vars(pickle.loads(pickle.dumps(stop))) == {}


@pytest.mark.parametrize(
    ("interrupted", "failed", "code"),
    [(False, (), 0), (False, ("a",), 1), (True, (), 130), (True, ("a",), 130)],
)
def test_the_exit_code_of_a_study(interrupted, failed, code):
    result = StudyResult(Path("study"), None, interrupted, failed)
    assert result.exit_code == code
