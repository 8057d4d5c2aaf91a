"""A run on pictures in files: what the user is told of them, and one that breaks on the way."""

import pytest

from cohort import CohortConfig, resume, train_cohort
from cohort.analysis.evaluate import evaluate_run
from cohort.errors import ConfigError, RunError
from cohort.run.data_card import read_data_card
from cohort.run.folder import RunFolder
from tests.support.pictures import make_folder


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
