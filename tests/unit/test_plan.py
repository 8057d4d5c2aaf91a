"""From a resolved config and a number of images to steps."""

import pytest

from cohort.config import DataConfig
from cohort.data.readers import digits
from cohort.errors import ConfigError
from cohort.learning import plan as module
from cohort.learning.plan import check_batch, plan_training
from cohort.runtime.config import CohortConfig, resolve


def plan(train_size=100, **options):
    options = {"batch_size": 10, "epochs": 5, **options}
    return plan_training(resolve(CohortConfig(**options)), train_size)


def test_warm_up_is_counted_in_steps():
    assert plan().warmup_steps == 0
    assert plan(warmup_epochs=2).warmup_steps == 20
    assert plan(warmup_epochs=0.25).warmup_steps == 2
    assert plan(warmup_epochs=4.9).warmup_steps == 49


def test_every_training_key_is_as_the_config_has_it():
    keys = {
        "optimizer": "adamw",
        "label_smoothing": 0.1,
        "clip_grad_norm": 2.0,
        "seed": 7,
        "threads": 3,
    }
    made = plan(**keys)
    assert {key: getattr(made, key) for key in keys} == keys
    assert (made.batch_size, made.lr) == (10, 0.05)  # the recipe's
    assert (made.steps_per_epoch, made.schedule_steps, made.total_steps) == (10, 50, 50)
    assert plan(steps=7).total_steps == 7


@pytest.mark.parametrize("epochs", [5, 7.5])
def test_a_warm_up_as_long_as_training_is_refused(epochs):
    message = rf"^--warmup-epochs is {epochs}; it must be less than --epochs, which is 5$"
    with pytest.raises(ConfigError, match=message):
        plan(warmup_epochs=epochs)


def test_a_batch_that_memory_does_not_hold_is_refused(monkeypatch):
    monkeypatch.setattr(module, "memory", lambda: 2**20)
    dataset = digits.read(DataConfig())  # of 8 x 8 pixels, which take 256 bytes
    check_batch(plan(10**4, batch_size=2**12), dataset)
    with pytest.raises(ConfigError, match=r"^--batch-size is 4097, of which the pictures alone"):
        check_batch(plan(10**4, batch_size=2**12 + 1), dataset)
