"""What Slurm keeps of a job: its key in the name, its signed identity in the comment, arrays of neighbours."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.backends.slurm.batching import make_arrays
from sampan_hub.backends.slurm.comment import MAX_BYTES, TooLong, make_comment, read_comment
from sampan_hub.backends.slurm.names import (
    BLOCK,
    JobName,
    make_candidates,
    make_stage,
    parse_job_name,
    parse_slurm_id,
    parse_tasks,
)
from sampan_hub.backends.slurm.sighting import Reader
from sampan_hub.jobs.keys import is_signed, make_job_id
from sampan_hub.privilege import forms
from tests.unit.slurm_rows import BATCH, INSTANCE, KEY, NAME, make_identity, make_row, make_spec


def test_a_name_and_a_task_tell_the_job_without_any_record() -> None:
    name = parse_job_name(f"sampan.{INSTANCE}.{BATCH}.1000")
    assert name == JobName(INSTANCE, BATCH, 1000)
    assert name.job_id(7) == make_job_id(INSTANCE, BATCH, 1007)
    assert name.job_id(None) == make_job_id(INSTANCE, BATCH, 1000)


@given(st.text(max_size=60))
def test_other_names_are_nobodys(text: str) -> None:
    assert parse_job_name(text) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [("123", (123, None)), ("123_4", (123, 4)), ("123_0", (123, 0)), ("0", None), ("123_[0-3]", None), ("12+0", None)],
)
def test_slurm_ids_are_read(text: str, read: tuple[int, int | None] | None) -> None:
    assert parse_slurm_id(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("4_[3-5]", (4, (3, 4, 5))),
        ("4_[0,3-4,7%2]", (4, (0, 3, 4, 7))),
        ("4_[9]", (4, (9,))),
        ("4_[0-9999999]", None),
        ("4_3", None),
        ("4_[3-]", None),
    ],
)
def test_records_of_several_tasks_are_read(text: str, read: tuple[int, tuple[int, ...]] | None) -> None:
    assert parse_tasks(text) == read


@pytest.mark.parametrize("count", [1, 2, 400, 1000])
def test_a_comment_carries_every_identity_signed(count: int) -> None:
    identities = [make_identity(index) for index in range(count)]
    comment = make_comment(identities, NAME, 0, KEY)
    assert len(comment) <= MAX_BYTES
    assert forms.COMMENT.fullmatch(comment)
    packed = read_comment(comment, NAME, KEY)
    assert packed is not None
    assert [packed.unpack(task, KEY) for task in range(count)] == identities
    assert packed.unpack(count, KEY) is None
    assert packed.unpack(None, KEY) is None


def test_a_notebook_alone_has_its_identity_in_its_comment() -> None:
    identity = make_identity(3, name="", parent=None, cluster=None)
    name = JobName(INSTANCE, BATCH, 3)
    packed = read_comment(make_comment([identity], name, None, KEY), name, KEY)
    assert packed is not None
    assert packed.unpack(None, KEY) == identity
    assert packed.unpack(0, KEY) is None


def test_names_that_do_not_count_up_are_listed_and_may_not_fit() -> None:
    identities = [make_identity(index, name=f"żółw-{index * 7 % 5}") for index in range(5)]
    packed = read_comment(make_comment(identities, NAME, 0, KEY), NAME, KEY)
    assert packed is not None
    assert packed.task_names == tuple(identity.name for identity in identities)
    with pytest.raises(TooLong):
        make_comment([make_identity(index, name=f"{index}-worker-of-mine") for index in range(100)], NAME, 0, KEY)


def test_no_change_of_a_comment_or_its_name_is_believed() -> None:
    comment = make_comment([make_identity(index) for index in range(2)], NAME, 0, KEY)
    assert read_comment(comment, replace(NAME, offset=1000), KEY) is None
    assert read_comment(comment, replace(NAME, batch="z" * 24), KEY) is None
    assert read_comment(comment, NAME, b"another key") is None
    draw = random.Random(5)
    for _ in range(300):
        at = draw.randrange(len(comment))
        changed = comment[:at] + draw.choice("abcdefgh019_-.") + comment[at + 1 :]
        assert changed == comment or read_comment(changed, NAME, KEY) is None


@given(st.text(max_size=200))
def test_any_text_as_a_comment_is_nobodys(text: str) -> None:
    assert read_comment(text, NAME, KEY) is None


def _indices(array: object) -> list[int]:
    return [spec.identity.index for spec in array.specs]  # type: ignore[attr-defined]


def test_four_hundred_workers_are_one_array() -> None:
    (array,) = make_arrays([make_spec(index) for index in range(400)], KEY, BLOCK)
    assert (str(array.name), array.tasks) == (f"sampan.{INSTANCE}.{BATCH}.0", (0, 399))
    assert array.stage == f"sampan.{INSTANCE}.{BATCH}.0.0"
    assert forms.STAGE.fullmatch(array.stage)


def test_a_job_alone_is_no_array() -> None:
    (array,) = make_arrays([make_spec(1234)], KEY, BLOCK)
    assert (str(array.name), array.tasks) == (f"sampan.{INSTANCE}.{BATCH}.1234", None)


def test_arrays_end_where_blocks_sizes_and_gaps_do() -> None:
    specs = [make_spec(index, size="big" if index == 5 else "small") for index in [*range(4, 12), *range(995, 1005)]]
    arrays = list(make_arrays(specs, KEY, BLOCK))
    assert sorted(_indices(array) for array in arrays) == [
        [4],
        [5],
        [6, 7, 8, 9, 10, 11],
        [995, 996, 997, 998, 999],
        [1000, 1001, 1002, 1003, 1004],
    ]
    second = next(array for array in arrays if 1000 in _indices(array))
    assert (second.name.offset, second.tasks) == (1000, (0, 4))
    first = next(array for array in arrays if 995 in _indices(array))
    assert (first.name.offset, first.tasks, make_stage(first.name, 995)) == (0, (995, 999), first.stage)


@given(
    indices=st.sets(st.integers(0, 3000), min_size=1, max_size=60),
    block=st.sampled_from([1, 2, 7, 100, 1000]),
    irregular=st.booleans(),
)
def test_every_job_is_in_one_array_that_tells_its_key(indices: set[int], block: int, irregular: bool) -> None:
    specs = [make_spec(index, name=f"{index}x" * 20 if irregular else f"w{index}") for index in indices]
    seen: dict[str, int] = {}
    for array in make_arrays(specs, KEY, block):
        packed = read_comment(array.comment, array.name, KEY)
        assert packed is not None
        for place, spec in enumerate(array.specs):
            task = array.task(place)
            assert array.name.job_id(task) == spec.job_id
            assert packed.unpack(task, KEY) == spec.identity
            assert array.name in make_candidates(INSTANCE, BATCH, spec.identity.index, block)
            seen[spec.job_id] = seen.get(spec.job_id, 0) + 1
    assert seen == {spec.job_id: 1 for spec in specs}


def test_different_people_never_share_an_array() -> None:
    specs = [make_spec(index, owner="alice" if index % 2 else "bob") for index in range(4)]
    assert all(len({spec.identity.owner for spec in array.specs}) == 1 for array in make_arrays(specs, KEY, BLOCK))


def test_our_jobs_are_recognised_with_a_signature_of_their_own() -> None:
    identities = [make_identity(index) for index in range(3)]
    comment = make_comment(identities, NAME, 0, KEY)
    rows = [make_row(slurm_id=f"9_{task}", comment=comment) for task in range(3)]
    sightings, strange = Reader(INSTANCE, KEY, None).read([*rows, make_row(name="of somebody else", comment=comment)])
    assert strange == []
    assert [sighting.identity for sighting in sightings] == identities
    assert all(sighting.identity is not None and is_signed(KEY, sighting.identity) for sighting in sightings)


@pytest.mark.parametrize(
    "changes",
    [{"user": "bob", "uid": 4002}, {"uid": 4002}, {"user": "bob"}, {"slurm_id": "9_3"}, {"slurm_id": "9"}],
    ids=["copied by bob", "other uid", "other name", "a task too many", "no array"],
)
def test_a_signed_comment_in_the_wrong_place_is_no_identity(changes: dict[str, object]) -> None:
    comment = make_comment([make_identity(index) for index in range(3)], NAME, 0, KEY)
    row = make_row(**{"slurm_id": "9_0", "comment": comment, **changes})  # type: ignore[arg-type]
    ((sighting,), _) = Reader(INSTANCE, KEY, None).read([row])
    assert sighting.identity is None
    assert sighting.owner == row.user


def test_where_all_run_as_one_user_the_comment_says_whose_a_job_is() -> None:
    comment = make_comment([make_identity(0, uid=499)], NAME, None, KEY)
    row = make_row(comment=comment, user="sampan", uid=499)
    ((sighting,), _) = Reader(INSTANCE, KEY, 499).read([row])
    assert sighting.owner == "alice"
    ((stranger,), _) = Reader(INSTANCE, KEY, 500).read([row])
    assert stranger.identity is None


def test_a_name_like_ours_that_cannot_be_read_is_reported() -> None:
    rows = [make_row(name=f"sampan.{INSTANCE}.mine"), make_row(name=f"sampan.zzzzzzzz.{BATCH}.0")]
    sightings, strange = Reader(INSTANCE, KEY, None).read(rows)
    assert sightings == []
    assert len(strange) == 1
    assert "alice" in strange[0]
