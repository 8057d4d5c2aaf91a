"""The command line as users and their scripts know it: a flag comes or goes only with this file."""

import re
import shlex

import pytest

from cohort.cli.main import COMMANDS, main
from cohort.invocation import SCRIPTS

SHARED = """
    -h --help
    --dataset --data-root --download --no-download --image-size --train-subset --test-subset
    --data-seed --validation --autoaugment --no-autoaugment --cutout
    --crop --padding --color-jitter --erasing --feed --decoders --skip-broken --no-skip-broken --distance
"""
TRAINS = f"""{SHARED}
    --epochs --steps --batch-size --lr --weight-decay --decay-on --optimizer --lr-schedule
    --warmup-epochs --label-smoothing --clip-grad-norm --seed --precision --capture --compile --no-compile
    --pretrained --checkpoint-every --keep --eval-every --log-every --log-to --tensorboard
    --no-tensorboard --run-dir
    --config --resume --trust-code --no-trust-code
    --threads --gpus --max-failures --address --hang-after
"""
JOB = f"{TRAINS} --workers --batch-norm"
BENCHMARK = "--batch-size --precision --threads --gpus --seed --rounds --output"
FLAGS = {
    "train": f"""{TRAINS}
        --k --per-process --students --teacher --schedule --temperature --mimicry --mimicry-weight
        --mimicry-beta --standardise --no-standardise --exchange
        --aggregate --wire --on-failure --balance --no-balance --baseline --no-baseline
    """,
    "self-distill": f"""{JOB}
        --model --exits --method --teacher --alpha --hint-weight --hint-distance --temperature
        --mimicry --mimicry-beta --standardise --no-standardise
    """,
    "ods-distill": f"""{JOB}
        --teachers --choose --student --model --members --init --method --perturbation --eta
        --ods-norm --alpha --tau --teacher-pool --stacked-teachers --no-stacked-teachers
    """,
    "sweep": "-h --help --smoke --resume --study-dir --address --data-root --trust-code",
    "evaluate": """-h --help
        --data-root --ensemble-weights --latency --output --distance --ranking --trust-code
    """,
    "analyse": """-h --help
        --output --data-root --analyses --sigmas --relative --no-relative --draws --alpha --hint-weight
        --temperature --eta --tau --norm --examples --trust-code --no-trust-code
    """,
    "report": "-h --help --output --figures --tables --against --watch",
    "export": "-h --help --exit --format --output --student --trust-code",
    "share": "-h --help --to --to-hub --public --student --license --trust-code",
    "bench exchange": f"""{SHARED} {BENCHMARK}
        --k --per-process --students --teacher --schedule --aggregate --wire --latency
        --warmup-rounds --steps-per-round --startup --no-startup
    """,
    "bench self-distill": f"{SHARED} {BENCHMARK} --model --steps",
    "bench feed": f"-h --help {BENCHMARK} --k --students --image-size --images --decoders --steps",
    "bench against": f"""-h --help {BENCHMARK}
        --k --students --image-size --classes --exchange --channels-last --no-channels-last
        --packages --steps
    """,
    "bench step": f"{SHARED} {BENCHMARK} --k --students --steps --compile --no-compile",
    "bench ods": f"""-h --help {BENCHMARK}
        --model --members --image-size --classes --steps --stacked-teachers --no-stacked-teachers
    """,
}
GROUPS = {
    "train": ("cohort", "data", "training", "run", "cluster"),
    "self-distill": ("self-distillation", "data", "training", "run", "cluster"),
    "ods-distill": ("ODS distillation", "data", "training", "run", "cluster"),
}
"""The titles over the flags, in order."""


@pytest.fixture
def help_of(capsys):
    """What a command says to --help."""

    def get(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return get


def flags_in(text):
    """Those that a help text explains, not those that explanations mention."""
    explained = re.findall(r"^  (-.*?)(?:  |$)", text, re.MULTILINE)
    return [flag for line in explained for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line)]


def test_every_command_is_here():
    assert set(COMMANDS) == set(FLAGS) == set(SCRIPTS)


@pytest.mark.parametrize("command", FLAGS)
def test_no_flag_appears_or_goes_by_accident(command, help_of):
    assert sorted(flags_in(help_of(*command.split()))) == sorted(FLAGS[command].split())


@pytest.mark.parametrize("command", GROUPS)
def test_flags_stand_in_groups(command, help_of):
    text = help_of(command)
    titles = re.findall(r"^(\w[\w -]*):$", text, re.MULTILINE)
    assert titles == ["options", *GROUPS[command], "example"]
    data = text[text.index("\ndata:") : text.index("\ntraining:")]
    assert flags_in(data) == SHARED.split()[2:]
    cluster = text[text.index("\ncluster:") : text.index("\nexample:")]
    assert {"--gpus", "--address", "--threads", "--max-failures"} < set(flags_in(cluster))


@pytest.mark.parametrize("command", FLAGS)
def test_the_example_of_a_help_can_be_typed(command, help_of):
    text = help_of(*command.split())
    example = shlex.split(text.splitlines()[-1])
    assert example[: 1 + len(command.split())] == ["cohort", *command.split()]
    flags = {word for word in example if word.startswith("-")}
    assert flags
    assert flags <= set(FLAGS[command].split())


def test_help_lists_every_command_with_a_line(help_of):
    text = help_of()
    for command in COMMANDS:
        assert re.search(rf"^  {command} +[A-Z].*\.$", text, re.MULTILINE), command
    assert help_of("bench") == text
