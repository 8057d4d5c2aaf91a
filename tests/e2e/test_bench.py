"""The benchmarks as a user runs them."""

import json
import os
from functools import partial

import numpy as np
import pytest

from tests.support.command import run, run_here

MODES = ["independent", "object_store", "collective", "in_process"]
SMOKE = ["--dataset", "synthetic", "--students", "resnet8", "--no-startup"]
SMOKE += ["--rounds", "2", "--steps-per-round", "2"]


COHORT, STEPS, ODS = "bench_cohort.py", "bench_self_distill.py", "bench_ods.py"
FEED = "bench_feed.py"


def check_refused(done, sentence):
    code, _, err = done
    assert code == 2
    assert err.startswith(f"error: {sentence}")
    assert len(err.splitlines()) == 1


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """A benchmark in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return partial(run_here, monkeypatch, capsys)


@pytest.mark.slow
def test_one_table_and_all_raw_times(ray_of_four, here, tmp_path):
    code, out, err = here(*SMOKE, "--output", "bench.json", script=COHORT)
    assert code == 0, err
    assert [mode for mode in MODES if f"│ {mode} " in out] == MODES
    assert "vs independent: step time over that of students alone" in out
    result = json.loads((tmp_path / "bench.json").read_text())
    seconds = {mode: np.array(result["round_seconds"][mode]) for mode in MODES}
    assert {mode: len(times) for mode, times in seconds.items()} == dict.fromkeys(MODES, 2)
    for mode in MODES:
        ratios = np.median(seconds[mode] / seconds["independent"])
        speed = np.median(64 * 2 / seconds[mode])
        row = result["summary"][mode]
        assert row["step_time_vs_independent"][1] == pytest.approx(ratios)
        assert row["images_per_second"][1] == pytest.approx(speed)
        assert row["peak_memory_bytes"] > 100 * 2**20
        assert row["startup_seconds"] is None
    assert result["hardware"]["cores"] == os.cpu_count()
    assert result["config"]["seed"] == 0


@pytest.mark.slow
def test_the_exchange_alone(ray_of_four, here, tmp_path):
    flags = ["--latency", "8x10,300x200", "--k", "3", "--per-process", "2", "--rounds", "2"]
    flags += ["--steps-per-round", "6", "--aggregate", "sum", "--wire", "fp16"]
    code, out, err = here(*flags, "--output", "latency.json", script=COHORT)
    assert code == 0, err
    ways = ["all_gather", "collective", "object_store"]
    for size, numbers in (("8x10", 8), ("300x200", 300)):
        assert [way for way in ways if f"│ {size} {way} " in out] == ways
        result = json.loads((tmp_path / "latency.json").read_text())[size]
        seconds = {way: np.array(result["step_seconds"][way]) for way in ways}
        assert {way: times.shape for way, times in seconds.items()} == dict.fromkeys(ways, (2, 5))
        rounds = {way: times.sum(axis=1) for way, times in seconds.items()}
        row = result["summary"]["object_store"]
        assert row["median_seconds"] == pytest.approx(np.median(seconds["object_store"]))
        assert row["round_vs_all_gather"][1] == pytest.approx(
            np.median(rounds["object_store"] / rounds["all_gather"])
        )
        # Two students and one: each host sends one message to the other, posteriors and entropies.
        width = int(size.split("x")[1])
        assert row["bytes_a_student"] == pytest.approx(2 * numbers * (width + 1) * 2 / 3)
        gathered = result["summary"]["all_gather"]["bytes_a_student"]
        assert gathered == pytest.approx(numbers * width * 4)
    assert "KiB a student: that it sends in a step, and receives" in out


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--latency", "64"], "--latency has '64'; it must be BATCHxCLASSES"),
        (["--latency", "64x100,0x10"], "--latency has '0x10'; it must be BATCHxCLASSES"),
        (["--latency", "1000000000x1000"], "--latency has '1000000000x1000'; it must be"),
        (["--latency", "8x10", "--students", "resnet8"], "--students is resnet8 with --latency"),
        (["--latency", "8x10", "--steps-per-round", "1"], "--steps-per-round is 1 with --latency"),
        (["--aggregate", "sum", "--teacher", "none"], "--teacher is 'none'"),
        (["--gpus", "99"], "--gpus is 99, but this machine has "),
        (["--gpus", "0", "--precision", "tf32"], "--precision is tf32, which only a GPU has"),
        (["--k", "1"], "--k is 1 with --teacher peers"),
        (["--teacher", "none"], "--teacher is 'none'"),
        (["--output", "."], "--output is '.', a directory; "),
        (["--resume", "run"], "unrecognized arguments: --resume run"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(flags, sentence, monkeypatch, capsys):
    check_refused(run_here(monkeypatch, capsys, *flags, script=COHORT), sentence)


def test_bad_input_to_a_process(tmp_path):
    done = run("--rounds", 0, cwd=tmp_path, script=COHORT)
    check_refused(done, "--rounds is 0; it must be greater than 0")


def test_every_method_and_two_step_distillation(here, tmp_path):
    flags = ["--train-subset", "64", "--batch-size", "8", "--rounds", "3", "--steps", "2"]
    code, out, err = here(*flags, "--output", "new/bench.json", script=STEPS)
    assert code == 0, err
    methods = ["none", "dsn", "byot", "kd", "fitnet", "at"]
    shown = [*methods, "two-step distillation: teacher then student"]
    assert [name for name in shown if f"│ {name} " in out] == shown
    result = json.loads((tmp_path / "new" / "bench.json").read_text())
    seconds = {method: np.array(times) for method, times in result["round_seconds"].items()}
    assert {method: len(times) for method, times in seconds.items()} == dict.fromkeys(methods, 3)
    both = seconds["none"] + seconds["kd"]
    two_step = result["summary"][shown[-1]]
    assert two_step["step_time_vs_byot"][1] == pytest.approx(np.median(both / seconds["byot"]))
    assert result["config"]["model"] == "resnet8"
    assert result["config"]["batch_size"] == 8
    assert result["hardware"]["cores"] == os.cpu_count()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--steps", "0"], "--steps is 0; it must be greater than 0"),
        (["--gpus", "2"], "--gpus is 2; it must be 0 or 1"),
        (["--gpus", "0", "--precision", "tf32"], "--precision is tf32, which only a GPU has"),
        (["--model", "resnet8+exits"], "--model is 'resnet8+exits'; name the network without"),
        (["--model", "resnet9"], "--model is 'resnet9'"),
        (["--batch-size", "9999"], "--batch-size is 9999; it must be at most the 1437 images"),
        (["--output", "."], "--output is '.', a directory; "),
        (["--method", "kd"], "unrecognized arguments: --method kd"),
    ],
)
def test_steps_bad_input_is_one_sentence_and_exit_code_2(flags, sentence, monkeypatch, capsys):
    check_refused(run_here(monkeypatch, capsys, *flags, script=STEPS), sentence)


def test_every_way_to_distil_an_ensemble_and_the_parts_of_ods(here, tmp_path):
    flags = ["--model", "resnet8", "--members", "2", "--batch-size", "2", "--rounds", "3"]
    flags += ["--stacked-teachers", "--output", "ods.json"]
    code, out, err = here(*flags, script=ODS)
    assert code == 0, err
    methods = ["single", "labels", "kd", "gaussian", "ods", "conf_ods"]
    parts = ["perturbation", "teachers", "clean", "perturbed", "update"]
    assert [name for name in methods + parts if f"│ {name} " in out] == methods + parts
    result = json.loads((tmp_path / "ods.json").read_text())
    assert {name: len(times) for name, times in result["round_seconds"].items()} == dict.fromkeys(
        methods, 3
    )
    ratios = np.divide(result["round_seconds"]["ods"], result["round_seconds"]["kd"])
    assert result["summary"]["ods"]["step_time_vs_kd"][1] == pytest.approx(np.median(ratios))
    assert result["config"]["stacked_teachers"] is True


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--members", "1"], "--members is 1; it must be 2 or greater"),
        (["--model", "resnet8+exits"], "--model is 'resnet8+exits'; name a plain network"),
        (["--model", "resnet9"], "--model is 'resnet9'"),
    ],
)
def test_ods_bad_input_is_one_sentence_and_exit_code_2(flags, sentence, monkeypatch, capsys):
    check_refused(run_here(monkeypatch, capsys, *flags, script=ODS), sentence)


@pytest.mark.slow
def test_pictures_decoded_for_each_and_for_all_and_a_batch_that_is_ready(
    ray_of_four, here, tmp_path
):
    flags = ["--images", "40", "--batch-size", "8", "--rounds", "3", "--steps", "3"]
    code, out, err = here(*flags, "--image-size", "40x24", "--output", "feed.json", script=FEED)
    assert code == 0, err
    shown = ["each student decodes", "one feeder for all", "ready before"]
    assert [name for name in shown if f"│ {name} " in out] == shown
    result = json.loads((tmp_path / "feed.json").read_text())
    each, feeder, ready = (
        {key: np.array([took[key] for took in rounds]) for key in ("seconds", "cpu_seconds")}
        for rounds in (result["rounds"][mode] for mode in ("each", "feeder", "ready"))
    )
    row = result["summary"]["feeder"]
    assert row["speed_vs_each"][1] == pytest.approx(np.median(each["seconds"] / feeder["seconds"]))
    reading = [mode["cpu_seconds"] - ready["cpu_seconds"] for mode in (feeder, each)]
    assert row["reading_vs_each"][1] == pytest.approx(np.median(reading[0] / reading[1]))
    assert row["cpu_ms_an_image"][1] == pytest.approx(np.median(feeder["cpu_seconds"]) / 24 * 1000)
    assert result["kept_at_most"] == 13 * 8 * 3 * 40 * 24


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--images", "9"], "--images is 9; it must be at least 64, a batch"),
        (["--image-size", "8x"], "--image-size is '8x'; it must be N or HEIGHTxWIDTH"),
        (["--decoders", "0"], "--decoders is 0; it must be greater than 0"),
        (["--threads", "1000000"], "--threads is 1000000, more than one for each"),
        (["--students", "resnet8,resnet8,resnet8"], "--students names 3 networks"),
    ],
)
def test_feed_bad_input_is_one_sentence_and_exit_code_2(flags, sentence, monkeypatch, capsys):
    check_refused(run_here(monkeypatch, capsys, *flags, script=FEED), sentence)


def test_a_step_of_cohorts_of_several_sizes(here, tmp_path):
    flags = ["--dataset", "digits", "--students", "resnet8", "--k", "2,1", "--gpus", "0"]
    flags += ["--rounds", "3", "--steps", "2", "--output", "step.json"]
    code, out, err = here(*flags, script="bench_step.py")
    assert code == 0, err
    assert [k for k in ("2", "1") if f"│ {k} " in out] == ["2", "1"]
    result = json.loads((tmp_path / "step.json").read_text())
    assert {k: len(ways["eager"]) for k, ways in result["round_seconds"].items()} == {
        "2": 3,
        "1": 3,
    }
    median = np.median(result["round_seconds"]["2"]["eager"]) / 2 * 1000
    assert result["summary"]["2"]["eager"][1] == pytest.approx(median)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--k", "1,x"], "--k is '1,x'; it must be numbers of students with commas between"),
        (["--k", "0"], "--k is "),
        (["--steps", "0"], "--steps is 0; it must be greater than 0"),
        (["--students", "resnet9"], "--students is 'resnet9'"),
    ],
)
def test_step_bad_input_is_one_sentence_and_exit_code_2(flags, sentence, monkeypatch, capsys):
    check_refused(run_here(monkeypatch, capsys, *flags, script="bench_step.py"), sentence)
