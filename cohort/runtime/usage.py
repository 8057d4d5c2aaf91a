"""What a process has used so far."""

import resource


def usage() -> dict[str, float]:
    """CPU seconds and largest resident size in bytes of the process that asks, so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_memory": used.ru_maxrss * 1024}
