"""All that is used here of Ray though Ray does not promise it, or not in every version.

Each with its reason; ``tests/unit/test_private_ray.py`` fails when a new Ray lacks one of them.
Importing this imports no Ray: the settings must be there before Ray is.
"""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

FOR_RAY = {
    # No GPU is no reason to warn of a default that is to change.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # We say it, in a sentence: the deaths of workers and of nodes, and that one which was given up ends.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed|has been marked dead|Raylet is terminated",
}
FOR_TRAIN = {
    # Seconds until a death is seen; by default a worker's report waits for two.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    # One's own modules are imported from here.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
FOR_TUNE = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Ctrl-C ends trials at a checkpoint.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Run folders have the records.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A failed trial measures nothing.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # A stopped trial writes its summary; if its process is not free by then, the next one is lost.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "3600",
    # A study goes on from its run folders.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # Progress is ours.
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""Settings by environment variable, read when Ray is imported or by the processes that it starts.

Put into the environment, behind what the user has set there, before ``import ray``."""
UNREAD = "RAY_IGNORE_UNHANDLED_ERRORS"
"""When a student dies, posteriors that nobody will read hold its error, which was read already."""
WAITING = "TUNE_MAX_PENDING_TRIALS_PG"
"""Trials that wait for places; by itself Tune takes one, and short trials run one by one."""
AUTH_MODE = "RAY_AUTH_MODE"
"""``token`` or ``disabled``; unset, each of Ray's commands decides by itself, and not all alike."""
ALL_GPUS = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
"""Of an actor's own environment: it sees all GPUs of its node; see ``own_gpu``."""
TEMPORARY = ("RAY_TMPDIR", "TMPDIR")
"""Variables that name the folder for temporary files, the first one first; without them /tmp."""
LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of the path of an AF_UNIX socket."""
NO_WAITING: dict[str, Any] = {"controller_failure_limit": 1}
"""Of ``ray.train.FailureConfig``: by default Ray Train waits for a busy cluster for ever."""


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """A setting inside the block, and what it was before afterwards."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        os.environ.update({} if before is None else {name: before})


def start_on_loopback(**options: Any) -> None:
    """``ray.init`` of a Ray that no other machine reaches.

    What authenticates who reaches it from this machine is a token, in a file of this user's alone.
    """
    import ray

    have_token()
    with on_loopback():
        ray.init("local", _node_ip_address="127.0.0.1", **options)


def join(address: str, seconds: float, **options: Any) -> None:
    """``ray.init`` with a running cluster, ``auto`` or host:port, in the authentication mode that it has.

    Raises RefusedError if the cluster does not take this user's token, ConnectionError if none
    answers within so many seconds, ValueError for what is no address. Asked alone, Ray tries for
    minutes, tells the terminal of each try, and then which of them it was no more.
    """
    import ray
    from ray._private import services

    if address == "auto":
        address = services.get_ray_address_from_environment("auto", None) or ""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ValueError("it must be auto or host:port")
    elsewhere = services.canonicalize_bootstrap_address(address) or address
    try:
        _agree_on_mode(elsewhere, seconds)
    except ConnectionError:
        if elsewhere == address:
            raise
        _agree_on_mode(address, seconds)
        with on_loopback():
            ray.init(address, **options)
    else:
        ray.init(address, **options)


class RefusedError(Exception):
    """A cluster answers, but not to this user."""


@contextmanager
def on_loopback() -> Iterator[None]:
    """Inside, a loopback address stays one.

    On Linux Ray turns it into one that other machines reach, and listens on all interfaces; a switch,
    which is off on other systems, keeps it from doing so.
    """
    from ray._private import ray_constants

    may_cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = may_cluster


@contextmanager
def auth_mode_kept() -> Iterator[None]:
    """Ray sets the authentication mode, for good; after the block it is what it was before."""
    before = os.environ.get(AUTH_MODE)
    try:
        yield
    finally:
        if os.environ.get(AUTH_MODE) != before:
            _set_auth_mode(before)


def _set_auth_mode(mode: str | None) -> None:
    from ray._raylet import Config  # type: ignore[attr-defined]

    os.environ.pop(AUTH_MODE, None)
    os.environ.update({} if mode is None else {AUTH_MODE: mode})
    Config.initialize("")  # which read the environment before


def have_token() -> None:
    """The token that Ray would write for all users to read is written for this one alone."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    loader = AuthenticationTokenLoader.instance()
    wanted = os.environ.get(AUTH_MODE, "token").lower() == "token"
    if not wanted or loader.has_token(ignore_auth_mode=True):
        return
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with (
        suppress(FileExistsError),
        open(path, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file,
    ):
        file.write(secrets.token_hex(32))
    loader.reset_cache()


def _agree_on_mode(address: str, seconds: float) -> None:
    """Take on the authentication mode of the cluster at host:port, unless the user has set one."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    mode, loader = os.environ.get(AUTH_MODE), AuthenticationTokenLoader.instance()
    mode = mode and mode.lower()
    if _answers(address, {}, seconds):
        if mode == "token":  # it could not answer this process, which would ask it for tokens
            raise RefusedError(f"it uses no tokens, but {AUTH_MODE} is token here")
        return
    if mode not in (None, "token"):
        raise RefusedError(f"it asks for a token, but {AUTH_MODE} is {mode} here")
    if not loader.has_token(ignore_auth_mode=True):
        raise RefusedError("it asks for a token, and there is none here")
    if not _answers(address, loader.get_token_for_http_header(), seconds):
        raise RefusedError("it asks for another token than the one here")
    _set_auth_mode("token")


def is_there(address: str, seconds: float) -> bool:
    """Whether a cluster's GCS at host:port answers within so many seconds, be it with a refusal."""
    try:
        _answers(address, {}, seconds)
    except ConnectionError:
        return False
    return True


def raylet_socket() -> str:
    """Of the raylet that serves this process."""
    import ray

    node: Any = ray._private.worker.global_worker.node
    socket: str = node.raylet_socket_name
    return socket


def _answers(address: str, headers: Mapping[str, str], seconds: float) -> bool:
    """Whether a cluster at host:port takes these headers. Raises ConnectionError if there is none."""
    import grpc

    options = [("grpc.enable_http_proxy", 0)]  # as Ray does
    with grpc.insecure_channel(address, options) as channel:
        alive = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            alive(b"", timeout=seconds, metadata=tuple(headers.items()))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return False
            reason = str(error.details()).rpartition(": ")[2]  # of the attempts
            raise ConnectionError(reason) from error
    return True


def longest_socket(folder: str) -> str:
    """The longest path of a socket of a Ray that this process would start, given the temporary folder."""
    session = f"session_0000-00-00_00-00-00_000000_{os.getpid()}"
    return os.path.join(folder, "ray", session, "sockets", "plasma_store")


def session_folder() -> str:
    """Where the Ray of this process keeps its files on this node: ours beside them go when they go."""
    import ray

    node: Any = ray._private.worker.global_worker.node
    folder: str = node.get_session_dir_path()
    return folder


def draining_nodes() -> frozenset[str]:
    """Nodes that are to go soon; what Ray offers in public tells of it to the workers of Ray Train alone."""
    import ray

    return frozenset(ray._private.state.state.get_draining_nodes())


def was_started_again() -> bool:
    """Whether the actor that asks died, and Ray has started it again: nothing else tells it so."""
    import ray

    again: bool = ray.get_runtime_context().was_current_actor_reconstructed
    return again


def is_a_dead_worker(failure: Exception) -> bool:
    """Whether Ray Train's error about one worker says that its process or node is gone."""
    import ray
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    return isinstance(failure, ray.exceptions.RayActorError | WorkerHealthCheckFailedError)


def did_not_start(error: Exception) -> bool:
    """Whether Ray Train gave up because its workers found no places in time."""
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    return isinstance(getattr(error, "controller_failure", None), WorkerGroupStartupTimeoutError)


def ended_trial(name: str) -> "Trial":
    """A trial of an earlier session, for a scheduler to compare with: it trains nothing."""
    from ray.tune.experiment import Trial

    return Trial("ended", trial_id=name, stub=True)


def error_of(trial: "Trial") -> Exception | None:
    """What the process of a trial died of, whole: the trial's public text of it is a traceback."""
    return trial.get_pickled_error()
