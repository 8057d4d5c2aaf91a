"""What a search asks of a network, how that is measured and drawn, and the made-up people."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from cohort.analysis.analyse import OF_CLASSES, lacking
from cohort.analysis.drawing import RUNS
from cohort.analysis.ranking import check_file, ranking_figure
from cohort.config import DataConfig
from cohort.data.dataset import GALLERY, MORE, QUERY, Search, Split
from cohort.data.readers import synthetic_people
from cohort.data.recipes import SEARCHED
from cohort.data.registry import READERS, load_dataset
from cohort.errors import ConfigError, RunError
from cohort.learning.evaluation import answers_over
from cohort.learning.measuring import Measuring, together
from cohort.models.registry import build_student
from cohort.run.finished import LoadedRun

CPU = torch.device("cpu")
MEASURING = Measuring("euclidean", CPU)


def search(*pictures):
    """Of (identity, camera, role); images have a grey of their own."""
    people, cameras, roles = (np.array(each) for each in zip(*pictures, strict=True))
    images = np.arange(len(people), dtype=np.uint8)[:, None, None, None].repeat(3, axis=1)
    images = images.repeat(8, axis=2).repeat(4, axis=3)
    return Search(images, people.astype(np.int64), cameras.astype(np.int64), roles.astype(np.int8))


SMALL = search(
    (7, 1, QUERY), (7, 1, MORE), (7, 2, MORE),
    (7, 1, GALLERY), (-1, 2, GALLERY), (0, 2, GALLERY), (7, 2, GALLERY), (8, 2, GALLERY),
)  # fmt: skip
FEATURES = torch.tensor([[0.0], [4.0], [9.0], [0.0], [0.0], [1.0], [2.0], [3.0]])


def test_one_picture_of_a_query_and_all_of_them():
    measured = MEASURING.of(SMALL, FEATURES)
    # Alone at 0: the distractor at 1, then the right one at 2. With the other picture by the same
    # camera, at 2: the right one first.
    assert measured == {
        "map": 0.5, "map_trapezoid": 0.25, "rank1": 0, "rank5": 1, "rank10": 1, "unmatched_queries": 0,
        "multi_map": 1, "multi_map_trapezoid": 1, "multi_rank1": 1, "multi_rank5": 1, "multi_rank10": 1,
    }  # fmt: skip
    single = SMALL.part(SMALL.roles != MORE)
    assert not any("multi" in name for name in MEASURING.of(single, FEATURES[SMALL.roles != MORE]))


def test_other_splits_are_measured_by_classes():
    split = Split(SMALL.images[:2], np.array([0, 1]))
    measured = MEASURING.of(split, torch.tensor([[0.9, 0.1], [0.6, 0.4]]).log())
    assert measured["accuracy"] == 0.5
    mean = together(split, [torch.eye(2).log(), torch.full((2, 2), 0.5).log()])
    assert torch.allclose(mean.exp(), torch.tensor([[0.75, 0.25], [0.25, 0.75]]))


def test_features_of_several_stand_side_by_side():
    both = together(SMALL, [FEATURES, 2 * FEATURES])
    assert both.shape == (8, 2)
    assert torch.equal(both[:, 1:], 2 * FEATURES)


def test_features_that_are_not_finite_end_the_run():
    with pytest.raises(RunError, match="people cannot be looked for: features that are not finite"):
        MEASURING.of(SMALL, torch.full((8, 1), torch.nan))


def test_a_search_asks_for_features_and_leaves_the_network_as_it_was():
    student = build_student(
        "resnet8+exits", num_classes=4, image_shape=(3, 8, 4), mean=(0.5,) * 3, std=(0.5,) * 3,
        seed=0, student=0,
    )  # fmt: skip
    (features,) = answers_over(student, SMALL, CPU)
    assert features.shape == (8, 64)
    assert torch.equal(features, student.features(torch.from_numpy(SMALL.images) / 255))
    assert all(module.training for module in student.modules())
    posteriors = answers_over(student, Split(SMALL.images, SMALL.labels), CPU)
    assert [each.shape for each in posteriors] == [(8, 4)] * 3


# A picture of it


def frames(axes):
    return to_hex(axes.spines["left"].get_edgecolor()).upper()


def test_who_is_found_is_framed_and_marked():
    figure = ranking_figure(SMALL, FEATURES, "euclidean", CPU, nearest=4)
    asked, *found, empty = figure.axes
    assert asked.get_title() == "query 7 c1"
    assert [axes.get_title() for axes in found] == ["✗ other c2", "✓ 7 c2", "✗ 8 c2"]
    assert [frames(axes) for axes in found] == [RUNS[1], RUNS[0], RUNS[1]]
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in (asked, *found)]
    assert shown == [0, 5, 6, 7]
    assert not empty.axison


def test_queries_are_spread_over_those_that_have_a_match():
    pictures = [(person, 1, QUERY) for person in range(1, 31)]
    # Everybody but the first ten was seen by another camera.
    pictures += [(person, 1 + (person > 10), GALLERY) for person in range(1, 31)]
    figure = ranking_figure(
        search(*pictures), torch.randn(60, 2), "cosine", CPU, queries=3, nearest=2
    )
    assert [axes.get_title() for axes in figure.axes[::3]] == [
        "query 11 c1",
        "query 20 c1",
        "query 30 c1",
    ]


def test_where_a_picture_cannot_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("x.jpg", "x", "no/x.png", "folder.png"):
        with pytest.raises(ConfigError, match="--ranking is "):
            check_file(str(tmp_path / name))
    for name in ("x.png", "x.SVG", "x.pdf"):
        assert check_file(str(tmp_path / name)) == tmp_path / name


# Made-up people


def test_made_up_people_are_those_of_the_data_set():
    data, again = (synthetic_people.read(DataConfig(dataset="synthetic-people")) for _ in range(2))
    test = data.test
    assert isinstance(test, Search)
    assert np.array_equal(test.images, again.test.images)
    assert data.image_shape == (3, 32, 16)
    assert (len(data.train), data.num_classes) == (960, 32)
    counts = {role: int((test.roles == role).sum()) for role in (QUERY, GALLERY, MORE)}
    assert counts == {QUERY: 72, GALLERY: 180, MORE: 144}
    assert (int((test.labels == 0).sum()), int((test.labels == -1).sum())) == (24, 12)
    assert set(test.cameras.tolist()) == {1, 2, 3}
    every = {(person, camera) for person in range(1, 25) for camera in (1, 2, 3)}
    for role in (QUERY, GALLERY, MORE):
        of_role = test.part((test.roles == role) & (test.labels > 0))
        assert set(zip(of_role.labels.tolist(), of_role.cameras.tolist(), strict=True)) == every


def test_other_sizes_of_made_up_people():
    data = synthetic_people.read(DataConfig(dataset="synthetic-people", image_size="20x12"))
    assert (data.image_shape, data.test.images.shape[1:]) == ((3, 20, 12),) * 2


def test_which_data_sets_are_searches_is_known_without_reading_them():
    assert set(SEARCHED) < set(READERS)
    for name in ("synthetic", "synthetic-people"):
        dataset = load_dataset(DataConfig(dataset=name), 0)
        assert isinstance(dataset.test, Search) == (name in SEARCHED)


def own():
    data = synthetic_people.read(DataConfig())
    return data.__class__(**{**vars(data), "test": data.test.part(data.test.cameras == 1)})


def test_a_search_in_which_nobody_can_be_found_is_refused():
    with pytest.raises(
        ConfigError, match="has nobody in test who is looked for and was seen by another"
    ):
        load_dataset(DataConfig(dataset=own), 0)


def test_what_can_be_analysed():
    student = build_student(
        "resnet8+exits", num_classes=32, image_shape=(3, 32, 16), mean=(0.5,) * 3, std=(0.5,) * 3,
        seed=0, student=0,
    )  # fmt: skip
    dataset = load_dataset(DataConfig(dataset="synthetic-people"), 0)

    class Nowhere:
        metrics = Path("there is none")

    run = LoadedRun(
        (student,) * 3, dataset, "run", Nowhere(), False, (0, 1, 2), ("resnet8",) * 3, {}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cohort.analysis.analyse.load_teachers", lambda folder, trust_code: ())
        wants = lacking(run)
    reason = "test images of the classes that are learned"
    assert wants == dict.fromkeys(OF_CLASSES, reason)
