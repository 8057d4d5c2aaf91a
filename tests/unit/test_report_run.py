"""The page of a run says what its files say, whatever state these are in, and nothing that they are not."""

import errno
import json
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from cohort import CohortConfig, ConfigError
from cohort.config_file import to_yaml
from cohort.report import write
from cohort.report.options import ReportOptions
from cohort.report.page import render
from cohort.report.reading import read_run
from cohort.report.run_part import run_part
from cohort.run.folder import RunFolder
from cohort.runtime.config import resolve
from tests.support.fake_run import VERSIONS, record, student, write_run

EVIL = "<script>alert(1)</script>&\"'$x_1$"
MEASURED = [
    {"loss": 2.0, "ce": 1.5, "kl": 0.5, "entropy": 0.25},
    {"loss": 4.0, "ce": 2.5, "kl": None, "entropy": 0.75},
]
RECORDS = [record(step, k, 0.5, "train", **MEASURED[k]) for step in (4, 8) for k in (0, 1)] + [
    record(8, k, 0.25 + k / 2, nll=1.0 + k) for k in (0, 1)
]
RECORDS.append(record(8, "ensemble", 0.75, nll=0.5))
FEW = [record(8, k, 0.25, "train", loss=1.0) for k in (0, 1)]
HOSTS = [
    {"students": [0], "busy_seconds_per_epoch": 1.0, "wait_seconds_per_epoch": 3.0},
    {"students": [1], "busy_seconds_per_epoch": 4.0, "wait_seconds_per_epoch": 0.0},
]


class Page(HTMLParser):
    """The text of a page, its tags, and every attribute."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags, self.attributes = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def fake(path, *, config=None, **more):
    """A finished run of two students, unless told otherwise."""
    summary = {
        "status": "finished",
        "records": RECORDS,
        "students": [student(0, 0.25), student(1, 0.75)],
        "ensemble": {"test_accuracy": 0.75},
    }
    run = write_run(path, **summary | more)
    settings = resolve(CohortConfig(**{"exchange": "in_process", "epochs": 2} | (config or {})))
    (run / "config.yaml").write_text(to_yaml(settings))
    return run


def part_of(run, *, curves=False, against=None):
    other = None if against is None else read_run(RunFolder(against), against.name)
    return run_part(read_run(RunFolder(run), run.name), other, curves=curves)


def tables(part):
    """Rows by the table's name."""
    sections = part.sections
    return {t.name: list(t.rows) for s in sections for t in (*s.tables, *s.folded)}


def headings(part, name):
    found = [t for s in part.sections for t in s.tables if t.name == name]
    return [heading.text for heading in found[0].headings]


def test_students_and_ensemble_beside_those_alone(tmp_path):
    run = fake(tmp_path / "run")
    write_run(run / "alone", status="finished", students=[student(0, 0.2), student(1, 0.8)])
    part = part_of(run)
    shown = [
        dict(zip(headings(part, "students"), row, strict=True)) for row in tables(part)["students"]
    ]
    assert [(row["student"], row["accuracy %"]) for row in shown] == [
        ("0", "25.00"), ("1", "75.00"), ("ensemble", "75.00"), ("0 alone", "20.00"), ("1 alone", "80.00"),
    ]  # fmt: skip
    assert [row["vs alone"] for row in shown[:3]] == ["+5.00", "-5.00", "–"]
    assert part.line.startswith("A cohort of 2, teacher peers, resnet8 on digits, seed 0, 8 steps")


def test_another_run_is_the_baseline_that_was_asked_for(tmp_path):
    other = fake(tmp_path / "other", students=[student(0, 0.5)])
    part = part_of(fake(tmp_path / "run"), against=other)
    rows = [
        dict(zip(headings(part, "students"), row, strict=True)) for row in tables(part)["students"]
    ]
    assert rows[0]["vs (other)"] == "-25.00"
    assert rows[3]["student"] == "0 (other)"


def test_where_the_time_goes_and_who_waits(tmp_path):
    times = [{"what": "training", "seconds": 0.75}, {"what": "evaluation", "seconds": 0.3}]
    part = part_of(fake(tmp_path / "run", times=times, hosts=HOSTS))
    assert tables(part)["times"] == [
        ("training", "0.8", "50.0"), ("evaluation", "0.3", "20.0"), ("other", "0.4", "30.0"),
    ]  # fmt: skip
    assert tables(part)["hosts"] == [
        ("student 0", "1.000", "3.000", "75.0"), ("student 1", "4.000", "0.000", "0.0"),
    ]  # fmt: skip
    (section,) = [s for s in part.sections if s.title == "Where the time goes"]
    assert section.paragraphs == ["Student 0 waits 3.0 s an epoch for student 1."]


def test_what_a_process_computes_is_divided_where_that_was_measured(tmp_path):
    parts = {
        f"{part}_seconds_per_epoch": seconds for part, seconds in (("batch", 0.25), ("learn", 0.5))
    }
    part = part_of(fake(tmp_path / "run", hosts=[HOSTS[0] | parts, HOSTS[1]]))
    assert headings(part, "hosts") == [
        "process of", "batches", "learns", "computes", "waits", "waits %",
    ]  # fmt: skip
    assert tables(part)["hosts"] == [
        ("student 0", "0.250", "0.500", "1.000", "3.000", "75.0"),
        ("student 1", "–", "–", "4.000", "0.000", "0.0"),
    ]


def test_what_happened_stands_on_a_time_line(tmp_path):
    event = {"time": 90.0, "phase": "event", "step": 4, "epoch": 1.0, "text": EVIL}
    part = part_of(fake(tmp_path / "run", records=[*RECORDS, event]))
    assert tables(part)["events"] == [("1", "0:01:30", "1970-01-01 00:01:30", "4", EVIL)]


def test_a_page_needs_nothing_else_and_runs_nothing(tmp_path, monkeypatch):
    """Nor does what names, networks, errors, versions and analyses of a run are called."""
    monkeypatch.chdir(tmp_path)
    name = EVIL.replace("/", "|")
    run = fake(
        tmp_path / name, students=[student(0, 0.5, model=EVIL)], error=EVIL, status="failed",
        versions=VERSIONS | {EVIL: EVIL}, records=FEW, hosts="<b>", times=[{"what": EVIL, "seconds": 1.0}],
    )  # fmt: skip
    analysed(run, title=EVIL, caption=EVIL)
    other = fake(tmp_path / "other", config={"seed": 1})
    html = render([part_of(run, curves=True), part_of(other)], title=EVIL)
    page = Page(html)
    assert not {"script", "link", "b", "iframe"} & {*page.tags}
    text = "".join(page.text)
    assert text.count("alert(1)") >= 6
    addresses = [value for key, value in page.attributes if key in ("href", "src", "xlink:href")]
    assert addresses
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in addresses)
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    named = [value for key, value in page.attributes if key == "id"]
    assert len(named) == len(set(named)), "a name stands for two things"
    used = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', html))
    assert {a or b for a, b in used} <= {*named}, "something refers to nothing"
    assert "currentColor" in html
    assert "epoch</text>" in html, "text is no text any more"
    assert not re.search('#0072b2(?=[;"])', html.partition("</style>")[2]), (
        "not the page's own colour"
    )


def analysed(
    run, *, title="Diversity", caption="a band", figure="diversity", table="diversity.csv"
):
    folder = run / "analysis"
    folder.mkdir()
    (folder / "diversity.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "diversity.csv").write_text("bin,kl\nlow,0.123456789\n")
    analysis = {"title": title, "table": table, "figures": {figure: caption}}
    (folder / "index.json").write_text(
        json.dumps({"format": 1, "analyses": {"diversity": analysis}})
    )


def test_analyses_are_shown_with_their_captions(tmp_path):
    run = fake(tmp_path / "run")
    analysed(run)
    (section,) = [s for s in part_of(run).sections if s.title == "Analyses"]
    ((picture,), (table,)) = section.pictures, section.folded
    assert (picture.title, picture.caption) == ("Diversity", "a band")
    assert (table.rows, [h.right for h in table.headings]) == ([("low", "0.12346")], [False, True])
    assert table.data == [{"bin": "low", "kl": "0.123456789"}]


@pytest.mark.parametrize("index", ["", "[]", '{"format": 9, "analyses": {}}', '{"analyses": 3}'])
def test_a_damaged_index_of_analyses_is_said(tmp_path, index):
    run = fake(tmp_path / "run")
    analysed(run)
    (run / "analysis" / "index.json").write_text(index)
    part = part_of(run)
    assert "index.json" in part.lacking[0]
    assert "students" in tables(part)


def test_an_index_leads_nowhere_else(tmp_path):
    run = fake(tmp_path / "run")
    (tmp_path / "secret.svg").write_text("<svg/>")
    analysed(run, figure="../../secret", table="missing.csv")
    part = part_of(run)
    assert [text.split(" cannot")[0] for text in part.lacking] == [
        "'../../secret.svg' of analysis/index.json", "'missing.csv' of analysis/index.json",
    ]  # fmt: skip


def test_a_link_beside_an_index_is_not_followed(tmp_path):
    run = fake(tmp_path / "run")
    (tmp_path / "secret").write_text("<svg>secret</svg>")
    analysed(run)
    for name in ("diversity.svg", "diversity.csv"):
        (run / "analysis" / name).unlink()
        (run / "analysis" / name).symlink_to(tmp_path / "secret")
    part = part_of(run)
    assert len(part.lacking) == 2
    assert not [s for s in part.sections if s.title == "Analyses"]


@pytest.mark.parametrize("table", [b"", b"a,a\n1,2\n", b"a\n" + b"x" * 200_000])
def test_a_damaged_table_of_an_analysis_leaves_its_figure(tmp_path, table):
    run = fake(tmp_path / "run")
    analysed(run)
    (run / "analysis" / "diversity.csv").write_bytes(table)
    part = part_of(run)
    (section,) = [s for s in part.sections if s.title == "Analyses"]
    assert (len(section.pictures), section.folded) == (1, [])
    assert "'diversity.csv' of analysis/index.json is no table" in part.lacking[0]


@pytest.mark.parametrize(
    "odd", [{"time": 10**400}, {"epoch": 10**400}, {"step": 10**400}, {"step": -1}, {"step": 4.5},
            {"student": 0.5}, {"student": True}, {"student": [0]}],
)  # fmt: skip
def test_a_record_of_no_step_or_student_is_a_damaged_line(tmp_path, odd):
    run = fake(tmp_path / "run", records=[*FEW, FEW[0] | odd])
    part = part_of(run, curves=True)
    assert part.lacking == ["1 damaged lines of metrics.jsonl are left out."]
    assert "Curves" in [section.title for section in part.sections]


@pytest.mark.parametrize("key", ["loss", "accuracy"])
def test_a_number_without_end_is_a_gap(tmp_path, key):
    part = part_of(fake(tmp_path / "run", records=[*FEW, FEW[0] | {key: 10**400}]), curves=True)
    assert not part.lacking
    assert render([part], title="")


def test_numbers_of_a_summary_without_end_are_dashes(tmp_path):
    huge = {"steps": 10**400, "wall_seconds": 10**400, "images_per_second": 10**400}
    part = part_of(fake(tmp_path / "run", **huge, students=[student(0, 0.5, parameters=10**400)]))
    assert "8 steps, in –, –" in part.line
    assert "–" in tables(part)["students"][0]


def written(tmp_path, *runs):
    """All files of a page, by their names."""
    options = ReportOptions(
        folders=tuple(map(str, runs)), output=str(tmp_path / "out" / "page.html"),
        figures=str(tmp_path / "out" / "figures"), tables=str(tmp_path / "out" / "tables"),
    )  # fmt: skip
    files = write.report(options)
    assert len(set(files)) == len(files)
    assert all(file.resolve().is_relative_to(tmp_path / "out") for file in files)
    return {file.name: file.read_bytes() for file in files}


HEAD = {"time": 0.0, "phase": "train", "step": 4, "epoch": 1.0, "student": 0}


def test_files_lie_where_they_are_to_whatever_measurements_are_called(tmp_path):
    odd = {
        "../../escaped": 1.0,
        "a/b": 2.0,
        "a b": 3.0,
        "nul\0": 4.0,
        "half \ud800": 5.0,
        "k" * 400: 6.0,
    }
    event = {"time": 9.0, "phase": "event", "step": 4, "epoch": 1.0, "text": "\x07 \ud800"}
    run = fake(tmp_path / "run", records=[HEAD | odd, event])
    (run / "config.yaml").write_text("k: 2\nnull: 2001-01-01\n")
    files = written(tmp_path, run)
    for name, content in files.items():
        if name.endswith(".svg"):
            ElementTree.fromstring(content)
    assert {"_.._escaped.svg", "a_b.svg", "a_b-2.svg", "nul_.svg"} <= files.keys()
    assert json.loads(files["settings-usual.json"])[-1] == {
        "key": "None", "value": "2001-01-01", "usual": None, "differs": False,
    }  # fmt: skip


def test_runs_whose_names_have_the_same_letters_share_no_file(tmp_path):
    runs = [
        fake(tmp_path / name, records=[], config={"seed": seed}) for seed, name in enumerate("äö")
    ]
    files = written(tmp_path, *runs)
    assert {"_-students.csv", "_-students-2.csv"} <= files.keys()


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "notes.html"])
def test_no_page_takes_the_place_of_another_file(tmp_path, name):
    run = fake(tmp_path / "run")
    (run / "notes.html").write_text("<!doctype html>mine")
    with pytest.raises(ConfigError, match=r"--output .* exists already, and is no page"):
        ReportOptions(folders=(str(run),), output=str(run / name))
    page = str(run / "page.html")
    for _ in range(2):  # its own page it writes anew
        write.report(ReportOptions(folders=(str(run),), output=page))


@pytest.mark.parametrize("flag", ["figures", "tables"])
def test_no_figure_or_table_lies_among_a_run_s_own_files(tmp_path, flag):
    run = fake(tmp_path / "run")
    analysed(run)
    for folder in (run, run / "analysis"):
        with pytest.raises(ConfigError, match=rf"--{flag} is .* could be written over"):
            ReportOptions(folders=(str(run),), **{flag: str(folder)})


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(write, "atomic_write", full)
    with pytest.raises(ConfigError, match=r"page.html cannot be written: No space left on device"):
        write.report(
            ReportOptions(
                folders=(str(fake(tmp_path / "run")),), output=str(tmp_path / "page.html")
            )
        )


def spoil(run, how):
    metrics = run / "metrics.jsonl"
    match how:
        case "cut":
            metrics.write_text(metrics.read_text() + '{"time": 1.0, "pha')
        case "damaged":
            metrics.write_text('[1]\n{"phase": "test"}\n' + metrics.read_text())
        case "no metrics":
            metrics.unlink()
        case "no summary":
            (run / "summary.json").unlink()
        case "odd summary":
            (run / "summary.json").write_text(
                '{"status": "finished", "students": [{"student": 0, "exits": 3}]}'
            )
        case "no config":
            (run / "config.yaml").write_text("a: [")
        case "no numbers":
            (run / "config.yaml").write_text("k: {}\nseed: x\nepochs: many\ndataset: [3]\n")
        case "data":
            (run / "data.json").write_text("{}")


SPOILT = {
    "cut": "The last line of metrics.jsonl is cut",
    "damaged": "2 damaged lines of metrics.jsonl are left out",
    "no metrics": "No curves: ",
    "no summary": "No summary.json: the run has not ended",
    "odd summary": "No table of results",
    "no config": "No configuration: ",
    "no numbers": None,
    "data": "No description of the data: ",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_broken_run_gives_a_page_with_what_there_is(tmp_path, how):
    run = fake(tmp_path / "run")
    whole = tables(part_of(run))
    spoil(run, how)
    part = part_of(run)
    if SPOILT[how]:
        (said,) = part.lacking
        assert said.startswith(SPOILT[how])
    lost = {"no summary": {"students", "versions"}, "odd summary": {"students", "versions"}}
    lost |= {"no config": {"settings", "settings-usual"}}
    assert whole.keys() - tables(part).keys() == lost.get(how, set())
    assert render([part], title="")


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is neither the folder of a run.*nor that of a study"):
        write.report(ReportOptions(folders=(str(tmp_path),), output=str(tmp_path / "page.html")))


def watched(tmp_path, run):
    return ReportOptions(folders=(str(run),), output=str(tmp_path / "page.html"), watch=True)


def test_watching_writes_until_the_run_has_ended(tmp_path, monkeypatch):
    run, page = fake(tmp_path / "run", records=[]), tmp_path / "page.html"
    summary = (run / "summary.json").rename(tmp_path / "kept")
    seen, told = [], []

    def sleep(seconds):
        seen.append('http-equiv="refresh"' in page.read_text())
        if len(seen) == 2:
            summary.rename(run / "summary.json")

    files = write.report(watched(tmp_path, run), told.append, sleep)
    assert (seen, files, len(told)) == ([True, True], [page], 1)
    assert 'http-equiv="refresh"' not in page.read_text()
    assert "finished</span>" in page.read_text()


def test_whoever_stops_watching_keeps_a_page_at_rest(tmp_path):
    run, page = fake(tmp_path / "run", status=None, records=[]), tmp_path / "page.html"

    def sleep(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write.report(watched(tmp_path, run), lambda text: None, sleep)
    assert 'http-equiv="refresh"' not in page.read_text()


def test_a_watched_run_that_is_removed_leaves_a_page_at_rest(tmp_path):
    run, page = fake(tmp_path / "run", status=None, records=[]), tmp_path / "page.html"
    with pytest.raises(ConfigError, match="is neither the folder of a run"):
        write.report(watched(tmp_path, run), lambda text: None, lambda seconds: shutil.rmtree(run))
    assert 'http-equiv="refresh"' not in page.read_text()
