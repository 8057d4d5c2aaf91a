"""Studies of cohorts on two nodes of two cores, simulated by raylets on this machine."""

import os
import shutil
import tempfile
import threading
from dataclasses import replace

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

from cohort import CohortConfig, ConfigError, resume, train_cohort
from cohort.config_file import load_config
from cohort.tuning.folder import StudyFolder
from cohort.tuning.measurements import history
from cohort.tuning.on_ray.run import run_study
from tests.support.meetings import MEETING, place, wait_for
from tests.support.small_studies import hashes, run_dirs, study_of, undisturbed

pytestmark = pytest.mark.slow
MEETINGS = "tests.support.meetings"


@pytest.fixture(scope="module", autouse=True)
def meeting_place(tmp_path_factory):
    """Two nodes, whose processes know where to meet."""
    folder = tempfile.mkdtemp(prefix="ray-")
    os.mkdir(os.path.join(folder, "ray"))
    meeting = tmp_path_factory.mktemp("meeting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)  # where Cluster writes its address, beside no other
        patch.setenv(MEETING, str(meeting))
        node = {"num_cpus": 2, "num_gpus": 0}
        head = {**node, "temp_dir": folder, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield meeting
        ray.shutdown()
        cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def everything_comes_back():
    """After each study nobody is left, and all is free again."""
    yield
    wait_for(lambda: not alive("HostActor") and not alive("ImplicitFunc"))
    wait_for(lambda: ray.available_resources().get("CPU") == 4)


def actors(name):
    """Those whose class' name holds this, dead or alive."""
    every = ray._private.state.actors().values()
    return [actor for actor in every if name in actor["ActorClassName"]]


def alive(name):
    return [actor for actor in actors(name) if actor["State"] != "DEAD"]


def decisions(name):
    return StudyFolder(place(name)).decisions()


class Groups:
    """Looks at the placement groups all the time."""

    def __init__(self):
        self.states = set()
        self.whole = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.wait(0.02):
            for group in placement_group_table().values():
                self.states.add(group["state"])
                placed = [bool(node) for node in group["bundles_to_node_id"].values()]
                self.whole &= all(placed) or group["state"] != "CREATED"


def test_cohorts_share_nodes_and_one_that_asha_stops_gives_its_places_back(meeting_place, tmp_path):
    """Two at a time; the hopeless one is stopped, and can go on alone as if it had not been."""
    cases = {
        "good": {"lr": 0.05, "students": f"{MEETINGS}:meeting"},
        "hopeless": {"lr": 1e-6, "students": f"{MEETINGS}:hesitating"},
        "waiting": {"lr": 0.06, "students": "resnet8"},
    }
    study = study_of(
        meeting_place,
        {"k": 2, "epochs": 4, "students": None},
        space={"arm": {"cases": cases}},
        scheduler={"kind": "asha", "grace_epochs": 1, "reduction_factor": 2},
    )
    with Groups() as groups:
        result = run_study(study, study_dir=meeting_place / "asha")
    assert result.exit_code == 0
    assert list(result.results.trials["status"][:2]) == ["finished", "stopped"]
    assert result.results.trials["status"][2] in ("finished", "stopped")
    assert len(list((meeting_place / "four").iterdir())) >= 4, "two were never at work at once"
    assert "CREATED" in groups.states
    assert groups.whole
    assert "RESCHEDULING" not in groups.states, "a group was half placed"
    assert len(actors("HostActor")) >= 6
    assert actors("ImplicitFunc")

    folders = run_dirs(meeting_place / "asha")
    assert len(hashes(folders["arm-good"])) == 2
    hopeless = folders["arm-hopeless"]
    (stopped,) = [d for d in decisions("asha") if d["trial"] == hopeless.name]
    assert (stopped["kind"], stopped["step"]) == ("stopped", 10)
    assert [row["step"] for row in history(hopeless)] == [10]
    shutil.copytree(hopeless, tmp_path / "copy")
    gone_on = resume(tmp_path / "copy", given={"exchange": "in_process", "trust_code": True})
    assert gone_on.summary["steps"] == 40
    assert hashes(gone_on.run_dir) == undisturbed(hopeless, tmp_path / "undisturbed")


def test_people_are_looked_for_by_students_that_are_actors(meeting_place, tmp_path):
    """By map, which a rung compares; as in one process."""
    study = study_of(
        meeting_place,
        {"k": 2, "dataset": "synthetic-people", "test_subset": 20},
        space={"teacher": {"grid": ["none", "peers"]}},
        metric="test_map",
        scheduler={"kind": "asha", "grace_epochs": 1, "reduction_factor": 1.5},
        report={"metrics": ["test_map", "ensemble_test_rank1"]},
    )
    result = run_study(study, study_dir=meeting_place / "people")
    assert result.exit_code == 0
    finished = result.results.trials.query("status == 'finished'").iloc[0]
    config = load_config(
        meeting_place / "people/trials" / finished["trial"] / "config.yaml", CohortConfig
    )
    here = replace(config, exchange="in_process", run_dir=str(tmp_path / "here"))
    alone = train_cohort(here).summary
    for name in ("map", "rank1"):
        assert finished[f"student_1_test_{name}"] == alone["students"][1][f"test_{name}"]
        assert finished[f"ensemble_test_{name}"] == alone["ensemble"][f"test_{name}"]


def test_a_cohort_that_never_fits_is_refused(meeting_place):
    study = study_of(meeting_place, {"k": 100})
    sentence = (
        r"trial seed-0.\w+: --k is 100, but the cluster's 4 cores place at most 32 students "
        r"\(8 a core\); use --k 32 or fewer, or --address of a larger cluster"
    )
    with pytest.raises(ConfigError, match=f"^{sentence}$"):
        run_study(study, study_dir=meeting_place / "refused")
    assert not (meeting_place / "refused").exists()
