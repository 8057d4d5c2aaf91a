"""Which Ray a run uses; one that was on a cluster can go on without it."""

import pytest

from cohort import (
    CohortConfig,
    ConfigError,
    RunError,
    SelfDistillConfig,
    resume,
    self_distill,
    train_cohort,
)
from cohort.runtime import session

SIZE = {"train_subset": 32, "test_subset": 16, "batch_size": 16, "epochs": 2, "threads": 1}
COHORT = CohortConfig(**SIZE, k=1, teacher="none", exchange="in_process", steps=1)
JOB = SelfDistillConfig(**SIZE, method="none", workers=0, steps=1)
HERE = {"exchange: in_process": "exchange: object_store", "workers: 0": "workers: 1"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [(None, "own"), ("local", "own"), ("auto", "auto"), ("10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_local_is_no_cluster(monkeypatch, tmp_path, address, expected):
    used = []
    monkeypatch.setattr(session, "_start_local", lambda: used.append("own"))
    monkeypatch.setattr(session, "_join", used.append)
    monkeypatch.setattr(session.private_ray, "session_folder", lambda: str(tmp_path / "session"))
    (tmp_path / "session").mkdir()
    with session.ray_session(address):
        assert used == [expected]


def test_a_ray_that_does_not_start_is_told_in_a_sentence(monkeypatch):
    def too_late(*_, **__):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(session.ray, "init", too_late)
    told = r"did not start on this machine, which may be too busy: .*timed out during startup"
    with pytest.raises(RunError, match=told), session.ray_session():
        raise AssertionError("it did not start")


@pytest.mark.parametrize(
    ("train", "config", "resume", "without"),
    [
        (train_cohort, COHORT, resume, {"exchange": "in_process"}),
        (self_distill, JOB, resume, {"workers": 0}),
    ],
    ids=["cohort", "job"],
)
def test_without_the_cluster_it_was_on(tmp_path, monkeypatch, train, config, resume, without):
    monkeypatch.chdir(tmp_path)
    run_dir = train(config).run_dir
    text = (run_dir / "config.yaml").read_text().replace("address: null", "address: 10.0.0.1:6379")
    for here, on_the_cluster in HERE.items():
        text = text.replace(here, on_the_cluster)
    (run_dir / "config.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"uses no cluster.*or use --address local"):
        resume(run_dir, given={"steps": 2, **without})
    assert resume(run_dir, given={"steps": 2, "address": "local", **without}).summary["steps"] == 2
