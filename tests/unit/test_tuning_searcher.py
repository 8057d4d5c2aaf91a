"""Points become trials, and the trials' values those of points."""

import pytest
from ray.tune.experiment import Experiment
from ray.tune.search import Searcher, SearchGenerator

from cohort.tuning.on_ray.searcher import TrialSearcher
from cohort.tuning.space import Point
from cohort.tuning.trials import TrialSpec, points_of, trials_of
from tests.support.studies import make_study, result


class Source:
    """Hands out points, and remembers what it was told."""

    def __init__(self, points):
        self.left = list(points)
        self.told = []

    def ask(self):
        return self.left.pop(0) if self.left else None

    def tell(self, point, value):
        self.told.append((point.labels["k"], value))


def searcher_of(study, points=None, ended=None, stopping=lambda: False):
    source = Source(points_of(study) if points is None else points)
    return source, TrialSearcher(source, study, ended or {}, stopping)


def suggest_all(searcher):
    """Specs by the ids under which they were handed out, until there are no more."""
    found = {}
    while (config := searcher.suggest(str(len(found)))) != Searcher.FINISHED:
        assert list(config) == ["trial"]
        found[str(len(found))] = TrialSpec.from_dict(config["trial"])
    return found


def test_each_point_is_a_trial_per_seed_in_order():
    study = make_study(seeds=(4, 7))
    _, searcher = searcher_of(study)
    expected = [spec for point in points_of(study) for spec in trials_of(study, point)]
    assert list(suggest_all(searcher).values()) == expected
    assert len(expected) == 6


def test_a_point_is_told_its_mean_once_all_its_seeds_have_ended():
    source, searcher = searcher_of(make_study(seeds=(0, 1)))
    suggest_all(searcher)
    searcher.on_trial_complete("0", result(3, 0.5))
    searcher.on_trial_complete("2", result(9, 0.8, ended="finished"))
    assert source.told == []
    searcher.on_trial_complete("1", result(9, 0.75, ended="finished"))
    assert source.told == [(1, 0.625)]  # the first was stopped, and counts with its last value
    searcher.on_trial_complete("3", result(9, 0.9, ended="finished"))
    assert source.told[1:] == [(2, pytest.approx(0.85))]


FAILURES = {
    "by an error": {"error": True},
    "as it said": {"result": result(9, 0.9, ended="failed")},
    "without a result": {},
    "without the metric": {"result": {"epoch": 1, "step": 10}},
    "with a value that is no number": {"result": result(1, float("nan"))},
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_point_of_which_a_trial_failed_has_no_value(failure):
    source, searcher = searcher_of(make_study(seeds=(0, 1)))
    suggest_all(searcher)
    searcher.on_trial_complete("0", result(9, 0.5, ended="finished"))
    searcher.on_trial_complete("1", **failure)
    assert source.told == [(1, None)]


def test_trials_that_ended_before_are_not_repeated_and_their_values_count():
    study = make_study(seeds=(0, 1))
    (a0, a1), (b0, b1), (c0, c1) = (trials_of(study, point) for point in points_of(study))
    ended = {a0.name: 0.5, a1.name: 0.7, b0.name: 0.25, c1.name: None}  # c1 failed
    source, searcher = searcher_of(study, ended=ended)
    assert list(suggest_all(searcher).values()) == [b1, c0]
    assert source.told == [(1, pytest.approx(0.6))]
    searcher.on_trial_complete("0", result(9, 0.75, ended="finished"))
    searcher.on_trial_complete("1", result(9, 0.75, ended="finished"))
    assert source.told[1:] == [(2, 0.5), (3, None)]


def test_a_study_of_which_all_trials_have_ended_is_finished_at_once():
    study = make_study()
    names = {spec.name for point in points_of(study) for spec in trials_of(study, point)}
    source, searcher = searcher_of(study, ended=dict.fromkeys(names, 0.5))
    assert searcher.suggest("a") == Searcher.FINISHED
    assert source.told == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_no_more_trials_than_may_run_are_handed_out_and_no_source_is_asked_ahead():
    source, searcher = searcher_of(make_study(max_concurrent=2))
    assert searcher.suggest("a")["trial"]["labels"] == {"k": 1}
    assert searcher.suggest("b")["trial"]["labels"] == {"k": 2}
    assert searcher.suggest("c") is None
    assert len(source.left) == 1
    searcher.on_trial_complete("a", error=True)
    assert searcher.suggest("c")["trial"]["labels"] == {"k": 3}
    searcher.on_trial_complete("b", error=True)
    assert searcher.suggest("d") == Searcher.FINISHED


def test_a_point_that_comes_twice_is_trained_once_and_told_twice():
    point = Point({"k": 2}, {"k": 2})
    source, searcher = searcher_of(make_study(), [point, point])
    assert len(suggest_all(searcher)) == 1
    searcher.on_trial_complete("0", result(9, 0.5, ended="finished"))
    assert source.told == [(2, 0.5), (2, 0.5)]


def test_an_end_that_tune_tells_twice_counts_once():
    source, searcher = searcher_of(make_study())
    suggest_all(searcher)
    searcher.on_trial_complete("0", result(9, 0.5, ended="finished"))
    searcher.on_trial_complete("0", error=True)
    assert source.told == [(1, 0.5)]


def test_an_interrupted_study_hands_out_no_more():
    interrupted = []
    source, searcher = searcher_of(make_study(), stopping=lambda: bool(interrupted))
    assert searcher.suggest("a")["trial"]["labels"] == {"k": 1}
    interrupted.append(True)
    assert searcher.suggest("b") == Searcher.FINISHED
    assert len(source.left) == 2


def train_nothing(config):
    """A trainable that no test starts."""


@pytest.fixture
def generator(tmp_path):
    """What Tune makes of the searcher when num_samples is -1."""
    _, searcher = searcher_of(make_study(seeds=(0, 1), max_concurrent=4))
    generator = SearchGenerator(searcher)
    generator.add_configurations(
        Experiment(
            "study", train_nothing, num_samples=2**63 - 1, storage_path=str(tmp_path / "tune")
        )
    )
    return generator


def test_tune_makes_all_trials_and_no_more(generator):
    trials = [generator.next_trial() for _ in range(4)]
    assert generator.next_trial() is None
    assert not generator.is_finished()
    for trial in trials[:3]:
        generator.on_trial_complete(trial.trial_id, result=result(9, 0.5, ended="finished"))
    trials += [generator.next_trial() for _ in range(2)]
    assert generator.next_trial() is None
    assert generator.is_finished()
    labels = [
        (trial.config["trial"]["labels"]["k"], trial.config["trial"]["seed"]) for trial in trials
    ]
    assert labels == [(k, seed) for k in (1, 2, 3) for seed in (0, 1)]


def test_tune_may_save_the_searcher_which_writes_nothing(generator, tmp_path, caplog):
    folder = tmp_path / "saved"
    folder.mkdir()
    generator.save_to_dir(str(folder), "session")
    assert [path.name for path in folder.iterdir()] == ["search_gen_state-session.json"]
    assert "not implemented" not in caplog.text
