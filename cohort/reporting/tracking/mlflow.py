"""An MLflow run: in the folder of ours, or where MLFLOW_TRACKING_URI says."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from cohort.reporting.records import Record
from cohort.reporting.tracking.tracker import About, flat, remember, remembered, scalars

AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}
"""As many as a server takes in one call."""
LONGEST = 500
"""Characters of a value that every version and server takes."""
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
EXPERIMENT = "cohort"

T = TypeVar("T")


class MLflow:
    """A ``Tracker`` that writes into one run of MLflow.

    Args:
        client: of a store.
        run: the run's id there.
    """

    def __init__(self, client: Any, run: str) -> None:
        self._client = client
        self._run = run

    @classmethod
    def open(cls, about: About) -> Self:
        """The run that this one began before, if the store still has it, else a new one."""
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for chatty in ("mlflow", "alembic", "urllib3"):  # which tells of every try
            logging.getLogger(chatty).setLevel(logging.ERROR)
        uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
        if not uri:
            folder = (about.folder / "mlflow").absolute()
            if "?" in str(folder):
                raise ValueError(
                    f"{folder} has a '?', behind which an address of a database has options"
                )
            folder.mkdir(exist_ok=True)
            uri, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
        client = MlflowClient(tracking_uri=uri)
        if known := remembered(about.folder, "mlflow").get("run"):
            with contextlib.suppress(MlflowException):
                return cls(client, known)._gone_on_with(about)
        run = client.create_run(_experiment(client, artifacts), run_name=about.name)
        remember(about.folder, "mlflow", {"run": run.info.run_id})
        begun = cls(client, run.info.run_id)
        begun._params(dict(flat(about.config)))
        return begun

    def write(self, records: Sequence[Record]) -> None:
        """Write each number of the records at its step and time."""
        from mlflow.entities import Metric

        metrics = (
            Metric(name, value, int(1000 * record["time"]), record["step"])
            for record in records
            for name, value in scalars(record)
        )
        self._log("metrics", metrics)

    def rewind(self, step: int) -> None:
        """Do nothing: MLflow forgets no number, and has those of repeated steps twice."""

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Write the summary as tags, ``summary.ensemble.test_accuracy`` and the like."""
        self._tags({f"summary.{name}": value for name, value in flat(summary)})

    def close(self, status: str) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._run, STATUS[status])

    def _gone_on_with(self, about: About) -> Self:
        """Raises MlflowException if the store does not have the run."""
        before = self._client.get_run(self._run).data.params
        self._client.update_run(self._run, status="RUNNING")
        now = {name: _brief(value) for name, value in flat(about.config)}
        # A param never changes; what was extended is told beside it.
        changed = {name: value for name, value in now.items() if before.get(name) != value}
        self._tags({f"resumed.{name}": value for name, value in changed.items()})
        return self

    def _params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._log("params", (Param(name, _brief(value)) for name, value in values.items()))

    def _tags(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._log("tags", (RunTag(name, _brief(value)) for name, value in values.items()))

    def _log(self, what: str, values: Iterable[Any]) -> None:
        for some in _batches(list(values), AT_ONCE[what]):
            self._client.log_batch(self._run, **{what: some})


def _brief(value: Any) -> str:
    return str(value)[:LONGEST]


def _experiment(client: Any, artifacts: str | None) -> str:
    """The id of MLFLOW_EXPERIMENT_NAME, or else ``cohort``, which is made if it is not there."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=artifacts))


def _batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
