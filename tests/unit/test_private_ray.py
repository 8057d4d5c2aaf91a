"""Ray still has what it does not promise. No Ray is started."""

import importlib
import inspect
import os
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import ray.train
from ray._common.utils import get_default_ray_temp_dir
from ray._private import node, services
from ray._private.utils import validate_socket_filepath
from ray.exceptions import ActorDiedError
from ray.runtime_context import RuntimeContext
from ray.train import ControllerError, FailureConfig
from ray.train.v2._internal import exceptions

from cohort.runtime import private_ray

READERS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "ray._private.accelerators.accelerator",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "ray._private.ray_constants",
    "RAY_IGNORE_UNHANDLED_ERRORS": "ray._private.worker",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "ray.train.v2._internal.constants",
    "RAY_CHDIR_TO_TRIAL_DIR": "ray.train.constants",
    "TUNE_DISABLE_SIGINT_HANDLER": "ray.tune.tune",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "ray.tune.utils.callback",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "ray.tune.execution.tune_controller",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "ray.tune.trainable.function_trainable",
    "TUNE_GLOBAL_CHECKPOINT_S": "ray.tune.execution.tune_controller",
    "RAY_AIR_NEW_OUTPUT": "ray.tune.experimental.output",
    "TUNE_MAX_PENDING_TRIALS_PG": "ray.tune.execution.tune_controller",
    "RAY_AUTH_MODE": "ray._private.authentication.authentication_token_setup",
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "ray._private.accelerators.nvidia_gpu",
}
"""The module of Ray that reads each setting."""


def source(module):
    importlib.import_module(module)  # `ray.tune.tune` is a function where one looks for a module
    return inspect.getsource(sys.modules[module])


@pytest.mark.parametrize(("setting", "module"), READERS.items())
def test_settings_are_read(setting, module):
    assert f'"{setting}"' in source(module)


def test_these_are_all_settings():
    settings = private_ray.FOR_RAY | private_ray.FOR_TRAIN | private_ray.FOR_TUNE
    apart = {private_ray.UNREAD, private_ray.WAITING, private_ray.ALL_GPUS, private_ray.AUTH_MODE}
    assert settings.keys() | apart == READERS.keys()


@pytest.mark.parametrize("before", [None, "7"])
def test_a_setting_inside_a_block(monkeypatch, before):
    name = private_ray.WAITING
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with private_ray.environment(name, "3"):
        assert os.environ[name] == "3"
    assert os.environ.get(name) == before


def test_a_loopback_address_stays_one(monkeypatch):
    """A Ray told of it by ``_node_ip_address`` listens there alone, as long as it makes no cluster."""
    started = []

    def init(address, *, _node_ip_address):
        started.append((address, services.resolve_ip_for_localhost(_node_ip_address)))

    assert 'kwargs.pop("_node_ip_address"' in inspect.getsource(ray.init)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda _: "192.0.2.1")
    assert services.resolve_ip_for_localhost("127.0.0.1") == "192.0.2.1"
    private_ray.start_on_loopback()
    assert started == [("local", "127.0.0.1")]


def test_where_the_sockets_of_a_ray_will_lie(monkeypatch):
    for name in reversed(private_ray.TEMPORARY):
        monkeypatch.setenv(name, f"/{name}")
        assert get_default_ray_temp_dir() == f"/{name}/ray"
    source = inspect.getsource(node.Node)
    for part in ('"%Y-%m-%d_%H-%M-%S_%f"', "session_{date_str}_{os.getpid()}", '"sockets"'):
        assert part in source
    path = private_ray.longest_socket("/" + "x" * 36)
    validate_socket_filepath(path[: private_ray.LONGEST_SOCKET])
    with pytest.raises(OSError, match="AF_UNIX"):
        validate_socket_filepath(path.ljust(private_ray.LONGEST_SOCKET + 1, "x"))


def test_where_the_files_of_a_session_lie(monkeypatch):
    """Of every process of a Ray: its public context asks the same node for the session's name."""
    assert "self.worker.node.session_name" in inspect.getsource(RuntimeContext.get_session_name)
    here = SimpleNamespace(_session_dir="/tmp/ray/session_1")
    here.get_session_dir_path = partial(node.Node.get_session_dir_path, here)
    monkeypatch.setattr(ray._private.worker.global_worker, "node", here)
    assert private_ray.session_folder() == "/tmp/ray/session_1"


def test_a_node_knows_the_socket_of_its_raylet():
    assert isinstance(node.Node.raylet_socket_name, property)


def test_nodes_that_are_to_go(monkeypatch):
    """By number, with their deadlines; tests/ray/test_cluster.py has one go."""
    accessor = SimpleNamespace(get_draining_nodes=lambda: {"a": 0, "b": 7})
    state = ray._private.state.state
    monkeypatch.setattr(state, "_connect_and_get_accessor", lambda: accessor)
    assert private_ray.draining_nodes() == {"a", "b"}


def test_an_actor_knows_whether_it_was_started_again():
    assert isinstance(RuntimeContext.was_current_actor_reconstructed, property)


def test_what_ray_train_raises_is_told_apart():
    of_nodes = exceptions.WorkerHealthCheckFailedError("its node is gone", RuntimeError())
    assert private_ray.is_a_dead_worker(of_nodes)
    assert private_ray.is_a_dead_worker(ActorDiedError())
    assert not private_ray.is_a_dead_worker(RuntimeError())
    waited = exceptions.WorkerGroupStartupTimeoutError(2)
    assert private_ray.did_not_start(ControllerError(waited))
    assert not private_ray.did_not_start(ControllerError(RuntimeError()))
    assert not private_ray.did_not_start(waited)


def test_ray_train_need_not_wait_for_ever():
    config = FailureConfig(max_failures=3, **private_ray.NO_WAITING)
    assert (config.max_failures, config.controller_failure_limit) == (3, 1)


def test_trials_that_ended():
    trial = private_ray.ended_trial("a")
    assert (trial.trial_id, trial.num_failures) == ("a", 0)
    assert private_ray.error_of(trial) is None
