"""Records that are damaged end the analysis of agreement in a sentence."""

import pytest

from cohort.analysis.analyses import agreement
from cohort.errors import ConfigError
from cohort.run.folder import RunFolder
from tests.support.fake_run import record, write_run


def test_an_agreement_that_is_no_number_is_named(tmp_path):
    path = write_run(tmp_path / "run", records=[record(4, "ensemble", 0.5, agreement="x")])
    run = type("Run", (), {"folder": RunFolder(path)})
    with pytest.raises(ConfigError, match=r"metrics.jsonl is damaged: agreement is 'x'"):
        agreement.told(run)
