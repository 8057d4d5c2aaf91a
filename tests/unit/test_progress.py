"""Progress: a live table on a terminal, plain lines elsewhere."""

import io
import re

import pytest
from rich.console import Console

from cohort.reporting.chronometer import Chronometer
from cohort.reporting.progress import Progress


class Clock:
    """Time that moves when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def rows(loss=1.234, students=(0, 1)):
    return [
        {
            "student": k,
            "model": "resnet8",
            "loss": loss,
            "ce": 1.1,
            "kl": 0.134,
            "accuracy": 0.6123,
            "images_per_second": 412.4,
        }
        for k in students
    ]


def plain(total=100, clock=None, **options):
    out = io.StringIO()
    chronometer = Chronometer(warmup_steps=2, clock=clock or Clock())
    console = Console(file=out, force_terminal=False, width=80)
    return out, Progress(total, 10, chronometer=chronometer, console=console, **options)


def live(total=100, width=100, **options):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=30, legacy_windows=False)
    chronometer = Chronometer(clock=Clock())
    return out, Progress(total, 10, chronometer=chronometer, console=console, **options)


def test_plain_line():
    clock = Clock()
    out, progress = plain(880, clock)
    with progress:
        for step, seconds in ((10, 5), (20, 5)):
            clock.now += seconds
            progress.update(step, rows())
    first, second = out.getvalue().splitlines()
    assert first.startswith("step 10/880 (1 %)  eta –  student 0: ")
    assert second == (
        "step 20/880 (2 %)  eta 0:07:10  "
        "student 0: loss 1.23 ce 1.10 kl 0.13 acc 61.2 %  412 img/s | "
        "student 1: loss 1.23 ce 1.10 kl 0.13 acc 61.2 %  412 img/s"
    )


def test_exits_are_for_the_records_only():
    shown = []
    for extra in ({}, {"hint": 0.1, "exits": {"ce": [2.0, 1.0], "accuracy": [0.1, 0.9]}}):
        for make in (plain, live):
            out, progress = make()
            with progress:
                progress.update(1, [row | extra for row in rows()])
            shown.append(out.getvalue())
    assert shown[:2] == shown[2:]


def test_plain_lines_come_now_and_then_but_first_and_last_always():
    clock = Clock()
    out, progress = plain(100, clock, interval=5.0)
    with progress:
        for step in range(1, 13):
            clock.now += 1
            progress.update(step, rows())
    steps = [line.split("/")[0] for line in out.getvalue().splitlines()]
    assert steps == ["step 1", "step 6", "step 11", "step 12"]


def test_the_last_line_is_not_shown_twice():
    out, progress = plain(1)
    with progress:
        progress.update(1, rows())
    progress.finish()
    assert out.getvalue().count("step 1/1 (100 %)") == 1


def test_a_run_that_fails_still_shows_where_it_was():
    out, progress = plain()

    def run():
        with progress:
            progress.update(1, rows())
            progress.update(7, rows())
            raise RuntimeError("a student died")

    with pytest.raises(RuntimeError, match="died"):
        run()
    assert "step 7/100" in out.getvalue().splitlines()[-1]


def test_plain_text_has_no_escapes_wrapping_or_markup():
    out, progress = plain()
    text = "student 1 was lost [red] " + "and found " * 20
    with progress:
        progress.notice(text)
    assert out.getvalue() == text + "\n"


def test_evaluations_are_shown_with_the_ensemble():
    out, progress = plain()
    tested = [
        {"student": 0, "accuracy": 0.9, "nll": 0.3456},
        {"student": "ensemble", "accuracy": 0.95},
    ]
    with progress:
        progress.evaluated(40, tested)
    expected = "step 40 test  student 0: acc 90.0 % nll 0.346 | ensemble: acc 95.0 % nll –\n"
    assert out.getvalue() == expected


def test_an_evaluation_on_another_split_says_so_and_has_a_column_of_its_own():
    out, progress = plain()
    progress.evaluated(40, [{"student": 0, "accuracy": 0.9, "nll": 0.3456}], "validation")
    assert out.getvalue() == "step 40 validation  student 0: acc 90.0 % nll 0.346\n"
    out, progress = live()
    with progress:
        progress.update(25, rows(students=(0,)))
        progress.evaluated(25, [{"student": 0, "accuracy": 0.875}])
        progress.evaluated(25, [{"student": 0, "accuracy": 0.5}], "validation")
    _, heading, row, *_ = last_frame(out.getvalue())
    assert heading.split("train %")[1].split() == ["val", "%", "test", "%", "images/s"]
    assert row.split()[-3:] == ["50.0", "87.5", "412"]


def test_live_table_has_a_head_and_a_row_for_each_student_and_the_ensemble():
    out, progress = live(learning_rate=lambda step: step / 1000)
    with progress:
        progress.update(25, rows())
        progress.evaluated(
            25, [{"student": 1, "accuracy": 0.875}, {"student": "ensemble", "accuracy": 0.9}]
        )
    assert "\x1b[" in out.getvalue()
    head, _, first, second, ensemble, *meanings = last_frame(out.getvalue())
    assert meanings == [
        "CE, KL: the loss by labels and by teachers; mean of --log-every steps",
        "train %: accuracy on the images of these steps",
        "test %: accuracy at the newest evaluation",
    ]
    assert " ".join(first.split()) == "0 resnet8 1.234 1.100 0.134 61.2 – 412"
    assert " ".join(second.split()) == "1 resnet8 1.234 1.100 0.134 61.2 87.5 412"
    assert " ".join(ensemble.split()) == "ensemble – – – – – 90.0 –"
    assert head.split("elapsed")[0].strip() == "step 25/100 (25 %)  epoch 2.5  lr 0.024"


@pytest.mark.parametrize(
    ("width", "heading"),
    [
        (81, "student network loss CE KL train % val % test % images/s"),
        (73, "student loss CE KL train % val % test % images/s"),
        (60, "student loss CE KL train % val % test %"),
        (40, "student train % val % test %"),
    ],
)
def test_a_narrow_window_has_fewer_columns_and_no_line_that_is_broken(width, heading):
    out, progress = live(width=width, learning_rate=lambda step: 0.1)
    measured = [{"student": k, "accuracy": 0.9, "nll": 0.5} for k in (0, 1, "ensemble")]
    with progress:
        progress.update(25, rows())
        progress.evaluated(25, measured, "validation")
        progress.evaluated(25, measured)
    frame = last_frame(out.getvalue())
    assert heading in [" ".join(line.split()) for line in frame]
    assert not any("…" in line for line in frame)
    printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).splitlines()
    assert max(map(len, printed)) <= width
    tested = [line.strip() for line in printed if "25 test" in line]
    assert tested == [  # one line, of as many words as there is room for
        "step 25 test  student 0: acc 90.0 % nll 0.500 | student 1: acc 90.0 % nll 0.500 | ensemble: "
        "acc 90.0 % nll 0.500"
        if width > 120
        else "step 25 test  0: 90.0 | 1: 90.0 | ensemble: 90.0 %"
        if width >= 50
        else "step 25 test  ensemble: acc 90.0 % nll …"
    ]


class Window:
    """A terminal of which every sign is known, as wide as told."""

    def __init__(self, monkeypatch, width):
        self.out = io.StringIO()
        self.console = Console(file=self.out, force_terminal=True, legacy_windows=False)
        self.monkeypatch = monkeypatch
        self.resize(width)

    def resize(self, width):
        self.monkeypatch.setenv("COLUMNS", str(width))
        self.monkeypatch.setenv("LINES", "20")
        self.console._width = width
        self.console._height = 20


def test_a_resized_window_is_drawn_anew_with_what_was_said(monkeypatch):
    window = Window(monkeypatch, 100)
    progress = Progress(
        100, 10, chronometer=Chronometer(clock=Clock()), console=window.console, before=["reading"]
    )
    with progress:
        progress.update(25, rows())
        progress.notice("student 1 restarted")
        window.resize(60)
        progress.notice("and goes on")
    anew = window.out.getvalue().rpartition("\x1b[2J")[2]  # everything before is erased
    words = [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", anew).splitlines()]
    assert words[:3] == ["reading", "student 1 restarted", "and goes on"]
    assert words[3].startswith("step 25/100")


def test_that_somebody_asked_to_stop_is_shown_until_it_has_stopped():
    asked = []
    out, progress = live(asked=lambda: "".join(asked))
    with progress:
        progress.update(25, rows())
        asked.append("stopping after this step")
        progress.notice("x")
    assert "stopping after this step" in out.getvalue()
    assert "stopping" not in "".join(last_frame(out.getvalue()))


def test_live_notices_stand_above_the_table():
    out, progress = live()
    with progress:
        progress.update(25, rows())
        progress.notice("student 1 restarted")
    lines = last_frame(out.getvalue())
    assert "student 1 restarted" in out.getvalue()
    assert not any("restarted" in line for line in lines)
    assert lines[0].startswith("step 25/100")


def test_live_table_follows_a_cohort_that_shrank():
    out, progress = live()
    with progress:
        progress.update(25, rows())
        progress.update(26, rows(students=(1,)))
    frame = last_frame(out.getvalue())
    assert [line.split()[0] for line in frame] == ["step", "student", "1", "CE,", "train", "test"]


def last_frame(text):
    """The lines of the table drawn last, without the terminal's control codes."""
    written = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text)
    frame = written[written.rindex("step ", 0, written.rindex("student  ")) :]
    return [line.strip() for line in frame.splitlines() if line.strip()]


def test_people_found_again_are_shown_by_map():
    rows_found = [{"student": "ensemble", "map": 0.45, "rank1": 0.7, "nll": None}]
    out, progress = plain()
    with progress:
        progress.evaluated(10, rows_found)
    assert out.getvalue() == "step 10 test  ensemble: mAP 45.0 % rank-1 70.0 %\n"
    out, progress = live()
    with progress:
        progress.update(10, rows(students=(0,)))
        progress.evaluated(10, [{"student": 0, "map": 0.4567}])
    frame = last_frame(out.getvalue())
    assert "test mAP %" in frame[1]
    assert "45.7" in frame[2]
