"""A run on pictures in files: what the user is told of them, and one that breaks on the way."""

import pytest

from cohort import CohortConfig, resume, train_cohort
from cohort.analysis.evaluate import evaluate_run
from cohort.errors import ConfigError, RunError
from cohort.run.data_card import read_data_card
from cohort.run.folder import RunFolder
from tests.support.pictures import make_folder, make_imagenet, make_market, make_tiny_imagenet


@pytest.fixture
def root(tmp_path):
    root = make_folder(tmp_path / "root", classes=2, train=8, test=2, size=(16, 16))
    (root / "train" / "class0" / "notes.txt").touch()
    return root


def config(root, **options):
    return CohortConfig(
        **{"dataset": "folder", "data_root": str(root), "image_size": 16, "feed": "node"},
        **{"students": ("resnet8",), "exchange": "in_process", "batch_size": 4, "log_every": 1},
        run_dir=str(root.parent / "run"),
        **options,
    )


def test_notes_are_shown_and_kept_and_shown_by_evaluate(root, capsys):
    broken = root / "train" / "class1" / "0002.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    result = train_cohort(config(root, steps=2, skip_broken=True), verbose=True)
    out, card = capsys.readouterr().out, read_data_card(RunFolder(result.run_dir))
    assert len(card.notes) == 2
    for note in card.notes:
        assert out.count(note) == 1
    assert card.skipped == (str(broken),)
    assert card.counts == {"train": 15, "test": 4}
    assert evaluate_run(result.run_dir).notes == card.notes
    (root / "train" / "class1" / "0003.jpg").unlink()
    changed = "its data have changed: 14 images in train, where the run began with 15"
    with pytest.raises(ConfigError, match=changed):
        resume(result.run_dir, given={"steps": 4})
    assert changed in evaluate_run(result.run_dir).notes


def test_a_file_that_breaks_amid_training_is_named(root):
    def break_them(record):
        for path in (root / "train").rglob("*.jpg"):
            path.write_bytes(b"")

    message = "train/class./000..jpg cannot be read as a picture: .* --resume the run, or .* --skip-broken"
    with pytest.raises(RunError, match=message) as caught:
        train_cohort(config(root, steps=20), on_step=break_them)
    assert "\n" not in str(caught.value)


LAYOUTS = {
    "folder": make_folder,
    "tiny-imagenet": make_tiny_imagenet,
    "imagenet": make_imagenet,
    "market1501": make_market,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_learned_and_a_run_on_it_that_broke_off_goes_on(layout, tmp_path):
    """The same students from memory, where that is possible, from files, and after a pause."""

    def train(name, on_step=None, **options):
        where = {"dataset": layout, "data_root": str(root), "image_size": 16}
        how = {"students": "resnet8", "exchange": "in_process", "batch_size": 8, "steps": 6}
        values = where | how | {"checkpoint_every": 2, "log_every": 1, "epochs": 3, "threads": 1}
        config = CohortConfig(**values, **options, run_dir=str(tmp_path / name))
        return train_cohort(config, on_step=on_step).summary["students"]

    def fail(record):
        if record["step"] == 5:
            raise KeyError("five")

    root = LAYOUTS[layout](tmp_path / "root")
    files = train("files", feed="node")
    if layout != "imagenet":  # whose pictures are cut out of their files
        assert train("memory", feed="memory") == files
    with pytest.raises(RunError):
        train("broken", fail, feed="node")
    assert resume(tmp_path / "broken").summary["students"] == files
    assert len({student["weights_sha256"] for student in files}) == 2
    assert ("test_map" in files[0]) == (layout == "market1501")
