"""What this process and all that tests start have in their environment, before torch and Ray read it."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # two cores suffice, and results are bit-stable
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes are hundreds: all would compile cohort
os.environ["RAY_AUTH_MODE"] = "disabled"  # no token in the home folder of whoever runs the tests
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - beside other tests its processes would starve
os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # one process less to wait for
os.environ["PYTHONPATH"] = os.pathsep.join(
    [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
)
