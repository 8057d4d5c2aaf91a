"""What a run is made of is sealed: edited or damaged, it is refused before anything is trained."""

import io
import json
import shutil
import threading
from dataclasses import replace
from hashlib import sha256

import pytest
import safetensors.torch
import torch
import yaml

from cohort import (
    CohortConfig,
    ConfigError,
    RunError,
    SelfDistillConfig,
    resume,
    self_distill,
    train_cohort,
)
from cohort.analysis.evaluate import evaluate_run
from cohort.config_file import sealed
from cohort.run.checkpoint import MANIFEST, newest_checkpoint
from cohort.run.folder import RunFolder
from tests.support.command import here, wait_until
from tests.support.refusal import contents

SMALL = {
    "train_subset": 64, "test_subset": 20, "batch_size": 32, "epochs": 1, "checkpoint_every": 1,
    "threads": 1, "lr": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two steps of a cohort of three students, two of which are of one network, and of a job."""
    folder = tmp_path_factory.mktemp("trained")
    students = ("resnet8", "resnet8", "resnet20")
    cohort = CohortConfig(
        **SMALL, k=3, students=students, exchange="in_process", run_dir=str(folder / "cohort")
    )
    train_cohort(cohort)
    job = SelfDistillConfig(
        **SMALL,
        model="resnet8",
        workers=0,
        validation=20,
        optimizer="adam",
        run_dir=str(folder / "job"),
    )
    self_distill(job)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs")


def refusal(run_dir, **given):
    """The sentence with which a run is not gone on with; nothing in its folder changes."""
    before = contents(run_dir)
    with pytest.raises(ConfigError) as caught:
        resume(run_dir, given={"epochs": 2, **given})
    assert "\n" not in str(caught.value)
    assert contents(run_dir) == before
    return str(caught.value)


def edit(file, **changes):
    values = yaml.safe_load(file.read_text())
    assert changes.keys() <= values.keys()
    file.write_text(yaml.safe_dump({**values, **changes}))


EDITS = {
    "lr": 0.5, "seed": 1, "batch_size": 16, "k": 2, "students": "resnet8", "weight_decay": 0.0,
    "teacher": "ensemble", "temperature": 2.0, "train_subset": 32, "checkpoint_every": 5,
    "wire": "fp16", "pretrained": "weights.pt", "label_smoothing": 0.1, "optimizer": "adam",
}  # fmt: skip


@pytest.mark.parametrize("key", EDITS)
def test_a_config_that_was_edited_is_refused_by_key(runs, key):
    file = runs / "cohort/config.yaml"
    more = {"students": "resnet8"} if key == "k" else {}
    more |= {"exchange": "object_store"} if key == "wire" else {}
    edit(file, **{key: EDITS[key], **more})
    said = refusal(runs / "cohort")
    other = next(iter(more), key) if key == "k" else key
    assert said.startswith((f"{file} has {key}: ", f"{file} has {other}: "))
    assert "was trained with" in said


def test_and_so_is_a_job_s(runs):
    edit(runs / "job/config.yaml", alpha=0.5)
    said = refusal(runs / "job")
    assert "config.yaml has alpha: 0.5, but the run in" in said
    assert "was trained with 0.3; put that back" in said


@pytest.mark.parametrize("key", ["epochs", "keep", "on_failure", "max_failures", "exchange"])
def test_what_may_be_extended_may_be_edited(runs, key):
    changed = {
        "epochs": 2,
        "keep": 1,
        "on_failure": "stop",
        "max_failures": 9,
        "exchange": "in_process",
    }
    edit(runs / "cohort/config.yaml", **{"epochs": 2, key: changed[key]})
    assert resume(runs / "cohort").summary["steps"] == 4


def test_every_key_is_sealed_or_may_be_extended(runs):
    """As they stand in the file, so that a config that is read again is equal."""
    settings = newest_checkpoint(runs / "cohort/checkpoints").settings
    values = yaml.safe_load((runs / "cohort/config.yaml").read_text())
    free = {*CohortConfig.EXTENDABLE, "run_dir", "format"}
    assert settings == {key: value for key, value in values.items() if key not in free}
    assert settings["students"] == ["resnet8", "resnet8", "resnet20"]
    assert settings.keys() == sealed(CohortConfig()).keys()


def test_a_run_of_a_version_that_sealed_nothing_goes_on_and_is_sealed(runs):
    for file in runs.glob("cohort/checkpoints/*/" + MANIFEST):
        manifest = json.loads(file.read_text())
        del manifest["settings"]
        file.write_text(json.dumps(manifest))
    assert resume(runs / "cohort", given={"epochs": 2}).summary["steps"] == 4
    assert newest_checkpoint(runs / "cohort/checkpoints").settings["lr"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "config.yaml is of no command that trains"),
        ("[1, 2]", "config.yaml must hold keys and values, not a list"),
        ("k: [", "config.yaml is not YAML"),
        ("\x00", "config.yaml is not YAML"),
        ("k: 2\n1: 2\n", "config.yaml: key '1' is 1: keys should be strings"),
        ("k: two", "config.yaml: key 'k' is 'two'"),
        ("k: 3", "config.yaml has batch_size: None, but the run in"),
        ("teachers: null", "config.yaml has batch_size: None"),
        ("format: 9", "config.yaml is of format 9"),
    ],
)
def test_a_config_that_is_none(runs, text, words):
    (runs / "cohort/config.yaml").write_text(text)
    assert words in refusal(runs / "cohort")


def test_a_command_does_not_take_an_empty_config_for_all_defaults(runs):
    (runs / "cohort/config.yaml").write_text("")
    for file in runs.glob("cohort/checkpoints/*/" + MANIFEST):
        manifest = json.loads(file.read_text())
        file.write_text(json.dumps({**manifest, "settings": {}}))  # as of an older version
    code, _, err = here("--resume", runs / "cohort")
    assert (code, "config.yaml is of no run of" in err, err.count("\n")) == (2, True, 1)


def test_nor_does_evaluate_take_it_for_the_default_data(runs):
    (runs / "cohort/config.yaml").write_text("k: 3\n")
    with pytest.raises(ConfigError, match=r"config\.yaml is of no run: it has no key 'dataset'$"):
        evaluate_run(runs / "cohort")


def sealed_again(step):
    """The manifest of a checkpoint has the digests of its files as they are now."""
    manifest = json.loads((step / MANIFEST).read_text())
    manifest["files"] = {
        name: sha256((step / name).read_bytes()).hexdigest() for name in manifest["files"]
    }
    (step / MANIFEST).write_text(json.dumps(manifest))


def weights_of(change):
    def harm(file):
        tensors = safetensors.torch.load(file.read_bytes())
        change(tensors)
        file.write_bytes(safetensors.torch.save(tensors))

    return "model.safetensors", harm


def state_of(change):
    def harm(file):
        state = torch.load(io.BytesIO(file.read_bytes()), weights_only=True)
        change(state)
        torch.save(state, file)

    return "optimizer.pt", harm


def first_state(state, **changes):
    state["state"][0].update(changes)


HARMS = {
    "weights-empty": ("model.safetensors", lambda file: file.write_bytes(b"")),
    "weights-noise": ("model.safetensors", lambda file: file.write_bytes(b"\xff" * 99)),
    "weights-missing-one": weights_of(lambda t: t.pop("network.classifier.bias")),
    "weights-nan": weights_of(lambda t: t["network.classifier.bias"].fill_(torch.nan)),
    "statistics-inf": weights_of(lambda t: t["network.stem_bn.running_var"].fill_(torch.inf)),
    "weights-shape": weights_of(lambda t: t.update({"network.classifier.bias": torch.zeros(1)})),
    "optimizer-empty": ("optimizer.pt", lambda file: file.write_bytes(b"")),
    "optimizer-noise": ("optimizer.pt", lambda file: file.write_bytes(b"\x80\x02]q\x00.")),
    "optimizer-code": ("optimizer.pt", lambda file: file.write_bytes(b"cos\nabort\n(tR.")),
    "optimizer-list": ("optimizer.pt", lambda file: torch.save([1], file)),
    "optimizer-no-groups": state_of(lambda state: state.pop("param_groups")),
    "optimizer-shape": state_of(lambda s: first_state(s, momentum_buffer=torch.zeros(3))),
    "optimizer-text": state_of(lambda s: first_state(s, momentum_buffer="much")),
    "optimizer-key": state_of(lambda s: first_state(s, another=torch.zeros(1))),
    "optimizer-stranger": state_of(lambda s: s["state"].update({10**6: s["state"][0]})),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_behind_a_right_digest_is_told_of_every_student(runs, harm):
    """Student 1 is of the network of student 0, and looked at all the same."""
    (step,) = runs.glob("cohort/checkpoints/step_00000002")
    name, change = HARMS[harm]
    change(step / "1" / name)
    sealed_again(step)
    said = refusal(runs / "cohort")
    assert f"the files of student 1 in {step} are" in said
    assert f"remove {step}" in said


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "best.json", "best.safetensors"]
)
def test_and_of_a_job_s_student(runs, name):
    (step,) = runs.glob("job/checkpoints/step_00000002")
    (step / "0" / name).write_bytes(b"{}")
    sealed_again(step)
    assert f"the files of student 0 in {step} are" in refusal(runs / "job")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"students": [0, 1, 7]}, "has a student 7, but"),
        ({"files": {"0/model.safetensors": "x", "/dev/zero": "x"}}, "no valid checkpoint"),
        ({"files": {"0/../../../config.yaml": "x"}}, "no valid checkpoint"),
        ({"files": {}}, "the files of student 0 in"),
        ({"settings": [1]}, "no valid checkpoint"),
        ({"settings": {"lr": {"a": [1]}}}, "config.yaml has lr: 1"),
        ({"step": "two"}, "no valid checkpoint"),
        ({"progress": None}, "no valid checkpoint"),
        ({"format": "1"}, "format is '1'"),
    ],
)
def test_a_manifest_that_is_none(runs, changes, words):
    shutil.rmtree(runs / "cohort/checkpoints/step_00000001")
    file = runs / "cohort/checkpoints/step_00000002" / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    assert words in refusal(runs / "cohort")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not describe how a run ended: "),
        ("[]", "it must hold keys and values"),
        ("[" * 10**5, "does not describe how a run ended: "),
        ("{}", "status is missing"),
        ('{"status": "done"}', "status is 'done'"),
        ('{"status": ["finished"]}', "status is ['finished']"),
        ('{"status": "finished", "students": 3}', "students is 3"),
        ('{"status": "finished", "students": [{"student": "0"}]}', "students.0.student is '0'"),
        ('{"status": "finished", "dropped": "none"}', "dropped is 'none'"),
        ('{"status": "finished", "versions": {"torch": 2}}', "versions.torch is 2"),
    ],
)
def test_a_summary_that_is_none(tmp_path, text, words):
    folder = RunFolder(tmp_path)
    folder.summary.write_text(text)
    with pytest.raises(ConfigError) as caught:
        folder.read_summary()
    assert str(caught.value).startswith(f"{folder.summary} ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


KINDS = {
    "cohort": (train_cohort, CohortConfig(**SMALL, exchange="in_process")),
    "job": (self_distill, SelfDistillConfig(**SMALL, model="resnet8", workers=0)),
}


def remove(run_dir):
    shutil.rmtree(run_dir)


def move(run_dir):
    run_dir.rename(run_dir.with_name("moved"))


def begin_another(run_dir):
    remove(run_dir)
    RunFolder(run_dir).make()


def remove_the_config(run_dir):
    (run_dir / "config.yaml").unlink()


def remove_the_checkpoints(run_dir):
    shutil.rmtree(run_dir / "checkpoints")


def nothing_is_written():
    return not any(thread.name == "cohort-background" for thread in threading.enumerate())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "harm", [remove, move, begin_another, remove_the_config, remove_the_checkpoints]
)
@pytest.mark.parametrize(("phase", "step"), [("train", 1), ("test", 2)])
def test_a_folder_that_goes_ends_its_run_and_is_not_made_again(tmp_path, kind, harm, phase, step):
    """Amid training, and after the last step."""
    train, config = KINDS[kind]
    run_dir, left = tmp_path / "run", []

    def on_step(record):
        if (record["phase"], record["step"]) == (phase, step) and not left:
            wait_until(nothing_is_written)
            harm(run_dir)
            left.append(set(contents(tmp_path)))

    # But step 0, or ``left`` would be a matter of chance.
    config = replace(config, run_dir=str(run_dir), log_every=1, checkpoint_every=100)
    with pytest.raises(RunError, match="run was removed or moved while its run was going on"):
        train(config, on_step=on_step)
    assert set(contents(tmp_path)) == left[0]
