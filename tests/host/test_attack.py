"""Hundreds of graphs that ask for trouble, through a running host: every one ends right, or with a message of ours.

None ends in a traceback, a picture that is silently wrong, or a host that hangs. Values that no core node gives come
from attack_pack, a node pack that is put beside ours.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attack_cases import PRODUCT, REFUSED_HERE, SECTIONS, wrappers
from attack_graphs import check, ours
from attack_run import ENDINGS, Attacked, Case, right
from environment import Host, find_hosts
from rig.standins import Standins

SAMPLED = 11
"""Every eleventh of the cases that are one value at one input, of what is refused elsewhere, and of functions around
the MODEL: inputs have other numbers of values, so that each input brings other ones. All that are refused are tried by
tests/host/test_linked_inputs.py, in its own process."""


def seldom(section: Callable[[], Iterator[Case]], case: Case) -> bool:
    return section in (*PRODUCT, wrappers) or (section in REFUSED_HERE and case.ending == "explained")


CASES = [
    pytest.param(
        case,
        id=f"{section.__name__}: {case.name}",
        marks=pytest.mark.thorough if seldom(section, case) and number % SAMPLED else (),
    )
    for section in SECTIONS
    for number, case in enumerate(section())
]


@pytest.fixture(scope="module")
def attacked(host: Host, standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    # The cases ask about this pack's own checks, which are the same on every host: one of them, the newest, is enough.
    newest = max(find_hosts(), key=lambda one: one.version)
    if host.version < newest.version:
        pytest.skip(f"attacked on {newest}")
    with Attacked(host, Path(sys.executable), tmp_path_factory.mktemp("attacked"), standin_models) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_case(case: Case, attacked: Attacked) -> None:
    if wrong := attacked.judge(case):
        pytest.fail(wrong, pytrace=False)


def test_a_person_deleted_by_hand_is_saved_again(attacked: Attacked) -> None:
    saved = ours("LikenessSaveIdentity", filename="deleted")
    case = right("saved again", check("None if Path(a).is_file() else 'no file'", saved[1]))
    for _ in range(2):
        assert attacked.judge(case) == ""
        (bank_of(attacked) / "deleted.safetensors").unlink()


def test_a_link_beside_a_person_is_not_written_through(attacked: Attacked, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    for name in ("linked.safetensors.part", "linked.safetensors"):
        (bank_of(attacked) / name).symlink_to(tmp_path / "precious")
    saved = ours("LikenessSaveIdentity", filename="linked")
    assert attacked.judge(right("saved", check("None if Path(a).is_file() else 'no file'", saved[1]))) == ""
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_folders_that_lead_back_to_themselves_stop_no_workflow(attacked: Attacked) -> None:
    folder = attacked.server.base / "models" / "parts2whole" / "loop"
    folder.mkdir(parents=True)
    try:
        for name in ("a", "b"):
            (folder / name).symlink_to(folder, target_is_directory=True)
        began = time.monotonic()
        assert "LikenessLoadParts2Whole" in attacked.server.object_info()
        assert time.monotonic() - began < 20
    finally:
        shutil.rmtree(folder)


def bank_of(attacked: Attacked) -> Path:
    return attacked.server.base / "models" / "likeness_faces"


def test_totals(
    attacked: Attacked, record_property, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """The last one of this file: what became of all of them, and whether the host still takes a prompt."""
    assert attacked.judge(right("after all of them", check("None"))) == ""
    totals = {ending: attacked.totals[ending] for ending in ENDINGS}
    for ending, count in totals.items():
        record_property(ending, count)
    listed = ", ".join(f"{count} {ending}" for ending, count in totals.items())
    with capsys.disabled():
        request.config.get_terminal_writer().line(f"\nattack: {listed}")
    assert not any(totals[ending] for ending in ENDINGS[2:]), listed
