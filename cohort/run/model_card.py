"""README.md of a shared student: what it is, how it was trained, how good it is, how it is loaded."""

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import yaml

from cohort.config_file import read_config
from cohort.errors import ConfigError, brief
from cohort.learning.student_files import ModelCard
from cohort.reporting.formatting import is_number, number, percent
from cohort.reporting.records import Record, read_metrics
from cohort.run.data_card import read_data_card
from cohort.run.folder import RunFolder
from cohort.trust import code_of

OF_A_MACHINE = (
    *("data_root", "run_dir", "address", "log_to", "tensorboard", "teachers", "pretrained", "feed"),
    *("decoders", "threads", "gpus", "hang_after", "keep", "checkpoint_every", "download"),
    *("exchange", "on_failure", "max_failures", "capture", "compile", "log_every"),
    *("skip_broken", "baseline"),
)
"""Keys of a config that say where and how it ran, not what was learned; some are paths."""
SCORES = {"test_accuracy": "accuracy", "test_map": "mAP", "test_rank1": "rank 1"}
LOSSES = {"test_nll": "NLL (nat)", "test_brier": "Brier score", "test_ece": "ECE"}


class Method(NamedTuple):
    """How the student was trained."""

    tag: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a card tells."""

    card: ModelCard
    line: Mapping[str, Any]
    """Its measurements, as in summary.json."""
    why: str
    """A sentence on how it was chosen."""
    license: str | None
    config: Mapping[str, Any]
    tests: int
    """Images it was measured on; 0 if nobody wrote that down."""
    date: datetime.date
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls,
        folder: RunFolder,
        card: ModelCard,
        line: Mapping[str, Any],
        why: str,
        license: str | None,
    ) -> Self:
        """From the folder of a finished run. Raises ConfigError if its files are damaged."""
        _check_line(line, folder)
        data = read_data_card(folder)
        counts = {} if data is None else data.counts
        return cls(
            card=card,
            line=line,
            why=why,
            license=license,
            config={k: v for k, v in read_config(folder.config).items() if v is not None},
            tests=counts.get("queries", counts.get("test", 0)),
            date=_last_day(folder),
            versions=folder.read_summary().get("versions", {}),
        )


def measured(folder: RunFolder) -> list[Record]:
    """What the run measured. Raises ConfigError if that cannot be read."""
    try:
        return list(read_metrics(folder.metrics))
    except OSError as error:
        raise ConfigError(f"{folder.metrics} cannot be read: {error.strerror}") from error


def _last_day(folder: RunFolder) -> datetime.date:
    times = [record.get("time") for record in measured(folder)]
    last = max((time for time in times if is_number(time)), default=0.0)
    try:
        return datetime.datetime.fromtimestamp(last, datetime.UTC).date()
    except (OverflowError, OSError, ValueError) as error:
        raise ConfigError(
            f"{folder.metrics} is damaged: its time {last} is none that a calendar has"
        ) from error


def _check_line(line: Mapping[str, Any], folder: RunFolder) -> None:
    """Raise ConfigError for a measurement of a student that is none."""
    for key in ("parameters", *SCORES, *LOSSES):
        value = line.get(key)
        fits = is_number(value) and (key not in SCORES or 0 <= value <= 1)
        if value is not None and not fits:
            wanted = "a number from 0 to 1" if key in SCORES else "a number"
            raise ConfigError(
                f"{folder.summary} has {key} {brief(value)} of student {line.get('student')}; it must be "
                f"{wanted}"
            )


def readme(shared: Shared) -> str:
    """The text of README.md, with the head that hubs read."""
    head = yaml.safe_dump(_head(shared), sort_keys=False, allow_unicode=True)
    parts = [_title(shared), _results(shared), _loading(shared), _training(shared)]
    return f"---\n{head}---\n\n" + "\n".join(parts)


def _head(shared: Shared) -> dict[str, Any]:
    name = _dataset(shared)
    metrics = [
        {"type": written, "value": shared.line[key]}
        for key, written in SCORES.items()
        if shared.line.get(key) is not None
    ]
    task = {"type": "image-classification"}
    result = {"task": task, "dataset": {"name": name, "type": name}, "metrics": metrics}
    return {
        **({} if shared.license is None else {"license": shared.license}),
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", _method(shared.config).tag],
        "datasets": [name],
        "metrics": [metric["type"] for metric in metrics],
        "model-index": [{"name": f"{shared.card.network} on {name}", "results": [result]}],
    }


def _title(shared: Shared) -> str:
    channels, height, width = shared.card.image_shape
    parameters = number(shared.line.get("parameters"), ",d")
    licence = "" if shared.license else " No licence was named by who shared it."
    return (
        f"# {shared.card.network} on {_dataset(shared)}\n\n"
        f"A network that tells {len(shared.card.classes)} classes apart in images of {height} × {width} "
        f"pixels and {channels} channel{'s' * (channels > 1)}, with {parameters} parameters. "
        f"{_method(shared.config).sentence}\n\n{shared.why}{licence}\n"
    )


def _method(config: Mapping[str, Any]) -> Method:
    if "k" in config:
        k, teacher = config["k"], config.get("teacher")
        if teacher == "none":
            return Method("deep-ensemble", f"One of {k} networks, each of which learned alone.")
        return Method(
            "deep-mutual-learning",
            f"One of {k} networks that taught each other (teacher: {teacher}), after "
            "[Deep Mutual Learning](https://arxiv.org/abs/1706.00384).",
        )
    if "perturbation" in config:
        return Method(
            "ensemble-distillation",
            f"Distilled from an ensemble of networks (inputs: {config['perturbation']}), after "
            "[Diversity Matters When Learning From Ensembles](https://arxiv.org/abs/2110.14149).",
        )
    method = config.get("method")
    if method == "byot":
        paper = "[Be Your Own Teacher](https://arxiv.org/abs/1905.08094)"
        return Method(
            "self-distillation", f"Its exits learned from its deepest one, after {paper}."
        )
    return Method(f"method-{method}", f"Trained by the method `{method}`.")


def _results(shared: Shared) -> str:
    n = f"{shared.tests} test images" if shared.tests else "the test images"
    rows = [
        f"| {written} | {percent(shared.line[key], 2)} %{_error(key, shared)} |"
        for key, written in SCORES.items()
        if shared.line.get(key) is not None
    ]
    rows += [
        f"| {written} | {number(shared.line[key])} |"
        for key, written in LOSSES.items()
        if shared.line.get(key) is not None
    ]
    table = "\n".join(["| | |", "| --- | ---: |", *rows])
    return (
        f"## Results\n\n{table}\n\n"
        f"One training run (n = 1 seed), measured on {n} on {shared.date.isoformat()}; ± is the standard "
        "error over the images.\n"
    )


def _error(key: str, shared: Shared) -> str:
    """The standard error of a fraction of independent images; an average precision is none."""
    if key != "test_accuracy" or not shared.tests:
        return ""
    share = shared.line[key]
    return f" ± {100 * math.sqrt(share * (1 - share) / shared.tests):.2f}"


def _loading(shared: Shared) -> str:
    shape = ", ".join(map(str, shared.card.image_shape))
    code = code_of(shared.card.network)
    exits = " Of its exits it has the deepest." if "+exits" in shared.card.network else ""
    own = f" It needs the code `{code}`, which is not in this folder." if code else ""
    return f"""## How to load it

With nothing but PyTorch, from `model.pt2` (written by torch {shared.versions.get("torch", "")}), which gives
logits for pixels in [0, 1]; normalisation is part of the network.{exits}

```python
import json
from pathlib import Path

import torch

network = torch.export.load("model.pt2").module()
classes = json.loads(Path("model.json").read_text("utf-8"))["classes"]
pixels = torch.rand(2, {shape})  # float32 [B, C, H, W] with any B
posterior = network(pixels).softmax(-1)
print([classes[index] for index in posterior.argmax(-1)])
```

With `cohort` as a `torch.nn.Module`, from `model.safetensors` and `model.json`:{own}

```python
from cohort import load_student

student = load_student("."{", trust_code=True" if code else ""})
```
"""


def _training(shared: Shared) -> str:
    kept = {key: value for key, value in shared.config.items() if key not in OF_A_MACHINE}
    if _is_folder_of_teacher(shared):
        kept.pop("teacher", None)
    started = (
        "It started from other weights than random ones.\n\n"
        if "pretrained" in shared.config
        else ""
    )
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    versions = ", ".join(f"{name} {version}" for name, version in shared.versions.items())
    fence = "`" * (1 + max(2, *map(len, re.findall("`*", text))))  # no value closes the block
    return f"## How it was trained\n\n{started}{fence}yaml\n{text}{fence}\n\n{versions}\n"


def _is_folder_of_teacher(shared: Shared) -> bool:
    """Of a cohort, ``teacher`` is a word; of self-distillation, a path."""
    return "k" not in shared.config


def _dataset(shared: Shared) -> str:
    """Without the module of a data set of one's own."""
    return shared.card.dataset.rpartition(":")[2].strip("<>") or "unknown"
