"""README, docs and examples: every command is one that the real parsers take, and much of it is run."""

import argparse
import re
import shlex
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest

import cohort.cli.parser
from cohort.cli.main import COMMANDS
from cohort.config_file import names_of
from cohort.invocation import SCRIPTS
from cohort.run import storage
from cohort.runtime import private_ray
from cohort.tuning.file.load import load_study
from cohort.tuning.report import Figure
from cohort.tuning.study import Scheduler, Search, Study
from cohort.tuning.trials import points_of, trials_of
from tests.support.command import ROOT, here
from tests.support.storages import memory as memory

PAGES = {path.stem: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RESULTS = ROOT / "scripts" / "results" / "README.md"
NOT_OURS = {"--head", "--generate", "--backend-store-uri", "--logdir"}
"""Flags of Ray's, MLflow's and TensorBoard's."""
STANDS_FOR = {
    "$teacher": "none",
    "TEACHER": "peers",
    "SEED": "0",
    "$seed": "0",
    "${seed}0": "0",
    "$method": "byot",
    "$row": "--method labels",
    "ROW": "--method labels",
}
"""What loops and capitals of the results' commands stand for, where a parser looks at it."""
UNIONS = (Scheduler, Search, Figure)
SMALL = "--steps 2 --epochs 1 --batch-size 16 --test-subset 40 --threads 1"
IN_PROCESS = f"{SMALL} --exchange in_process --train-subset 64"
HERE = f"{SMALL} --workers 0"
QUICK = "--draws 1 --examples 32"
NAMED = {"people": ("cohort train --k 2 --dataset synthetic-people", IN_PROCESS)}
"""What runs/NAME is on a page, if not self-distillation."""

each_page = pytest.mark.parametrize("page", PAGES)


class Parsed(Exception):  # noqa: N818 - what is hoped for
    """A command line was understood."""


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page].read_text(), re.DOTALL)


def commands(page):
    """The lines of the page's sh blocks, without comments."""
    lines = (line for block in blocks(page, "sh") for line in block.splitlines())
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def as_script(words):
    """``cohort NAME …`` or ``python scripts/FILE.py …`` as a script's name and its arguments."""
    if words[0] == "cohort":
        count = 2 if words[1] == "bench" else 1
        return SCRIPTS[" ".join(words[1 : 1 + count])], words[1 + count :]
    assert words[0] in ("python", ".venv/bin/python"), words
    folder, _, script = words[1].partition("/")
    assert folder == "scripts", words
    return script, words[2:]


def dry_run(command, options=None):
    """Let the real command read its arguments and stop there; adds all its flags to ``options``."""
    parse_args, validate = argparse.ArgumentParser.parse_args, cohort.cli.parser.validate

    def parse_and_stop(self, *arguments):
        if options is not None:
            options.update(self._option_string_actions)
        values = parse_args(self, *arguments)
        if self.argument_default is argparse.SUPPRESS:  # a config, which is validated next
            return values
        raise Parsed

    def validate_and_stop(*arguments):
        validate(*arguments)
        raise Parsed

    script, arguments = as_script(shlex.split(command))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        for reader in ("parser", "analyse"):
            patch.setattr(f"cohort.cli.{reader}.validate", validate_and_stop)
        try:
            return here(*arguments, script=script)
        except Parsed:
            return 0, "", ""


def check(command):
    """Fail if nobody would understand the command."""
    program, *arguments = shlex.split(command)
    if program == "make":
        assert re.search(rf"(?m)^{arguments[0]}:", (ROOT / "Makefile").read_text()), command
    elif program == "ray":
        check_ray(arguments)
    elif program == "export":
        assert arguments == [f"{private_ray.AUTH_MODE}=token"]
    elif arguments[0].startswith("examples/"):
        assert ROOT / arguments[0] in EXAMPLES, command
    else:
        code, _, err = dry_run(command)
        assert code == 0, f"{command}\n{err}"
    for word in arguments:
        if word.startswith(("tune_configs/", "scripts/")):
            assert (ROOT / word).exists(), command


def check_ray(arguments):
    """Fail if Ray would not understand it, or nobody the command that it is to run as a job."""
    from ray.scripts.scripts import cli as known  # click's

    while hasattr(known, "commands"):
        known, arguments = known.commands[arguments[0]], arguments[1:]
    known.make_context("ray", list(arguments))
    if "--" in arguments:
        check(shlex.join(arguments[arguments.index("--") + 1 :]))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each_page
def test_every_command_is_understood(page, folder):
    (folder / "runs" / "NAME").mkdir(parents=True)
    (folder / "runs" / "NAME" / "config.yaml").write_text("k: 2\n")
    for command in commands(page):
        check(command)


def test_a_command_that_nobody_understands_is_noticed():
    for wrong in ("cohort train --peers 2", "cohort train --k two", "cohort export runs/NAME"):
        with pytest.raises(AssertionError, match=re.escape(wrong)):
            check(wrong)
    with pytest.raises(KeyError):
        check("cohort learn")


def test_commands_of_the_results_are_understood():
    text = RESULTS.read_text().replace("\\\n", " ")
    found = re.findall(r"(?m)^ {4,}(?:for .*; do )?(python .*)$", text)
    assert len(found) > 10
    for command in found:
        for name, value in STANDS_FOR.items():
            command = re.sub(rf"(?<!\S){re.escape(name)}(?!\S)", value, command)
        check(command)


def test_every_flag_that_is_spoken_of_exists():
    known = set(NOT_OURS)
    assert set(SCRIPTS) == set(COMMANDS)
    for name in COMMANDS:
        dry_run(f"cohort {name}", known)
    for path in (*PAGES.values(), RESULTS):
        spoken = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text()))
        assert spoken <= known, path


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGES[page].read_text()):
        assert (PAGES[page].parent / target).exists(), target


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example, ray_of_four):
    """Each is short, says how it is started, and is done in seconds."""
    text = example.read_text()
    assert f"\npython examples/{example.name}\n" in text
    assert len(text.splitlines()) < 60
    code, out, err = here(script=example)
    assert (code, err) == (0, "")
    assert out


PYTHON = [pytest.param(page, block, id=page) for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_python_in_the_text_runs(page, block, folder, ray_of_four):
    if "runs/NAME" in block:
        command, small = NAMED.get(page, ("cohort self-distill", HERE))
        try_out(page, command, f"{small} --run-dir runs/NAME")
    (folder / "block.py").write_text(block)
    code, out, err = here(script=folder / "block.py")
    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize("smoke", [False, True])
def test_the_study_in_the_text_is_one(folder, smoke):
    (block,) = blocks("studies", "yaml")
    (folder / "own.yaml").write_text(block)
    study = load_study(folder / "own.yaml", smoke=smoke)
    assert sum(len(trials_of(study, point)) for point in points_of(study)) == (
        2 * 2 * 2 if smoke else 20 * 2 * 2 * 3
    )


def test_every_key_of_a_study_is_explained():
    text = PAGES["studies"].read_text()
    kinds = {union: [cls.kind for cls in get_args(get_args(union)[0])] for union in UNIONS}
    for name in (*names_of(Study)[1:], "smoke", *kinds[Figure]):  # the first is the file's name
        assert f"`{name}`" in text, name
    for kind in (*kinds[Scheduler], *kinds[Search]):
        assert f"{{kind: {kind}" in text, kind


def test_every_room_has_its_line():
    for package in sorted((ROOT / "cohort").glob("*/__init__.py")):
        assert f"\n  {package.parent.name}/ " in PAGES["README"].read_text()
        assert re.search(rf"(?m)^.*\b{package.parent.name}\b.*$", PAGES["design"].read_text())


def test_the_diagram_is_what_its_script_draws():
    drawn = here_module(ROOT / "docs" / "step_diagram.py").draw()
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert (ROOT / "docs" / "step.svg").read_text() == drawn


def try_out(page, command, more=""):
    """Run a command of a page, made smaller by more flags."""
    assert command in commands(page)
    script, arguments = as_script(shlex.split(f"{command} {more}"))
    code, out, err = here(*arguments, script=script)
    assert (code, err) == (0, ""), f"{command} {more}\n{out}{err}"
    return out


def test_what_is_said_of_cohorts_and_reports(folder):
    named = try_out("cohorts", "cohort train --k 2 --baseline", f"{IN_PROCESS} --run-dir runs/NAME")
    assert "0 alone" in named
    alone = "cohort train --k 4 --teacher none"
    try_out("cohorts", alone, f"{IN_PROCESS} --run-dir runs/PLAIN")
    try_out("cohorts", "cohort train --config runs/NAME/config.yaml --seed 1")
    try_out("cohorts", "cohort train --resume runs/NAME")
    assert "ensemble" in try_out("cohorts", "cohort evaluate runs/NAME")
    try_out("cohorts", "cohort evaluate runs/NAME runs/PLAIN --output both.csv")
    assert "\nPLAIN,student,3," in (folder / "both.csv").read_text()
    try_out("cohorts", "cohort analyse runs/NAME runs/PLAIN --output figures", QUICK)
    exported = "cohort export runs/NAME --student 0 --format torch_export --output exported"
    assert (folder / try_out("cohorts", exported).strip()).exists()
    shared = "cohort share runs/NAME --to shared --license apache-2.0"
    assert try_out("sharing", shared) == "shared\n"
    said = try_out("report", "cohort report runs/NAME --output page.html --watch")
    assert said == "page.html\n"
    try_out("report", "cohort report runs/NAME --against runs/PLAIN", "--tables tables")
    assert "(PLAIN)" in (folder / "tables" / "NAME-students.csv").read_text()


def test_what_is_said_of_self_distillation(folder):
    page = "self-distillation"
    try_out(page, "cohort self-distill", f"{HERE} --run-dir runs/NAME")
    for name in ("PLAIN", "TEACHER"):
        try_out(page, "cohort self-distill", f"{HERE} --method none --run-dir runs/{name}")
    try_out(page, "cohort self-distill --method kd --teacher runs/TEACHER", HERE)
    assert "time" in try_out(page, "cohort evaluate runs/NAME --latency 50")
    both = "cohort evaluate runs/NAME runs/PLAIN --latency 50 --output exits.tex"
    assert "exits.tex" in try_out(page, both)
    shown = try_out(page, "cohort evaluate runs/NAME --ensemble-weights 0,1,2")
    assert "weighted 0,1,2" in shown
    try_out(page, "cohort analyse runs/NAME runs/PLAIN --output figures", QUICK)
    try_out(page, "cohort export runs/NAME --exit 2 --format safetensors --output small")
    assert (folder / "small" / "model.safetensors").exists()


def test_what_is_said_of_ods():
    page, distil = "ods", "cohort ods-distill --teachers runs/teachers"
    ensemble = "cohort train --teacher none --k 4 --validation 300 --run-dir runs/teachers"
    try_out("README", ensemble, IN_PROCESS)
    assert "DE-4" in try_out(page, distil, f"{HERE} --run-dir runs/NAME")
    for row in ("--perturbation none", "--student single --method mean", "--method labels"):
        try_out(page, f"{distil} {row}", HERE)
    assert "DE-4" in try_out(page, "cohort evaluate runs/NAME")
    diversity = "--output figures --tau 4 --analyses diversity"
    try_out(page, f"cohort analyse runs/teachers runs/NAME {diversity}", QUICK)
    try_out(page, "cohort analyse runs/NAME --output figures --analyses jacobian", QUICK)


def test_what_is_said_of_people(folder):
    command, small = NAMED["people"]
    assert "mAP" in try_out("people", command, f"{small} --run-dir runs/NAME")
    shown = try_out("people", "cohort evaluate runs/NAME")
    assert shown != try_out("people", "cohort evaluate runs/NAME --distance cosine")
    try_out("people", "cohort evaluate runs/NAME --ranking found.png")
    assert (folder / "found.png").exists()


def test_what_is_said_of_runs_on_a_storage(memory, monkeypatch):
    reach = storage._reach
    monkeypatch.setattr(storage, "_reach", lambda uri: reach(uri.replace("s3:", "memory:")))
    place, small = "s3://bucket/runs/first", f"{IN_PROCESS} --dataset digits"
    command = f"cohort train --dataset cifar100 --run-dir {place}"
    assert f"everything is in {place}\n" in try_out("clusters", command, small)
    try_out("clusters", f"cohort train --resume {place}")
    assert "ensemble" in try_out("clusters", f"cohort evaluate {place}")
    assert memory.exists("/bucket/runs/first/students/1/model.safetensors")


def here_module(path: Path):
    """A file as a module."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
