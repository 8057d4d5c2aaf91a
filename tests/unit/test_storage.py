"""Places on a storage: how they are named, and what is refused of them, without a run."""

import doctest

import pytest
from pyarrow.fs import FileSystem

from cohort import CohortConfig, ConfigError
from cohort.analysis.options import AnalyseOptions
from cohort.learning.export import export_exit
from cohort.learning.pretrained import read_weights
from cohort.run import storage
from cohort.run.storage import Storage, cache_of
from tests.support.command import here
from tests.support.refusal import contents
from tests.support.storages import behind as behind
from tests.support.storages import failing as failing
from tests.support.storages import memory as memory


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """No folder called s3:, above all."""
    monkeypatch.chdir(tmp_path)
    yield
    assert contents(tmp_path) == {}


def test_examples_in_docstrings_run():
    results = doctest.testmod(storage)
    assert results.attempted
    assert not results.failed


REFUSED = {
    "nowhere://bucket/run": "nowhere://bucket/run cannot be reached: ArrowInvalid: Unrecognized",
    "memory://": "memory:// names no folder there, as s3://",
    "s3://bucket/run?regoin=x": "s3://bucket/run?regoin=x cannot be reached: ArrowInvalid: Unexpected",
    "s3:/bucket/run": "s3:/bucket/run has one slash behind s3:, as a Path makes of two; a storage is named "
    "by text, such as s3://bucket/run",
    "file:/runs/a": "file:/runs/a has one slash behind file:, as a Path makes of two; a storage is named "
    "by text, such as file:///runs/a",
    "s3://key:se/cr@et@bucket/run": "s3://key:…@… has a password, which would stand in messages",
}


@pytest.mark.parametrize("uri", REFUSED)
@pytest.mark.parametrize("flag", ["--run-dir", "--resume"])
def test_a_uri_that_leads_nowhere(memory, uri, flag):
    code, out, err = here(flag, uri)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {REFUSED[uri]}")
    assert err.count("\n") == 1
    assert "se/cr" not in err


@pytest.mark.parametrize(
    "uri", ["hdfs://user@host:8020/run@2", "gs://bucket/run", "s3://b/run?endpoint_override=a:9000"]
)
def test_what_is_no_password(memory, monkeypatch, uri):
    asked = []
    monkeypatch.setattr(storage, "_reach", lambda uri: (asked.append(uri), "/run"))
    Storage(uri)
    assert asked == [uri]


def test_what_pyarrow_knows_itself_is_not_fsspec_s(tmp_path):
    assert FileSystem.from_uri(f"file://{tmp_path}/run")[0].type_name == "local"
    system, path = storage._reach(f"file://{tmp_path}/run")
    assert (system.type_name, path) == ("local", f"{tmp_path}/run")


def test_a_storage_that_answers_again_is_tried_as_often_as_before(failing):
    away = [True]
    handler = failing(lambda number, call: away[0])
    storage = Storage("memory://bucket/run")
    for tries in (3, 4):  # not often at first, and then once
        with pytest.raises(OSError, match="the cable is cut"):
            storage.files()
        assert len(handler.calls) == tries
    away[0] = False
    assert storage.files() == {}
    away[0] = True
    with pytest.raises(OSError, match="the cable is cut"):
        storage.files()
    assert len(handler.calls) == 9


def test_names_that_lead_elsewhere_are_not_seen(memory):
    memory.pipe_file("/bucket/run/students/../../../x", b"")
    memory.pipe_file("/bucket/run/a/b", b"12")
    found = Storage("memory://bucket/run").files()
    assert {name: info.size for name, info in found.items()} == {"a/b": 2}


def test_each_place_has_a_mirror_of_its_own(memory):
    uris = ["s3://a/run", "s3://b/run", "s3://a/run?region=x", "gs://a/run", "s3://a/" + "x" * 300]
    folders = {cache_of(uri, "runs") for uri in uris}
    assert len(folders) == len(uris)
    assert cache_of("s3://a/run/", "runs") in folders  # the same
    assert max(len(folder.name) for folder in folders) < 100


TAKES_A_PATH = {
    "--data-root": lambda uri: CohortConfig(data_root=uri),
    "--output": lambda uri: export_exit("runs/a", 1, uri, "safetensors"),
    "--output ": lambda uri: AnalyseOptions(runs=("runs/a",), output=uri),
    "--pretrained": read_weights,
}


@pytest.mark.parametrize("flag", TAKES_A_PATH)
@pytest.mark.parametrize("uri", ["s3://bucket/a", "s3:/bucket/a"])
def test_what_takes_a_path_alone(flag, uri):
    with pytest.raises(
        ConfigError, match=f"^{flag.strip()} is '{uri}', on a storage; it must be a path on"
    ):
        TAKES_A_PATH[flag](uri)
