"""Storages that are far away: fsspec's memory behind pyarrow, which may fail, and no cache but the test's."""

import io

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import PythonFile
from pyarrow.fs import FSSpecHandler, PyFileSystem

from cohort.run import storage

RUN = "memory://bucket/run"


class Handler(FSSpecHandler):
    """Notes what it is asked, and fails where ``fails`` says so of the number of the call, and the call."""

    def __init__(self, files, fails):
        super().__init__(files)
        self.calls, self.fired = [], []
        self._fails = fails

    def _called(self, what, path):
        self.calls.append(f"{what} {path.strip('/').removeprefix('bucket/run/')}")
        if self._fails(len(self.calls), self.calls[-1]):
            self.fired.append(self.calls[-1])
            raise OSError("the cable is cut")

    def get_file_info(self, paths):
        self._called("look", paths[0])
        return super().get_file_info(paths)

    def get_file_info_selector(self, selector):
        self._called("list", selector.base_dir)
        return super().get_file_info_selector(selector)

    def delete_dir(self, path):
        self._called("remove", path)
        super().delete_dir(path)

    def open_input_stream(self, path):
        self._called("read", path)
        return super().open_input_stream(path)

    def open_output_stream(self, path, metadata):
        self._called("write", path)
        return super().open_output_stream(path, metadata)


class Halving(FSSpecHandler):
    """Puts half of a file there the first time, and says that all went well."""

    def __init__(self, files):
        super().__init__(files)
        self.halved = set()

    def open_output_stream(self, path, metadata):
        if path in self.halved:
            return super().open_output_stream(path, metadata)
        self.halved.add(path)
        return PythonFile(_Half(self.fs, path), mode="w")


class _Half(io.BytesIO):
    def __init__(self, files, path):
        super().__init__()
        self._files, self._path = files, path

    def close(self):
        if not self.closed:
            content = self.getvalue()
            self._files.pipe_file(self._path, content[: len(content) // 2])
        super().close()


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """An empty memory at memory://, and a cache of the test's own; no waiting between tries."""
    files = MemoryFileSystem()
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "WAITS", (0.0,) * 3)
    yield files
    files.store.clear()


@pytest.fixture
def behind(memory, monkeypatch):
    """Puts a handler between runs and the memory."""

    def put(handler):
        monkeypatch.setattr(
            storage,
            "_reach",
            lambda uri: (PyFileSystem(handler), MemoryFileSystem._strip_protocol(uri)),
        )
        return handler

    return put


@pytest.fixture
def failing(memory, behind):
    """Has the memory fail where it is told to."""
    return lambda fails: behind(Handler(memory, fails))


def names(files, place="/bucket/run"):
    """{name: content} of all files below a place."""
    return {path.removeprefix(f"{place}/"): files.cat_file(path) for path in files.find(place)}
