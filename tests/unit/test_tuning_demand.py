"""What a trial takes of a cluster: what is accepted fits, what is refused names what would."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cohort.errors import ConfigError
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.runtime.config import CohortConfig
from cohort.runtime.placement import PROCESS_BYTES, Node, Share
from cohort.tuning.demand import Cluster, Demand, demand_of, most_at_once
from cohort.tuning.study import Resources

GIB = 2**30
NOTHING = Resources()


def cluster_of(*nodes):
    """Cores and GPUs of each node; the study runs on the first."""
    made = tuple(Node(cpus, gpus, 64 * GIB) for cpus, gpus in nodes)
    return Cluster(made, made[0])


def cohort_of(k, **options):
    return CohortConfig(k=k, teacher="none" if k == 1 else "peers", **options)


def packed(bundles, cluster):
    """Whether bundles that are all alike have places, node by node, in Ray's ten-thousandths."""
    if not bundles:
        return True
    assert all(bundle == bundles[0] for bundle in bundles)
    places = 0
    for node in cluster.nodes:
        there = {"CPU": node.cpus, "GPU": node.gpus, "memory": node.memory}
        places += min(
            round(10_000 * there[name]) // round(10_000 * wanted)
            for name, wanted in bundles[0].items()
        )
    return places >= len(bundles)


NODES = st.builds(
    Node,
    cpus=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0, 16.0]),
    gpus=st.sampled_from([0.0, 0.0, 1.0, 2.0, 8.0]),
    memory=st.sampled_from([0.5 * GIB, 1.0 * GIB, 3.5 * GIB, 64.0 * GIB]),
)
CLUSTERS = st.lists(NODES, min_size=1, max_size=4).map(lambda n: Cluster(tuple(n), n[0]))
RESOURCES = st.builds(
    Resources,
    cpus=st.sampled_from([None, None, 0.1, 0.25, 1 / 3, 1.0, 1.5, 4.0]),
    gpus=st.sampled_from([None, None, 0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0, 2.0]),
)
NETWORKS = st.sampled_from([0, 10**6, 10**8])


def check_students(demand, k, cluster, resources, network):
    own, *hosts = demand.bundles
    assert own == {}
    assert 1 <= len(hosts) <= k
    assert packed(hosts, cluster)
    assert hosts[0]["memory"] == PROCESS_BYTES + 16 * network * math.ceil(k / len(hosts))
    assert resources.cpus in (None, hosts[0]["CPU"])
    assert resources.gpus in (None, hosts[0].get("GPU", 0.0))


@given(CLUSTERS, st.integers(1, 40), RESOURCES, NETWORKS)
def test_students_that_are_accepted_fit_and_others_are_told_how_many_do(
    cluster, k, resources, network
):
    try:
        demand = demand_of(cohort_of(k), cluster, resources, network)
    except ConfigError as error:
        message = str(error)
    else:
        check_students(demand, k, cluster, resources, network)
        return
    assert "\n" not in message
    named = re.search(r"\bk (\d+) or fewer", message)
    if named:
        most = int(named[1])
        assert 0 < most < k
        demand = demand_of(cohort_of(most), cluster, resources, network)
        check_students(demand, most, cluster, resources, network)
    else:
        assert re.search(r"no student fits|place none of its students", message)
        with pytest.raises(ConfigError):
            demand_of(cohort_of(1), cluster, resources, network)


@given(CLUSTERS, st.integers(1, 12), st.integers(0, 4), st.sampled_from([None, 0]))
def test_workers_that_are_accepted_fit_and_others_are_told_how_many_do(
    cluster, workers, pool, gpus
):
    config = OdsConfig(workers=workers, teacher_pool=pool or None, gpus=gpus)
    places = sum(int(node.cpus) for node in cluster.nodes)
    if gpus is None and any(node.gpus for node in cluster.nodes):
        places = sum(min(int(node.cpus), int(node.gpus)) for node in cluster.nodes)
    if workers + pool <= places:
        demand = demand_of(config, cluster, NOTHING)
        assert demand == Demand(workers=workers + pool)
        assert demand.bundles == [{}]
        assert demand.places == workers + pool
    else:
        with pytest.raises(ConfigError, match=rf"at most {places}\b"):
            demand_of(config, cluster, NOTHING)


def demands_on(cluster):
    """Those of trials of all kinds that fit it."""
    configs = [
        *(SelfDistillConfig(workers=n) for n in (1, 2, 3, 5)),
        *(cohort_of(k) for k in (1, 2, 3, 5)),
        SelfDistillConfig(workers=0),
    ]
    found = []
    for config in configs:
        try:
            found.append(demand_of(config, cluster, NOTHING))
        except ConfigError:
            continue
    return found


@given(CLUSTERS, st.data())
def test_as_many_at_once_as_fit_whichever_they_are(cluster, data):
    fitting = demands_on(cluster)
    assume(fitting)
    demands = data.draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=4))
    most = most_at_once(demands, cluster)
    if not any(demand.workers for demand in demands):
        assert most is None
        return
    assert most >= 1
    capacity = sum(int(node.gpus) for node in cluster.nodes)
    capacity = capacity or sum(int(node.cpus) for node in cluster.nodes)
    largest = max(demand.places for demand in demands)
    assert most == 1 or most * largest <= capacity
    if all(demand.workers for demand in demands):
        assert (most + 1) * largest > capacity  # and no fewer


def test_workers_that_no_gpu_limits_are_counted_by_hand():
    four = cluster_of((4, 0))
    two, one = Demand(workers=2), Demand(workers=1)
    assert most_at_once([one], four) == 4
    assert most_at_once([two, one], four) == 2
    assert most_at_once([Demand(workers=3)], four) == 1
    assert most_at_once([Demand(own=Share(1.0, 0.0))], four) is None
    assert most_at_once([], four) is None


def test_students_that_share_a_core_run_beside_no_workers():
    halves = Demand(share=Share(0.5, 0.0), hosts=2)
    assert most_at_once([halves, Demand(workers=1)], cluster_of((8, 0))) == 1
    assert most_at_once([halves], cluster_of((8, 0))) is None


def test_gpus_are_counted_where_there_are_some():
    cluster = cluster_of((16, 2), (16, 2))
    demand = demand_of(SelfDistillConfig(workers=2), cluster, NOTHING)
    assert most_at_once([demand], cluster) == 2
    assert demand_of(cohort_of(4), cluster, NOTHING).places == 4
    assert demand_of(cohort_of(8), cluster, NOTHING).places == 4


@pytest.mark.parametrize(
    ("nodes", "k", "resources", "hosts", "cpus", "gpus"),
    [
        ([(2, 0)], 2, NOTHING, 2, 1.0, 0.0),
        ([(2, 0)], 4, NOTHING, 2, 1.0, 0.0),
        ([(2, 0)], 5, NOTHING, 2, 1.0, 0.0),
        ([(8, 2)], 2, NOTHING, 2, 1.0, 1.0),
        ([(8, 2)], 4, NOTHING, 2, 1.0, 1.0),
        ([(8, 2)], 4, Resources(gpus=0.25), 2, 1.0, 0.25),
        ([(8, 2)], 4, Resources(gpus=0), 4, 1.0, 0.0),
        ([(8, 0)], 3, Resources(cpus=2.5), 3, 2.5, 0.0),
        ([(8, 0)], 2, Resources(cpus=0.25, gpus=0), 2, 0.25, 0.0),
    ],
)
def test_what_a_process_of_students_takes(nodes, k, resources, hosts, cpus, gpus):
    demand = demand_of(cohort_of(k, threads=1), cluster_of(*nodes), resources)
    assert (demand.hosts, demand.share.cpus, demand.share.gpus) == (hosts, cpus, gpus)


def test_a_third_of_a_core_fits_three_times():
    thirds = Resources(cpus=1 / 3)
    assert demand_of(cohort_of(3, per_process=1), cluster_of((1, 0)), thirds).hosts == 3
    with pytest.raises(ConfigError, match=r"at most 3 of its students; use k 3 or fewer"):
        demand_of(cohort_of(4, per_process=1), cluster_of((1, 0)), thirds)


IN_PROCESS = [
    cohort_of(2, exchange="in_process"),
    SelfDistillConfig(workers=0),
    OdsConfig(workers=0),
]


@pytest.mark.parametrize("config", IN_PROCESS, ids=lambda config: type(config).__name__)
def test_a_trial_in_one_process_takes_a_place_where_the_study_runs(config):
    cluster = cluster_of((2, 0), (64, 8))
    demand = demand_of(config, cluster, NOTHING)
    assert demand.bundles == [{"CPU": 1.0}]
    assert demand.places == 1
    with_gpu = Cluster(cluster.nodes, cluster.nodes[1])
    assert demand_of(config, with_gpu, NOTHING).bundles == [{"CPU": 1.0, "GPU": 1.0}]
    assert demand_of(config, with_gpu, Resources(gpus=0)).bundles == [{"CPU": 1.0}]
    assert demand_of(config, with_gpu, Resources(cpus=3)).bundles == [{"CPU": 3, "GPU": 1.0}]
    part = demand_of(config, with_gpu, Resources(cpus=0.5, gpus=0.25))
    assert part.bundles == [{"CPU": 0.5, "GPU": 0.25}]
    assert part.places == 0.25
    assert demand_of(replace(config, gpus=0), with_gpu, NOTHING).bundles == [{"CPU": 1.0}]


REFUSED = {
    "more students than cores hold": (
        cohort_of(17),
        NOTHING,
        "--k is 17, but the cluster's 2 cores place at most 16 students (8 a core); use --k 16 or "
        "fewer, or --address of a larger cluster",
    ),
    "students that take more than a core": (
        cohort_of(2),
        Resources(cpus=1.5),
        "k is 2, but with 1.5 cores each the cluster's 2 cores place at most 1 of its students; use "
        "k 1 or fewer, smaller resources, or --address of a larger cluster",
    ),
    "students of which none fits": (
        cohort_of(2),
        Resources(cpus=4),
        "k is 2, but with 4 cores each the cluster's 2 cores place none of its students; use smaller "
        "resources, or --address of a larger cluster",
    ),
    "GPUs that are not there": (
        cohort_of(2),
        Resources(gpus=1),
        "k is 2, but with 1 GPU each the cluster's 2 cores place none of its students; use "
        "smaller resources, or --address of a larger cluster",
    ),
    "GPUs twice": (
        cohort_of(2, gpus=1),
        Resources(gpus=0.5),
        "resources.gpus is 0.5, each process's, but gpus is 1, the cohort's; leave one of them out",
    ),
    "GPUs twice in one process": (
        SelfDistillConfig(workers=0, gpus=1),
        Resources(gpus=0.5),
        "resources.gpus is 0.5, but gpus is 1; leave one of them out",
    ),
    "resources of workers": (
        SelfDistillConfig(workers=1),
        Resources(cpus=1),
        "resources is for students' processes and trials in one process, but workers is 1, each of "
        "which takes a core, and a GPU where there are some; leave resources out, or use workers 0",
    ),
    "one process that is too large": (
        SelfDistillConfig(workers=0),
        Resources(cpus=3, gpus=1),
        "a trial in one process takes 3 cores and 1 GPU, but this node has 2 cores and 0 GPUs; ask "
        "for less in resources, or use students or workers of their own (exchange: object_store, "
        "workers: 1)",
    ),
}

TF32 = [
    cohort_of(2, precision="tf32"),
    cohort_of(2, precision="tf32", exchange="in_process"),
    SelfDistillConfig(workers=1, precision="tf32"),
    SelfDistillConfig(workers=0, precision="tf32"),
]


@pytest.mark.parametrize("config", TF32)
def test_tf32_needs_a_gpu(config):
    assert demand_of(config, cluster_of((2, 2)), NOTHING)
    for cluster, options in ((cluster_of((2, 0)), {}), (cluster_of((2, 2)), {"gpus": 0})):
        with pytest.raises(ConfigError, match="--precision is tf32, which only a GPU has"):
            demand_of(replace(config, **options), cluster, NOTHING)


@pytest.mark.parametrize(("config", "resources", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(config, resources, sentence):
    with pytest.raises(ConfigError) as caught:
        demand_of(config, cluster_of((2, 0)), resources)
    assert str(caught.value) == sentence
