import subprocess
import sys

import psutil
import pytest

from odn_keras.utils import process_memory


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups of 2 GB, of which 1.5 GB are used, 0.3 GB of that by cached files."""

    def make(version, own, folder):
        monkeypatch.setattr(process_memory, "CGROUPS", tmp_path)
        monkeypatch.setattr(process_memory, "OWN_CGROUPS", tmp_path / "own")
        (tmp_path / "own").write_text(own)
        limit, usage, cached = {
            1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            2: ("memory.max", "memory.current", "inactive_file"),
        }[version]
        group = tmp_path / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text("2000000000\n")
        (group / usage).write_text("1500000000\n")
        (group / "memory.stat").write_text(f"anon 5\n{cached} 300000000\n")

    return make


@pytest.mark.parametrize(
    ("version", "own", "folder"),
    [
        (2, "0::/\n", "."),
        (2, "0::/jobs/17\n", "jobs/17"),
        (2, "0::/jobs/17\n", "jobs"),  # a limit above holds too
        (2, "0::/docker/of/the/host\n", "."),  # as a container may see its own
        (1, "5:cpu,cpuacct:/x\n4:memory:/jobs/17\n", "memory/jobs/17"),
        (1, "4:memory:/docker/abc\n", "memory"),
    ],
)
def test_a_control_groups_limit_counts(groups, version, own, folder):
    groups(version, own, folder)
    assert process_memory.available_memory() == min(800_000_000, psutil.virtual_memory().available)


def test_groups_without_a_limit_are_no_limit(groups, tmp_path):
    groups(2, "0::/\n", ".")
    (tmp_path / "memory.max").write_text("max\n")
    assert process_memory.available_memory() > 800_000_000


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_counts(limit):
    code = (
        "import resource\n"
        "from odn_keras.utils.process_memory import available_memory\n"
        f"resource.setrlimit(resource.{limit}, (10**9, 10**9))\n"
        "left = available_memory()\n"
        "assert 10**8 < left < 10**9, left\n"
        "block = bytearray(left - 2 * 10**7)\n"
        "assert available_memory() < 10**8\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
