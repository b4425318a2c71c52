"""The memory that files may fill is the machine's, or what is left in the tightest control group."""

import pytest

from fastcollate.storage.memory_room import memory_room


@pytest.fixture
def machine(tmp_path):
    """`machine({file: text})`: a root with these files and 1,000 MB available."""

    def make(files):
        for name, text in {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 1024000 kB\n", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_without_control_groups_it_is_what_the_machine_has(machine):
    assert memory_room(machine({})) == 1000 << 20


def test_nobody_may_tell_it(tmp_path):
    assert memory_room(tmp_path) is None


@pytest.mark.parametrize("mount", ["sys/fs/cgroup", "sys/fs/cgroup/unified"])
def test_a_group_of_the_second_version_limits_it(machine, mount):
    files = {"proc/self/cgroup": "0::/jobs/mine\n", f"{mount}/jobs/mine/memory.max": f"{800 << 20}\n"}
    files[f"{mount}/jobs/mine/memory.stat"] = f"anon {100 << 20}\nfile {300 << 20}\n"
    assert memory_room(machine(files)) == 700 << 20


def test_a_group_above_limits_it_too(machine):
    files = {"proc/self/cgroup": "0::/jobs/mine\n", "sys/fs/cgroup/jobs/mine/memory.max": "max\n"}
    assert memory_room(machine(files | {"sys/fs/cgroup/jobs/memory.max": f"{5 << 20}\n"})) == 5 << 20


def test_a_group_of_the_first_version_limits_it(machine):
    files = {"proc/self/cgroup": "9:cpu:/else\n4:memory:/jobs\n"}
    files["sys/fs/cgroup/memory/jobs/memory.limit_in_bytes"] = f"{800 << 20}\n"
    files["sys/fs/cgroup/memory/jobs/memory.stat"] = f"rss 1\ntotal_rss {50 << 20}\n"
    files["sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert memory_room(machine(files)) == 750 << 20


def test_in_a_container_the_limit_may_lie_at_the_mount(machine):
    files = {"proc/self/cgroup": "0::/seen/from/outside\n", "sys/fs/cgroup/memory.max": f"{64 << 20}\n"}
    assert memory_room(machine(files)) == 64 << 20


def test_what_is_used_beyond_the_limit_leaves_nothing(machine):
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10\n"}
    assert memory_room(machine(files | {"sys/fs/cgroup/memory.stat": "anon 20\n"})) == 0
