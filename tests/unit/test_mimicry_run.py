"""Ways to mimic, from a config to what students learn by: the same however they are divided."""

import dataclasses

import pytest
import yaml

from cohort import CohortConfig, ConfigError, SelfDistillConfig, resume, self_distill, train_cohort
from cohort.config_file import load_config
from cohort.jobs.self_distill.config import resolve as resolve_job
from cohort.objectives.dist import Relations
from cohort.objectives.dkd import Decoupled
from cohort.objectives.mutual import KL
from cohort.runtime.config import resolve
from cohort.runtime.train import prepare
from tests.support.hosts import HostsHere
from tests.support.learners import digits as digits
from tests.support.learners import plan_of, with_dropout

SMALL = {
    "dataset": "synthetic", "train_subset": 64, "test_subset": 20, "batch_size": 16, "epochs": 1,
    "threads": 1, "log_every": 1,
}  # fmt: skip
WAYS = {
    "dkd": {"mimicry": "dkd", "temperature": 4.0},
    "dist": {"mimicry": "dist", "standardise": True},
    "naive": {"teacher": "kdcl_naive"},
    "minlogit": {"teacher": "kdcl_minlogit", "mimicry": "dkd", "mimicry_beta": 2.0},
}


def objective_of(**options):
    given = {"exchange": "in_process", **SMALL, "students": "resnet8", **options}
    return prepare(resolve(CohortConfig(**given))).objective


def test_an_objective_is_as_the_config_says():
    plain = objective_of()
    assert (plain.divergence, plain.standardise) == (KL, False)
    assert objective_of(mimicry="dkd").divergence == Decoupled(8.0)
    assert objective_of(mimicry="dkd", mimicry_beta=0.0).divergence == Decoupled(0.0)
    assert objective_of(mimicry="dist", mimicry_beta=2.0).divergence == Relations(2.0)
    assert objective_of(standardise=True).standardise


@pytest.mark.parametrize("way", WAYS)
def test_the_same_students_however_they_are_divided(digits, way):
    """Hosts learn by one code, and a log-posterior is all that travels."""
    objective = objective_of(**WAYS[way])
    plan = plan_of(digits)
    digests = {
        sizes: HostsHere([with_dropout] * 3, plan, digits, objective, sizes=sizes)
        .advance(3, sequential)
        .digests()
        for sizes, sequential in (((3,), False), ((1, 2), False), ((1, 1, 1), False))
    }
    assert len({tuple(each) for each in digests.values()}) == 1
    others = dataclasses.replace(objective, divergence=KL, standardise=False, teacher="peers")
    plain = HostsHere([with_dropout] * 3, plan, digits, others, sizes=(3,)).advance(3)
    assert plain.digests() != digests[(3,)]


@pytest.mark.parametrize("way", ["dkd", pytest.param("minlogit", marks=pytest.mark.slow)])
def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path, way):
    config = CohortConfig(
        **{**SMALL, **WAYS[way]}, students="resnet8,resnet8+exits", exchange="in_process"
    )
    results = []
    for name, steps in (("whole", None), ("parts", 2)):
        result = train_cohort(
            dataclasses.replace(config, run_dir=str(tmp_path / name), steps=steps)
        )
        results.append(result)
    results[1] = resume(tmp_path / "parts", given={"steps": 4})
    whole, parts = ([s["weights_sha256"] for s in r.summary["students"]] for r in results)
    assert whole == parts
    written = load_config(tmp_path / "parts/config.yaml", CohortConfig)
    assert written.mimicry_beta == WAYS[way].get("mimicry_beta", 8.0)


def test_students_alone_mimic_nobody(tmp_path):
    """Else their config would be refused, and the comparison with it."""
    run = prepare(resolve(CohortConfig(**SMALL, **WAYS["dist"], students="resnet8", baseline=True)))
    alone, _ = run.baseline()
    assert (alone.teacher, alone.mimicry, alone.mimicry_beta) == ("none", "kl", None)
    assert not alone.standardise


def test_a_cohort_with_exits_of_an_earlier_version_is_refused(tmp_path):
    """Its students' hints were divided by the number of features: they would learn otherwise now."""
    file = tmp_path / "config.yaml"
    values = {"k": 2, "run_dir": None, "students": ["resnet8", "resnet8+exits"]}
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="have exits, and of a version that divided their hints"):
        load_config(file, CohortConfig)
    for kept in ({"mimicry": "kl"}, {"students": "resnet8"}, {"run_dir": "elsewhere"}):
        file.write_text(yaml.safe_dump(values | kept))
        assert load_config(file, CohortConfig).k == 2


# From a teacher


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    config = SelfDistillConfig(**SMALL, model="resnet8", method="none", workers=0, steps=2)
    self_distill(dataclasses.replace(config, run_dir=str(folder)))
    return folder


@pytest.mark.parametrize("way", ["dkd", "dist"])
def test_kd_learns_in_the_same_ways(tmp_path, teacher, way):
    found = {}
    for name, options in (("plain", {"alpha": 0.5}), (way, {**WAYS[way], "temperature": None})):
        config = SelfDistillConfig(
            **SMALL, model="resnet8", method="kd", teacher=str(teacher), workers=0, steps=2, seed=1,
            run_dir=str(tmp_path / name), **options,
        )  # fmt: skip
        records = []
        self_distill(config, on_step=records.append)
        found[name] = [record for record in records if record["phase"] == "train"]
    first, other = found["plain"][0], found[way][0]
    assert first["ce"] == other["ce"]
    assert first["kl"] != other["kl"]
    for record in (first, other):
        assert record["loss"] == pytest.approx(0.5 * record["ce"] + 0.5 * record["kl"])


def test_the_weights_that_authors_give_them():
    def resolved(**options):
        return resolve_job(SelfDistillConfig(method="kd", teacher="t", **options))

    assert (resolved().alpha, resolved().mimicry_beta) == (0.9, None)
    assert (resolved(standardise=True).alpha, resolved(mimicry="dkd").alpha) == (0.9, 0.5)
    assert (resolved(mimicry="dkd").mimicry_beta, resolved(mimicry="dist").mimicry_beta) == (8, 1)
    assert resolved(mimicry="dist", alpha=0.1, mimicry_beta=0.0).mimicry_beta == 0
    assert resolved(mimicry="dist", alpha=0.1).alpha == 0.1
