"""Small studies for unit tests, made without a file."""

from ray.tune.experiment import Trial

from cohort.tuning.axes import Grid
from cohort.tuning.report import Report
from cohort.tuning.study import Study


def make_study(**changes):
    """Three values of k, one seed, test_accuracy."""
    settings = {
        "name": "small",
        "command": "launch_cohort",
        "space": {"k": Grid((1, 2, 3))},
        "seeds": (0,),
        "metric": "test_accuracy",
        "mode": "max",
        "report": Report(metrics=("test_accuracy",)),
    }
    return Study(**settings | changes)


def make_trial(name, **config):
    """A trial of Ray Tune's that nothing runs, with a spec of this name."""
    return Trial("stub", trial_id=name, stub=True, config={"trial": spec_dict(name)} | config)


def spec_dict(name, **values):
    labels = {"k": 2}
    return {
        "name": name,
        "command": "launch_cohort",
        "labels": labels,
        "seed": 0,
        "values": labels | values,
    }


def result(epoch, value, **more):
    """What a trial reports after an epoch."""
    step = int(10 * epoch)
    return {"step": step, "epoch": epoch, "test_accuracy": value, "total_epochs": 9} | more
