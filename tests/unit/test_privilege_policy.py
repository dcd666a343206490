"""Root's settings, whom it works for, and what it starts with."""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sampan_hub.privilege
from sampan_hub.privilege.account import Account, find_refusal, look_up, require_person
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import POLICY_FILE, Policy, find_untrusted, load_policy, parse_policy, render_policy
from sampan_hub.privilege.stages import make_root

ANA = Account("ana", 2001, 2001, "/home/ana", "/bin/bash")
START_LIMIT_S = 0.040


def test_what_root_does_not_say_has_its_default() -> None:
    assert parse_policy(b"{}") == Policy()
    assert Policy().sbatch == "/usr/bin/sbatch"
    changed = Policy(
        sbatch="/opt/slurm/bin/sbatch", slurm_conf="/etc/slurm/slurm.conf", accounting=True, min_uid=500,
        caller="sampan", stage_root="/shared/%u/sampan", refuse_groups=("sudo", "site-admins"),
    )  # fmt: skip
    assert parse_policy(render_policy(changed)) == changed


@pytest.mark.parametrize(
    "wrong",
    [
        {"sbatch": "sbatch"}, {"sbatch": "/usr/bin/sbatch --uid=0"}, {"sbatch": None}, {"sacct": "/a/../b"},
        {"squeue": ["/x"]},
        {"scancel": ""}, {"slurm_conf": "slurm.conf"}, {"accounting": 1}, {"accounting": "yes"}, {"accounting": None},
        {"min_uid": 0}, {"min_uid": -1}, {"min_uid": True}, {"min_uid": "1000"}, {"min_uid": 65534},
        {"caller": "a b"},
        {"caller": ""}, {"refuse_groups": "sudo"}, {"refuse_groups": [0]}, {"refuse_groups": ["a,b"]},
        {"stage_root": "/shared"}, {"stage_root": "/shared/%u/%u"}, {"stage_root": "%u"},
        {"stage_root": "/%u"},
        {"stage_root": "/shared/../%u"}, {"stage_root": "/shared/x%u"}, {"shell": "/bin/sh"}, {"PATH": "/x"},
        {"minuid": 1000},
    ],
)  # fmt: skip
def test_settings_are_strict(wrong: dict[str, Any]) -> None:
    with pytest.raises(RunAsError):
        parse_policy(json.dumps(wrong).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b'{"min_uid": 1000, "min_uid": 1}', b"{} {}", b"\xff"])
def test_settings_are_one_object(data: bytes) -> None:
    with pytest.raises(RunAsError):
        parse_policy(data)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_policy(str(tmp_path / "missing.json")) == Policy()
    assert POLICY_FILE == "/etc/sampan/run-as.json"


def test_a_file_that_others_can_change_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "run-as.json"  # below /tmp, which everybody may write to
    file.write_text("{}")
    (tmp_path / "link.json").symlink_to(file)
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("run-as.json", "link.json", "folder.json", "pipe.json"):
        with pytest.raises(RunAsError) as refused:
            load_policy(str(tmp_path / name))
        assert refused.value.code == "installation"


def test_what_is_roots_is_told_from_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With files as the real ones are, but owners and modes as they may be; a link leads on to another one."""
    bin_, link, elsewhere, middle, folder, file = (
        tmp_path / name for name in ("bin", "bin/python", "current", "current/python", "3.13", "3.13/python")
    )
    for made in (bin_, elsewhere, folder):
        made.mkdir()
    file.touch()
    middle.symlink_to("../3.13/python")
    link.symlink_to(middle)
    look = os.lstat
    told: dict[str, tuple[int, int]] = {}

    def lstat(path: str | Path, **options: Any) -> os.stat_result:
        kind = stat.S_IFMT(look(path, **options).st_mode)
        uid, bits = told.get(str(path), (0, 0o777 if stat.S_ISLNK(kind) else 0o755))
        return os.stat_result((kind | bits, 0, 0, 1, uid, 0, 0, 0, 0, 0))

    monkeypatch.setattr("sampan_hub.privilege.policy.os.lstat", lstat)
    assert find_untrusted([str(file), str(link)]) is None
    for path in (*link.parents, link, elsewhere, middle, folder, file):
        is_link = path in (link, middle)
        for bad in [(1000, 0o755), *([] if is_link else [(0, 0o775), (0, 0o757)])]:
            told.clear()
            told[str(path)] = bad
            assert find_untrusted([str(link)]) == str(path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"uid": 0}, "root"), ({"gid": 0}, "root"), ({"uid": 999}, "system account"),
        ({"uid": 65534}, "system account"),
        ({"uid": 2**32 - 1}, "system account"), ({"uid": 2**32 - 2}, "system account"),
        ({"shell": "/usr/sbin/nologin"}, "log in"),
        ({"shell": "/bin/false"}, "log in"), ({"name": "a\\b"}, "name"), ({"name": "../ana"}, "name"),
        ({"name": ""}, "name"),
        ({"home": ""}, "home"), ({"home": "/"}, "home"), ({"home": "/home/%j"}, "home"),
        ({"home": "/home/a b"}, "home"),
        ({"home": "home/ana"}, "home"), ({"home": "/home/../etc"}, "home"), ({"home": "/home/$(id)"}, "home"),
        ({"home": "/home/ana\n"}, "home"), ({"home": "/home/ana;id"}, "home"), ({"home": "/home/é"}, "home"),
    ],
)  # fmt: skip
def test_it_works_for_ordinary_people_only(changed: dict[str, Any], reason: str) -> None:
    assert reason in str(find_refusal(ANA._replace(**changed), 1000))


def test_an_ordinary_person_is_one() -> None:
    assert find_refusal(ANA, 1000) is None
    assert find_refusal(ANA._replace(name="ana@site.example", home="/home/site.example/ana", shell=""), 1000) is None
    with pytest.raises(RunAsError, match="no account nobody-of-that-name"):
        look_up("nobody-of-that-name")


@pytest.mark.parametrize(
    ("gid", "others", "group"),
    [(2001, [], None), (2001, [3001], None), (27, [], "sudo"), (2001, [3001, 998], "docker"), (2001, [28], "root2")],
)
def test_who_can_become_root_is_refused(
    monkeypatch: pytest.MonkeyPatch, gid: int, others: list[int], group: str | None
) -> None:
    known = {"sudo": 27, "docker": 998, "toor": 28, "root2": 28, "chemists": 3001}
    monkeypatch.setattr(os, "getgrouplist", lambda _, primary: [primary, *others])
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", known[name], [])))
    policy = Policy(refuse_groups=("no-such-group", *Policy().refuse_groups, "root2"))
    if group is None:
        require_person(ANA._replace(gid=gid), policy)
        require_person(ANA._replace(gid=27), Policy(refuse_groups=()))
        return
    with pytest.raises(RunAsError, match=f"in the group {group}, .*refuse_groups") as refused:
        require_person(ANA._replace(gid=gid), policy)
    assert refused.value.code == "user"


def test_stages_are_in_the_home_folder_or_where_root_says() -> None:
    assert make_root(Policy(), ANA).path == "/home/ana/.sampan/jobs"
    elsewhere = make_root(Policy(stage_root="/shared/sampan/%u"), ANA)
    assert (elsewhere.base, elsewhere.below, elsewhere.path) == ("/shared/sampan", ("ana",), "/shared/sampan/ana")
    assert make_root(Policy(stage_root="/shared/%u/jobs"), ANA).path == "/shared/ana/jobs"


def test_it_starts_quickly_and_brings_nothing_of_the_rest() -> None:
    show = "import sys, sampan_hub.privilege.__main__ as m; print([n for n in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", show], capture_output=True, text=True, check=True)
    ours = [name for name in eval(done.stdout) if name.startswith("sampan_hub.")]
    assert all(name.startswith("sampan_hub.privilege") for name in ours), ours
    assert not {"pydantic", "asyncio", "pathlib", "dataclasses", "socket", "ssl", "ctypes"} & set(eval(done.stdout))
    least_s = _cpu_s("-m", "sampan_hub.privilege", "nothing") - _cpu_s("-c", "pass")
    assert least_s < START_LIMIT_S, f"{least_s * 1000:.0f} ms beside the interpreter's own start"


def _cpu_s(*arguments: str) -> float:
    """The least processor time of several runs: other processes of this machine cannot add to it."""
    found = []
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-I", *arguments], stderr=subprocess.DEVNULL)
        _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
        found.append(used.ru_utime + used.ru_stime)
    return min(found)


def test_every_module_is_of_the_standard_library() -> None:
    folder = Path(next(iter(sampan_hub.privilege.__path__)))
    for file in folder.glob("*.py"):
        for line in file.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                top = words[1].split(".")[0]
                assert top in sys.stdlib_module_names or words[1].startswith("sampan_hub.privilege"), (file, line)
