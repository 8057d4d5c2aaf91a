"""From a command line to a config, and from the end of a run to an exit code."""

import pydoc
import re

import pytest

import cohort
from cohort.cli.main import main, run_command
from cohort.cli.parser import parse
from cohort.errors import ConfigError, RunError
from cohort.runtime.config import CohortConfig


def parsed(*argv):
    return parse(CohortConfig, "Train a cohort.", argv)


def ends_with(command):
    with pytest.raises(SystemExit) as caught:
        run_command(command)
    return caught.value.code


def raising(error):
    def command():
        raise error

    return command


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("k: 3\nlr: 0.5\ntensorboard: true\n")
    return path


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("--k is 0"), 2, "error: --k is 0\n"),
        (RunError("student 1 died"), 1, "failed: student 1 died\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_code_and_one_line(error, code, line, capsys):
    assert ends_with(raising(error)) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line)


@pytest.mark.parametrize("code", [0, 130])
def test_a_commands_own_exit_code(code):
    assert ends_with(lambda: code) == code


def test_an_error_of_the_program_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


def test_help_exits_0_and_explains_every_flag(capsys):
    assert ends_with(lambda: parsed("--help")) == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--k N", "--mimicry-weight X", "--config FILE", "--resume DIR", "Default: 2."):
        assert word in text
    assert "--teacher {peers,ensemble,ensemble_logits,kdcl_naive,kdcl_minlogit,none}" in text
    assert "30, 60 and 90 %" in text


def test_no_arguments_are_the_defaults():
    arguments = parsed()
    assert (arguments.config, dict(arguments.given), arguments.resume) == (CohortConfig(), {}, None)


def test_flags_become_values_of_their_type():
    arguments = parsed("--k", "3", "--lr", "1e-2", "--no-download", "--tensorboard")
    assert arguments.given == {"k": 3, "lr": 0.01, "download": False, "tensorboard": True}
    assert arguments.config == CohortConfig(k=3, lr=0.01, tensorboard=True)


def test_flags_override_the_file(file):
    arguments = parsed("--config", str(file), "--k", "4", "--no-tensorboard")
    assert arguments.config == CohortConfig(k=4, lr=0.5, tensorboard=False)
    assert arguments.given == {"k": 4, "tensorboard": False}


def test_flags_override_also_what_the_file_alone_could_not_mean(file):
    file.write_text("k: 1\n")
    assert parsed("--config", str(file), "--teacher", "none").config.k == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--epoch", "3"], ["--epoch", "--help"]),  # no abbreviations: flags may be added later
        (["--k"], ["--k", "expected one argument"]),
        (["--k", "two"], ["--k is 'two'", "integer"]),
        (["--k", "2.5"], ["--k is '2.5'", "integer"]),
        (["--lr", "fast"], ["--lr is 'fast'", "number"]),
        (["--k", "0"], ["--k is 0", "greater than 0"]),
        (["stray"], ["stray", "--help"]),
        (["--tensorboard=yes"], ["--tensorboard", "'yes'"]),
        (["--config", "x.yaml", "--resume", "runs/x"], ["--config", "--resume"]),
        (["--config", "none.yaml"], ["--config none.yaml", "No such file"]),
    ],
)
def test_wrong_usage_names_the_flag(argv, words):
    with pytest.raises(ConfigError) as caught:
        parsed(*argv)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "word"), [("k: two", "key 'k'"), ("lr: -1", "--lr is -1"), ("kk: 2", "key 'kk'")]
)
def test_a_mistake_in_the_file_names_the_file_whatever_the_flags(text, word, file):
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parsed("--config", str(file), "--seed", "1")
    assert str(caught.value).startswith(str(file))
    assert word in str(caught.value)


def test_a_mistake_in_a_flag_does_not_blame_the_file(file):
    with pytest.raises(ConfigError, match=r"^--seed is -1; "):
        parsed("--config", str(file), "--seed", "-1")


# cohort COMMAND


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            ["trian", "--k", "3"],
            "there is no command 'trian'; did you mean 'train'? see cohort --help",
        ),
        (
            ["bench"],
            "there is no command 'bench'; did you mean 'bench exchange' or 'bench self-distill'",
        ),
        (["fly"], "there is no command 'fly'; it must be one of train, self-distill, "),
        ([], "a command is missing; it must be one of train, self-distill, "),
        (["train", "--kk", "3"], "unrecognized arguments: --kk 3; see --help"),
    ],
)
def test_what_is_no_command_is_refused_with_a_hint(argv, sentence, capsys):
    assert ends_with_main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {sentence}")
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_the_version_is_the_package_s(capsys):
    assert ends_with_main(["--version"]) == 0
    assert capsys.readouterr().out == f"cohort {cohort.__version__}\n"


def ends_with_main(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


# From Python


def test_the_public_names_are_what_dir_shows_and_each_is_there():
    assert dir(cohort) == sorted(cohort.__all__)
    assert {"CohortConfig", "train_cohort", "load_student", "ConfigError"} < set(dir(cohort))
    for name in set(dir(cohort)) - {"__version__"}:
        assert getattr(cohort, name).__name__ == name
    text = pydoc.plain(pydoc.render_doc(cohort))
    shown = {name for name in dir(cohort) if re.search(rf"\b{name}\b", text)}
    assert shown == set(dir(cohort)) - {"__version__"}, "which stands there as VERSION"
    with pytest.raises(AttributeError, match="'cohort' has no attribute 'trian_cohort'"):
        _ = cohort.trian_cohort
