"""The memory that this process can still have, by the machine, the limits of the process and its control group."""

import pathlib

import psutil

CGROUPS = pathlib.Path("/sys/fs/cgroup")
OWN_CGROUPS = pathlib.Path("/proc/self/cgroup")
V1 = [("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")]
V2 = [(limit, "memory.current", "inactive_file") for limit in ("memory.max", "memory.high")]


def available_memory() -> int:
    """Bytes that this process can have without swapping and without being refused or killed."""
    return max(0, min([psutil.virtual_memory().available, *_left_by_limits(), *_left_by_cgroups()]))


def _left_by_limits() -> list[int]:
    """Bytes left by `ulimit -v` and `ulimit -d`."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    used = psutil.Process().memory_info()
    limits = ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, getattr(used, "data", 0)))
    return [soft - taken for limit, taken in limits if (soft := resource.getrlimit(limit)[0]) != resource.RLIM_INFINITY]


def _left_by_cgroups() -> list[int]:
    """Bytes left by the control groups of this process: those of a container, a Slurm job or a systemd unit."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return []
    left: list[int | None] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (CGROUPS / "memory", V1) if controllers else (CGROUPS, V2)
        group = pathlib.PurePosixPath(path.lstrip("/"))
        # A container sees its own group at the root, and perhaps another path in /proc.
        for folder in {root / group, *(root / parent for parent in group.parents), root}:
            left += [_left_in(folder, *names) for names in files]
    return [rest for rest in left if rest is not None]


def _left_in(folder: pathlib.Path, limit_file: str, usage_file: str, cache: str) -> int | None:
    try:
        limit, usage = (int((folder / name).read_text()) for name in (limit_file, usage_file))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or "max"
        return None
    return limit - usage + int(statistics.get(cache, 0))  # the kernel takes cached files back where it needs memory
