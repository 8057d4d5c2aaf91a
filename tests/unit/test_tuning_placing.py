"""What trials take is found out before Tune asks for it, and nothing is looked at twice."""

import pytest

from cohort.errors import ConfigError
from cohort.runtime import assembly
from cohort.runtime.placement import Node
from cohort.tuning.demand import Cluster
from cohort.tuning.on_ray import placing
from cohort.tuning.on_ray.placing import Placing
from cohort.tuning.study import Resources
from cohort.tuning.trials import points_of, trials_of
from tests.support.small_studies import QUICK, study_of


@pytest.fixture
def looked_at(monkeypatch):
    """Data sets that were read, by their size, and networks that were built."""
    data, networks = [], []
    load, build = placing.load_dataset, assembly.build_network

    def reading(config, seed):
        data.append(config.image_size)
        return load(config, seed)

    def building(network, **options):
        networks.append((network, options["image_shape"][1]))
        return build(network, **options)

    monkeypatch.setattr(placing, "_this_node_resource", lambda: "node:here")
    monkeypatch.setattr(placing, "load_dataset", reading)
    monkeypatch.setattr(assembly, "build_network", building)
    assembly._parameters.cache_clear()
    yield data, networks
    assembly._parameters.cache_clear()


def placing_of(tmp_path, **sections):
    """Places for the trials of a study on four cores, and all its trials."""
    node = Node(cpus=4, gpus=0, memory=2**36)
    study = study_of(tmp_path, {**QUICK, "teacher": "none"}, seeds=[0, 1, 2], **sections)
    specs = [spec for point in points_of(study) for spec in trials_of(study, point)]
    return Placing(Cluster((node,), node), Resources(), tmp_path, lambda config: config), specs


RATES = [0.01 * number for number in range(1, 13)]


def test_points_that_differ_in_a_rate_are_looked_at_once(looked_at, tmp_path):
    places, specs = placing_of(tmp_path, space={"lr": {"grid": RATES}})
    assert len(places.check(specs)) == 36
    assert looked_at == ([8], [("resnet8", 8)])


def test_each_data_set_is_read_once_and_each_network_built_once_for_it(looked_at, tmp_path):
    space = {
        "k": {"grid": [1, 2]},
        "students": {"grid": ["resnet8", "resnet20"]},
        "image_size": {"grid": [8, 16]},
        "epochs": {"grid": [1, 2]},
    }
    places, specs = placing_of(tmp_path, space=space)
    places.check(specs)
    data, networks = looked_at
    assert data == [16, 8]
    assert sorted(networks) == [(f"resnet{d}", size) for d in (20, 8) for size in (8, 16)]


def test_places_are_a_core_for_each_student_beside_the_trials_own_process(looked_at, tmp_path):
    places, specs = placing_of(tmp_path, space={"k": {"grid": [2, 3]}})
    bundles = [places({"trial": spec.to_dict()}).bundles for spec in specs]
    assert [len(each) - 1 for each in bundles] == [2, 2, 2, 3, 3, 3]
    assert all(each[0] == {"node:here": placing.TOUCH} for each in bundles)
    assert all(student["CPU"] == 1 for each in bundles for student in each[1:])


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ({"students": {"grid": ["resnet8", "vgg16_bn"]}}, "students-vgg16_bn.*8x8"),
        ({"batch_size": {"grid": [10, 101]}}, "batch_size-101.*at most the 100 images"),
        ({"k": {"grid": [1, 50]}}, "k-50.*at most 32 students"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_trial(axis, sentence, looked_at, tmp_path):
    places, specs = placing_of(tmp_path, space=axis)
    with pytest.raises(ConfigError, match=f"^trial {sentence}"):
        places.check(specs)
