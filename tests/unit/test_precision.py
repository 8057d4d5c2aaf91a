"""--precision: torch's settings inside a run and after it, what sees autocast, and what is refused."""

import pytest
import torch

from cohort.analysis.evaluate import evaluate_run
from cohort.errors import ConfigError
from cohort.learning.precision import check_device, in_precision
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.in_process import InProcessCohort
from tests.support.learners import CPU, plan_of
from tests.support.learners import digits as digits
from tests.support.ods_runs import job
from tests.support.ods_runs import teachers as teachers

backends = torch.backends
cudnn, mkldnn, matmul = backends.cudnn, backends.mkldnn, backends.cuda.matmul


def settings():
    """All that torch says of float32 products; of those that it refuses to say, that it does."""
    asked = {
        "matmul.allow_tf32": lambda: matmul.allow_tf32,
        "cudnn.allow_tf32": lambda: cudnn.allow_tf32,
        "matmul_precision": torch.get_float32_matmul_precision,
        "generic": lambda: backends.fp32_precision,
        "cudnn": lambda: cudnn.fp32_precision,
        "cudnn.conv": lambda: cudnn.conv.fp32_precision,
        "cudnn.rnn": lambda: cudnn.rnn.fp32_precision,
        "cuda.matmul": lambda: matmul.fp32_precision,
        "mkldnn.conv": lambda: mkldnn.conv.fp32_precision,
        "mkldnn.matmul": lambda: mkldnn.matmul.fp32_precision,
    }
    return {name: answer(ask) for name, ask in asked.items()}


def answer(ask):
    try:
        return ask()
    except RuntimeError:
        return "mixed"


@pytest.fixture(autouse=True)
def untouched():
    """torch as it is when it is imported, before and after each test."""
    with in_precision("fp32"):
        yield


def by_default():
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = True


def by_old_settings():
    torch.set_float32_matmul_precision("medium")
    cudnn.allow_tf32 = False


def by_new_settings():
    by_default()
    matmul.fp32_precision = "tf32"
    cudnn.conv.fp32_precision = "ieee"


def for_all(value="tf32"):
    by_default()
    for operation in (matmul, cudnn.conv, cudnn.rnn, mkldnn.conv, mkldnn.matmul):
        operation.fp32_precision = "none"
    backends.fp32_precision = value


@pytest.fixture
def nothing_for_all():
    yield
    backends.fp32_precision = "none"


USERS = (by_default, by_old_settings, by_new_settings, for_all)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("user", USERS, ids=lambda user: user.__name__)
def test_a_process_has_a_precision_and_gets_its_own_back(user, precision, nothing_for_all):
    user()
    before = settings()
    with in_precision(precision):
        inside = settings()
    assert settings() == before
    rounded = precision == "tf32"
    assert inside["matmul.allow_tf32"] is inside["cudnn.allow_tf32"] is rounded
    for operation in ("cudnn.conv", "cudnn.rnn", "cuda.matmul"):
        assert inside[operation] == ("tf32" if rounded else "ieee")
    assert inside["mkldnn.conv"] == inside["mkldnn.matmul"] == "ieee"


def test_what_followed_the_setting_of_all_still_does(nothing_for_all):
    for_all("tf32")
    with in_precision("fp32"):
        pass
    backends.fp32_precision = "ieee"
    assert settings()["cudnn.conv"] == settings()["mkldnn.matmul"] == "ieee"


def test_tf32_is_refused_where_there_is_none(monkeypatch):
    for precision in ("fp32", "bf16"):
        check_device(precision, CPU)
    with pytest.raises(
        ConfigError, match=r"--precision is tf32, which only a GPU has, .* on CPU; use"
    ):
        check_device("tf32", CPU)
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
    check_device("fp32", torch.device("cuda"))
    with pytest.raises(
        ConfigError, match="--precision is tf32, which Tesla V100 does not have; use"
    ):
        check_device("tf32", torch.device("cuda"))


# Training and evaluation


class Watched(torch.nn.Module):
    """A linear layer that remembers how it was called: in training, under autocast, with which products."""

    def __init__(self, num_classes):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
        self.seen = []

    def forward(self, x):
        state = self.training, torch.is_autocast_enabled("cpu"), cudnn.conv.fp32_precision
        self.seen.append(state)
        return self.layers(x)


@pytest.mark.parametrize(
    ("precision", "training"),
    [
        ("fp32", (True, False, "ieee")),
        ("tf32", (True, False, "tf32")),
        ("bf16", (True, True, "ieee")),
    ],
)
def test_whatever_a_cohort_trains_in_it_is_evaluated_in_fp32(digits, precision, training):
    built = []

    def watched(num_classes):
        built.append(Watched(num_classes))
        return built[-1]

    by_default()
    cohort = InProcessCohort(
        [watched], plan_of(digits, precision=precision), digits, MutualLearning(),
        sequential=False, threads=1, device=CPU,
    )  # fmt: skip
    network = built[-1]
    network.seen.clear()
    cohort.advance(0, 2, lambda student, records: None, lambda: False)
    assert network.seen == [training] * 2
    network.seen.clear()
    cohort.answers("test")
    cohort.train_entropies()
    assert set(network.seen) == {(False, False, "ieee")}
    cohort.close()
    assert settings()["cudnn.conv"] == "tf32"


def test_what_evaluation_finds_of_a_bf16_job_is_what_the_job_found(teachers, tmp_path):
    """Members, student, and teachers, who teach in bf16; the process is the user's again."""
    by_old_settings()
    before = settings()
    run = job(tmp_path / "run", teachers, precision="bf16")
    assert settings() == before
    again = evaluate_run(run.run_dir, trust_code=True).summary
    assert settings() == before
    for name in ("students", "ensemble", "teachers", "teacher_diversity"):
        assert again[name] == run.summary[name], name
