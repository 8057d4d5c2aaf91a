"""What a trial takes is found out once for all seeds of its point, before Tune asks for it."""

import dataclasses

from cohort.runtime.placement import Node
from cohort.tuning.demand import Cluster
from cohort.tuning.on_ray import placing
from cohort.tuning.on_ray.placing import Placing
from cohort.tuning.study import Resources
from cohort.tuning.trials import points_of, trials_of
from tests.support.small_studies import study_of


def test_the_data_are_read_once_for_all_seeds_of_a_point(tmp_path, monkeypatch):
    node = Node(cpus=4, gpus=0, memory=2**34)
    monkeypatch.setattr(placing, "_this_node_resource", lambda: "node:here")
    asked = []
    monkeypatch.setattr(placing, "_tried_out", lambda config: asked.append(config.k) or 1000)
    study = study_of(tmp_path, space={"k": {"grid": [2, 3]}})
    study = dataclasses.replace(study, seeds=(0, 1, 2))
    places = Placing(Cluster((node,), node), Resources(), tmp_path, lambda config: config)
    specs = [spec for point in points_of(study) for spec in trials_of(study, point)]
    places.check(specs[::3])
    bundles = [places({"trial": spec.to_dict()}).bundles for spec in specs]
    assert asked == [2, 3]
    assert [len(each) - 1 for each in bundles] == [2, 2, 2, 3, 3, 3]
    assert all(each[0] == {"node:here": placing.TOUCH} for each in bundles)
