"""`--compile`: who is missing for it, and that it learns the same."""

from functools import partial

import pytest
import torch

from cohort.errors import ConfigError
from cohort.learning.compiling import check_machine, missing_compiler
from cohort.runtime.config import CohortConfig
from tests.support.learners import digits as digits
from tests.support.learners import learner_of, run, small


@pytest.mark.parametrize(
    ("there", "on_gpu", "missing"),
    [
        (["g++", "gcc", "triton"], False, None),
        (["g++", "gcc", "triton"], True, None),
        (["clang", "triton"], True, None),
        (["gcc", "triton"], False, "a C++ compiler (g++)"),
        (["g++", "triton"], True, "a C compiler (gcc or clang)"),
        (["g++", "gcc"], True, "the package triton"),
    ],
)
def test_what_is_missing(monkeypatch, there, on_gpu, missing):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: name if name in there else None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in there or None)
    assert missing_compiler(on_gpu=on_gpu) == missing
    config = CohortConfig(compile=True, capture="on" if on_gpu else "auto")
    if missing is None:
        check_machine(config, on_gpu=on_gpu)
        return
    with pytest.raises(ConfigError) as caught:
        check_machine(config, on_gpu=on_gpu)
    assert (
        str(caught.value)
        == f"--compile needs {missing}, which is not on this machine; leave it out"
    )


def test_a_compiled_student_learns_what_a_plain_one_does(digits, monkeypatch):
    """Traced as for a compiler, which would take half a minute; run by torch itself."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, compiled = (learner_of(digits, small, compile=flag) for flag in (False, True))
    for learner in (plain, compiled):
        run(learner, range(3))
    for mine, its in zip(plain.network.parameters(), compiled.network.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)
    assert plain.network.state_dict().keys() == compiled.network.state_dict().keys()
    learner = learner_of(digits, small)
    learner.restore(compiled.snapshot())  # a compiled student is saved as a plain one
    assert torch.equal(learner.answer_over(digits.test), compiled.answer_over(digits.test))
