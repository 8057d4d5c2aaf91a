"""Studies on two cores: Ray Train jobs inside trials, beside cohorts, and a search that goes on."""

import json
import os

import pytest
import ray

from cohort.reporting.records import read_metrics
from cohort.tuning.folder import StudyFolder
from cohort.tuning.on_ray.run import run_study
from tests.support.listening import check_loopback_alone
from tests.support.local_ray import meeting_ray
from tests.support.pictures import make_folder
from tests.support.small_studies import QUICK, hashes, run_dirs, study_of, summary_of, undisturbed

pytestmark = pytest.mark.slow
MEETINGS = "tests.support.meetings"


@pytest.fixture(scope="module", autouse=True)
def meeting_place(tmp_path_factory):
    with meeting_ray(2, tmp_path_factory.mktemp("meeting")) as place:
        yield place


def test_jobs_on_ray_train_and_cohorts_starve_nobody(meeting_place, tmp_path):
    """At once they would want three cores, and each holds what it has until it gets the rest.

    Each has its pictures decoded by a feeder, which takes none of its places and ends with it. All
    listen on loopback alone.
    """
    pictures = make_folder(tmp_path / "pictures", classes=4, train=25, test=25, size=(12, 12))
    base = {"dataset": "folder", "data_root": str(pictures), "image_size": 8, "feed": "node"}
    job = {
        "command": "self_distill",
        "model": f"{MEETINGS}:looking",
        "method": "none",
        "workers": 1,
    }
    cases = {"job": job, "cohort": {"command": "launch_cohort", "students": "resnet8", "k": 2}}
    study = study_of(tmp_path, base, command=None, space={"arm": {"cases": cases}})
    result = run_study(study, study_dir=tmp_path / "study")
    assert result.exit_code == 0
    table = result.results.trials
    assert list(table["arm"]) == list(cases)
    assert list(table["status"]) == ["finished"] * 2
    assert StudyFolder(tmp_path / "study").decisions() == []
    folders = run_dirs(tmp_path / "study")
    for run_dir in folders.values():
        assert summary_of(run_dir)["restarts"] == 0
    assert hashes(folders["arm-cohort"]) == undisturbed(folders["arm-cohort"], tmp_path / "alone")
    seen = json.loads((meeting_place / "listening").read_text())
    check_loopback_alone(set(map(tuple, seen)), "RayTrainWorker", "ImplicitFunc", "NodeFeeder")
    actors = ray._private.state.actors().values()
    feeders = [actor for actor in actors if actor["ActorClassName"] == "NodeFeeder"]
    assert [feeder["State"] for feeder in feeders] == ["DEAD", "DEAD"]


def test_an_interrupted_search_goes_on_without_repeating_a_trial(meeting_place, tmp_path):
    pytest.importorskip("optuna")
    study = study_of(
        tmp_path,
        {**QUICK, "k": 2, "exchange": "in_process", "students": f"{MEETINGS}:interrupting"},
        space={"lr": {"loguniform": [0.01, 0.1]}},
        search={"kind": "optuna", "samples": 3},
        max_concurrent=1,
    )
    study_dir, fuse = meeting_place / "optuna", meeting_place / "fuse"
    fuse.write_text(str(os.getpid()))
    first = run_study(study, study_dir=study_dir)
    assert not fuse.exists(), "the study was not interrupted"
    assert first.exit_code == 130
    assert list(first.results.trials["status"]) == ["finished", "unfinished"]
    (ended, begun) = (study_dir / "trials" / name for name in first.results.trials["trial"])
    before = times(ended)

    again = run_study(study, study_dir=study_dir, resume=True)
    assert again.exit_code == 0
    table = again.results.trials
    assert list(table["status"]) == ["finished"] * 3
    assert list(table["trial"][:2]) == [ended.name, begun.name]
    assert times(ended) == before
    assert len(StudyFolder(study_dir).suggestions()) == 3
    assert hashes(begun) == undisturbed(begun, tmp_path / "undisturbed")


def times(run_dir):
    """When a run measured what."""
    return [record["time"] for record in read_metrics(run_dir / "metrics.jsonl")]
