"""However posteriors travel and students are divided, they are the same, bit for bit, as in one process."""

from itertools import islice, product

import pytest
import ray
import torch

from cohort.config import DataConfig
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError, RunError
from cohort.learning.plan import TrainingPlan
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.actors import RemoteHost
from cohort.runtime.exchange import CollectiveExchange, NoExchange, ObjectStoreExchange
from cohort.runtime.in_process import InProcessCohort
from cohort.runtime.wire import Messages
from tests.support.hosts import HostsHere
from tests.support.listening import check_loopback_alone, listening

STEPS = 5
LIKE = ("resnet8", "resnet8")
UNLIKE = ("resnet8", "wrn_10_1", "wrn_10_2")
FOUR = ("resnet8", "wrn_10_1", "resnet8", "wrn_10_2")
SLOW = pytest.mark.slow
NETWORKS = "tests.support.networks"
PLAN = {
    "steps_per_epoch": 4,
    "schedule_steps": 8,
    "total_steps": 8,
    "batch_size": 16,
    "lr": 0.1,
    "weight_decay": 5e-4,
    "decay_on": "all",
    "optimizer": "sgd",
    "lr_schedule": "cosine",
    "seed": 3,
    "log_every": 2,
    "eval_every": 4,
    "checkpoint_every": 4,
}


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataConfig(train_subset=64, test_subset=16), seed=0)


@pytest.fixture(scope="module")
def actors(ray_of_four):
    """Four processes, each for a host of whichever students a test gives it."""
    handles = [RemoteHost.options(num_cpus=0.25).remote(1, "cpu") for _ in range(4)]
    yield handles
    for actor in handles:
        ray.kill(actor)


def in_process(networks, plan, dataset, objective, sequential):
    cohort = InProcessCohort(
        networks,
        plan,
        dataset,
        objective,
        sequential=sequential,
        threads=1,
        device=torch.device("cpu"),
    )
    records = []
    assert cohort.advance(0, STEPS, lambda k, r: records.extend((k, x) for x in r), never) == STEPS
    cohort.close()
    return list(cohort.weights_sha256().values()), records


def built(actors, networks, plan, dataset, objective, sizes=None):
    """Hosts, as many students in each as ``sizes`` says, one by default; and their places."""
    hosts, numbers = [], iter(range(len(networks)))
    divided = [list(islice(numbers, size)) for size in sizes or [1] * len(networks)]
    common = (plan, ray.put(dataset), objective)
    for actor, students in zip(actors[: len(divided)], divided, strict=True):
        hosts.append((actor, actor.build.remote({k: networks[k] for k in students}, *common)))
    places = ray.get([place for _, place in hosts])
    named = [{**place, "students": here} for place, here in zip(places, divided, strict=True)]
    return [actor for actor, _ in hosts], named


def in_actors(actors, exchange, *cohort, sizes=None):
    hosts, places = built(actors, *cohort, sizes=sizes)
    exchange.open(hosts, places)
    records = []
    reached = exchange.advance(
        hosts, 0, STEPS, lambda k, r: records.extend((k, x) for x in r), never
    )
    assert reached == STEPS
    return digests_of(hosts), records


def digests_of(hosts):
    every = ray.get([host.weights_sha256.remote() for host in hosts])
    return [digest for of_host in every for digest in of_host.values()]


def never():
    return False


def in_order(records):
    return sorted(records, key=lambda item: (item[0], item[1]["step"]))


def test_a_host_refuses_a_precision_that_its_device_does_not_have(actors, dataset):
    plan = TrainingPlan(**PLAN, precision="tf32")
    with pytest.raises(ConfigError, match="--precision is tf32, which only a GPU has"):
        built(actors, LIKE, plan, dataset, MutualLearning())


@pytest.mark.parametrize(
    ("networks", "precision"),
    [(LIKE, "fp32"), (UNLIKE, "fp32"), pytest.param(LIKE, "bf16", marks=SLOW), (UNLIKE, "bf16")],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
@pytest.mark.parametrize(
    ("teacher", "sequential"),
    [*product(["peers", "ensemble", "ensemble_logits"], [False, True]), ("none", False)],
)
def test_three_exchanges_one_result(actors, dataset, teacher, sequential, networks, precision):
    plan = TrainingPlan(**PLAN, precision=precision)
    objective = MutualLearning(teacher=teacher, temperature=2.0)
    expected, measured = in_process(networks, plan, dataset, objective, sequential)
    assert len(set(expected)) == len(networks)
    ways = [ObjectStoreExchange(sequential=sequential), CollectiveExchange(sequential=sequential)]
    for exchange in ways if teacher != "none" else [NoExchange()]:
        digests, records = in_actors(actors, exchange, networks, plan, dataset, objective)
        assert digests == expected, exchange
        assert in_order(records) == in_order(measured), exchange


def test_hosts_listen_on_loopback_alone(actors, dataset):
    plan = TrainingPlan(**PLAN, precision="fp32")
    for exchange in (ObjectStoreExchange(sequential=False), CollectiveExchange(sequential=False)):
        in_actors(actors, exchange, LIKE, plan, dataset, MutualLearning())
        check_loopback_alone(listening(), "HostActor")


@pytest.mark.parametrize(
    ("networks", "teacher", "exits"),
    [
        (("resnet8+exits", "resnet8"), "peers", 3),
        (("resnet8+exits=stages.0", "wrn_10_1+exits"), "ensemble", 2),
    ],
    ids=["mixed", "exits"],
)
def test_students_with_exits_are_the_same_too(actors, dataset, networks, teacher, exits):
    plan = TrainingPlan(**PLAN, precision="fp32")
    objective = MutualLearning(teacher=teacher, temperature=2.0)
    expected, measured = in_process(networks, plan, dataset, objective, sequential=False)
    of_first = in_order(measured)[0][1]
    assert len(of_first["exits"]["kl"]) == exits
    for exchange in (ObjectStoreExchange(sequential=False), CollectiveExchange(sequential=False)):
        digests, records = in_actors(actors, exchange, networks, plan, dataset, objective)
        assert digests == expected, exchange
        assert in_order(records) == in_order(measured), exchange


def test_what_is_varied_matters(dataset):
    """Or the comparison above would prove nothing: no two settings give the same students."""
    results = {
        (teacher, sequential): in_process(
            ("resnet8",) * 3,
            TrainingPlan(**PLAN, precision="fp32"),
            dataset,
            MutualLearning(teacher=teacher, temperature=2.0),
            sequential,
        )[0][-1]
        for teacher, sequential in product(["peers", "ensemble_logits", "none"], [False, True])
        if not (teacher == "none" and sequential)
    }
    assert len(set(results.values())) == len(results)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=SLOW)])
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("sizes", [(4,), (2, 2), (3, 1), (1, 1, 1, 1)], ids=str)
def test_the_division_among_hosts_changes_nothing(actors, dataset, sizes, sequential, precision):
    plan = TrainingPlan(**PLAN, precision=precision)
    cohort = (FOUR, plan, dataset, MutualLearning(temperature=2.0))
    expected, measured = in_process(*cohort, sequential)
    assert len(set(expected)) == 4
    ways = [ObjectStoreExchange(sequential=sequential), CollectiveExchange(sequential=sequential)]
    for exchange in ways if len(sizes) > 1 else [NoExchange(sequential=sequential), *ways]:
        digests, records = in_actors(actors, exchange, *cohort, sizes=sizes)
        assert digests == expected, exchange
        assert in_order(records) == in_order(measured), exchange


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    "messages", [{"summed": True}, {"half": True}, {"summed": True, "half": True}], ids=str
)
def test_what_is_added_up_or_rounded_is_so_by_every_exchange(actors, dataset, messages, sequential):
    """Bit for bit as hosts in one process do it that hand each other the same messages."""
    plan = TrainingPlan(**PLAN, precision="fp32")
    objective = MutualLearning(temperature=2.0)
    cohort, sizes = (FOUR, plan, dataset, objective), (2, 1, 1)
    here = HostsHere(*cohort, sizes=sizes, **messages).advance(STEPS, sequential)
    measured = here.records()
    assert here.digests() != in_process(*cohort, sequential)[0]
    for way in (ObjectStoreExchange, CollectiveExchange):
        exchange = way(sequential=sequential, messages=Messages(**messages))
        digests, records = in_actors(actors, exchange, *cohort, sizes=sizes)
        assert digests == here.digests(), exchange
        assert in_order(records) == in_order(measured), exchange


def test_a_stop_request_ends_within_the_window_and_loses_nothing(actors, dataset):
    plan = TrainingPlan(**{**PLAN, "total_steps": 100, "schedule_steps": 100}, precision="fp32")
    cohort = (["resnet8"] * 2, plan, dataset, MutualLearning())
    for exchange in (ObjectStoreExchange(sequential=False), CollectiveExchange(sequential=False)):
        hosts, places = built(actors, *cohort)
        exchange.open(hosts, places)
        records = []

        def take(student, new, records=records):
            records.extend(new)

        reached = exchange.advance(hosts, 0, 100, take, lambda records=records: len(records) >= 4)
        assert 4 <= reached < 40
        oracle = InProcessCohort(*cohort, sequential=False, threads=1, device=torch.device("cpu"))
        oracle.advance(0, reached, take, never)
        oracle.close()
        assert digests_of(hosts) == list(oracle.weights_sha256().values())


@pytest.mark.parametrize("way", [ObjectStoreExchange, CollectiveExchange])
@pytest.mark.parametrize(
    ("networks", "error", "words"),
    [
        (("resnet8", "diverging"), RunError, "^student 1: the loss is not finite at step 11"),
        (("raising", "resnet8"), ArithmeticError, "the network of this test raises here"),
    ],
    ids=["diverging", "raising"],
)
def test_the_first_error_is_told_and_not_what_followed_from_it(
    actors, dataset, way, networks, error, words
):
    plan = TrainingPlan(**{**PLAN, "total_steps": 20, "schedule_steps": 20}, precision="fp32")
    paths = [name if name == "resnet8" else f"{NETWORKS}:{name}" for name in networks]
    hosts, places = built(actors, paths, plan, dataset, MutualLearning())
    exchange = way(sequential=False)
    exchange.open(hosts, places)
    with pytest.raises(error, match=words):
        exchange.advance(hosts, 0, 20, lambda k, records: None, never)


def test_eight_students_in_three_hosts(actors, dataset):
    """Three networks among them, so that each exchange has to keep apart who says what."""
    plan = TrainingPlan(**PLAN, precision="fp32")
    networks = ("resnet8", "wrn_10_1", "resnet8", "wrn_10_2", *["resnet8"] * 4)
    cohort = (networks, plan, dataset, MutualLearning(temperature=2.0))
    expected, measured = in_process(*cohort, sequential=False)
    assert len(set(expected)) == 8
    for exchange in (ObjectStoreExchange(sequential=False), CollectiveExchange(sequential=False)):
        digests, records = in_actors(actors, exchange, *cohort, sizes=(1, 4, 3))
        assert digests == expected, exchange
        assert in_order(records) == in_order(measured), exchange
