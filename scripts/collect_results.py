"""Makes scripts/results/studies and the README's table: python scripts/collect_results.py [STUDY_DIR …]

Of each study's folder its file, summary and figure are copied, with the commit and the day of its last
trial. Then studies/README.md is written from all that have been collected, and the README's table from
headline.yaml, whose rows name a study's point or a benchmark's file: no figure is written by hand.
"""

import datetime
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cohort.files import atomic_write, to_json
from cohort.reporting.records import read_metrics
from cohort.tuning.file.load import load_study, to_yaml
from cohort.tuning.folder import StudyFolder
from cohort.tuning.results.naming import value_text, with_unit
from cohort.tuning.results.summary import cells
from cohort.tuning.results.write import write_results
from cohort.tuning.space import labels_of
from cohort.tuning.state import known_trials
from cohort.tuning.study import Study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "scripts" / "results"
BEGIN, END = "<!-- results: scripts/collect_results.py -->", "<!-- end of results -->"
HEADINGS = ("measured here", "without", "with", "difference", "day", "commit")
Row = Mapping[str, Any]


def collect(study_dir: Path, studies: Path) -> Path:
    """Copy what a study came to into ``studies``/NAME; finished or not, what there is."""
    study = load_study(study_dir / "study.yaml")
    folder = StudyFolder(study_dir)
    results = write_results(study, folder, known_trials(study, folder))
    place = studies / study_dir.name
    place.mkdir(parents=True, exist_ok=True)
    if not _is_same(
        study, place / "study.yaml"
    ):  # which may have a head that tells what it is about
        written = ROOT / "tune_configs" / f"{study_dir.name}.yaml"
        shutil.copyfile(written if _is_same(study, written) else folder.study, place / "study.yaml")
    for source, name in (
        (folder.summary_csv, "summary.csv"),
        (folder.figure.with_suffix(".svg"), "figure.svg"),
    ):
        if source.is_file():
            shutil.copyfile(source, place / name)
    ended = results.trials[results.trials["status"] == "finished"]
    commits = ended.get("version.commit", ())
    origin = {
        "commits": sorted({each[:7] for each in commits if each}),
        "day": max(map(_day, (folder.trials / name for name in ended["trial"])), default=None),
        "finished": len(ended),
        "trials": len(results.trials),
    }
    atomic_write(place / "origin.json", to_json(origin, indent=1))
    return place


def _is_same(study: Study, file: Path) -> bool:
    """Whether a file has this study, whatever it is called."""
    return file.is_file() and to_yaml(load_study(file)) == to_yaml(study)


def _day(run_dir: Path) -> str:
    """On which a run ended."""
    last = max(record["time"] for record in read_metrics(run_dir / "metrics.jsonl"))
    return datetime.datetime.fromtimestamp(last, datetime.UTC).date().isoformat()


def studies_page(studies: Path) -> str:
    """Every collected study: how it is run again, and its table."""
    head = (
        "# Studies, and what they came to\n\nWritten by `scripts/collect_results.py`. Means ± standard "
        "errors over seeds; differences to the baseline, paired by seed, with their 95 % interval.\n"
    )
    places = sorted(each for each in studies.iterdir() if (each / "summary.csv").is_file())
    return head + "".join(map(_section, places))


def _section(place: Path) -> str:
    study, origin = load_study(place / "study.yaml"), _origin(place)
    summary = _summary(place)
    file = f"tune_configs/{place.name}.yaml"
    if not (ROOT / file).is_file():
        file = f"scripts/results/studies/{place.name}/study.yaml"
    dataset = (study.base or {}).get("dataset", "digits")
    data = "" if dataset in ("digits", "synthetic") else " --data-root data"
    lines = [
        f"\n## {place.name}\n",
        *_question(place / "study.yaml"),
        f"    python scripts/sweep.py {file} --study-dir studies/{place.name}{data}\n",
        f"{_when(origin)}; {origin['finished']} of {origin['trials']} trials finished.\n",
        *_table(study, summary),
    ]
    if (place / "figure.svg").is_file():
        lines.append(f"\n![{place.name}]({place.name}/figure.svg)")
    return "\n".join(lines) + "\n"


def _question(file: Path) -> list[str]:
    """The first paragraph of the comment at a study's head."""
    lines: list[str] = []
    for line in file.read_text("utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line[2:])
    return [*lines, ""] if lines else []


def _table(study: Study, summary: pd.DataFrame) -> Iterator[str]:
    names = list(labels_of(study.space))
    metrics = study.report.metrics
    compared = study.report.baseline is not None
    headings = [*names, "n"]
    for metric in metrics:
        headings += [with_unit(metric), *(["difference"] if compared else [])]
    yield _line(headings)
    yield "|" + "---|" * len(names) + "---:|" * (len(headings) - len(names))
    for row in summary.to_dict("records"):
        shown = [value_text(row[name]) for name in names]
        yield _line([*shown, row["n"], *(cell for m in metrics for cell in cells(study, m, row))])


def _line(shown: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, shown)) + " |"


def readme_table(rows: Sequence[Row], results: Path) -> str:
    """The README's table: a line for each row of headline.yaml."""
    lines = [_line(HEADINGS), "|---|---|---|---|---|---|"]
    for row in rows:
        make = _of_study if "study" in row else _of_benchmark
        lines.append(_line([row["what"], *make(row, results)]))
    return "\n".join(lines)


def _of_study(row: Row, results: Path) -> list[str]:
    """The baseline's mean, the point's, and their difference over seeds."""
    place = results / "studies" / row["study"]
    study, origin, summary = load_study(place / "study.yaml"), _origin(place), _summary(place)
    point = _only(summary, row["point"], place)
    baseline = _only(summary, {**row["point"], **(study.report.baseline or {})}, place)
    without, with_ = (cells(study, row["metric"], each)[0] for each in (baseline, point))
    difference = cells(study, row["metric"], point)[1]
    return [without, with_, difference, origin["day"] or "", ", ".join(origin["commits"])]


def _only(summary: pd.DataFrame, point: Mapping[str, Any], place: Path) -> dict[str, Any]:
    found = [
        row
        for row in summary.to_dict("records")
        if all(value_text(row[key]) == value_text(value) for key, value in point.items())
    ]
    if len(found) != 1:
        raise SystemExit(f"{place}/summary.csv has {len(found)} rows of {point}, and one is wanted")
    return dict(found[0])


def _of_benchmark(row: Row, results: Path) -> list[str]:
    """Medians, and quartiles of the ratio, from the summary of a benchmark's file."""
    file = results / row["bench"]
    values = json.loads(file.read_text("utf-8"))

    def at(key: str) -> list[float]:
        found: list[float] = reduce(
            lambda part, name: part[name], row[key].split("."), values["summary"]
        )
        return found

    without, with_ = (f"{at(key)[1]:.3g}" for key in ("without", "with"))
    low, middle, high = at("ratio")
    ratio = f"× {middle:.3g} [{low:.3g}, {high:.3g}]"
    return [without, with_, ratio, values["date"][:10], values["commit"][:7]]


def _summary(place: Path) -> pd.DataFrame:
    return pd.read_csv(place / "summary.csv", dtype=None, keep_default_na=True)


def _origin(place: Path) -> dict[str, Any]:
    origin: dict[str, Any] = json.loads((place / "origin.json").read_text("utf-8"))
    return origin


def _when(origin: Mapping[str, Any]) -> str:
    commits = ", ".join(origin["commits"]) or "not known"
    return f"{origin['day'] or 'Not ended'}, commit {commits}"


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} lacks the marks {BEGIN} and {END}")
    atomic_write(page, f"{before}{BEGIN}\n{text}\n{END}{after}")


def main(study_dirs: Sequence[str], *, tell: Callable[[str], None] = print) -> None:
    """Collect, and write both pages."""
    for study_dir in study_dirs:
        tell(str(collect(Path(study_dir), RESULTS / "studies")))
    page = RESULTS / "studies" / "README.md"
    atomic_write(page, studies_page(RESULTS / "studies"))
    rows = yaml.safe_load((RESULTS / "headline.yaml").read_text("utf-8"))
    put_between_marks(ROOT / "README.md", readme_table(rows, RESULTS))
    tell(f"{page}\n{ROOT / 'README.md'}")


if __name__ == "__main__":
    main(sys.argv[1:])
