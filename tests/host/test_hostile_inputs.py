"""Hundreds of graphs that ask for trouble: every one ends right, or with a message of ours.

None ends in another error, a picture that is silently wrong, or a user's text that steers the console.
Odd texts through a running host: test_people_http.py.
"""

import re
from collections.abc import Iterator
from typing import Any

import folder_paths
import pytest
from graph_run import run
from hostile.cases import EXPLAINED, FORGED, RIGHT, Case, inputs_of
from hostile.sections import SECTIONS
from hostile.texts import ENCODED, NOT_ENCODED
from pack.core.checks.errors import LikenessError
from standins_made import Standins
from tiny import tiny_dits

pytestmark = pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")
LONG = ("unlinked", "schedules", "rows")
_RAW = re.compile(rf"^\W*{FORGED}|\x1b\S*{FORGED}", re.MULTILINE)
"""A user's text at the beginning of a line of the log, or behind a terminal escape."""


@pytest.fixture(scope="module")
def outputs_by_node(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """What runs before the inputs, once for all; model files are found among the stand-ins."""
    folders = folder_paths.folder_names_and_paths
    bank = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        for key in ("insightface", "facexlib"):
            patch.setitem(folders, key, ([str(standin_models.root / key)], folders[key][1]))
        patch.setitem(folders, "likeness_faces", ([str(bank)], folders["likeness_faces"][1]))
        yield {}


@pytest.mark.parametrize(
    "section", [pytest.param(one, marks=pytest.mark.thorough if one in LONG else ()) for one in SECTIONS]
)
def test_every_case_ends_right_or_is_explained(
    section: str, outputs_by_node: dict[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    cases = list(SECTIONS[section]())
    assert cases
    judgements = [(case, judged(case, outputs_by_node, caplog)) for case in cases]
    assert [(str(case), wrong) for case, wrong in judgements if wrong] == []


def judged(case: Case, outputs_by_node: dict[Any, Any], caplog: pytest.LogCaptureFixture) -> str:
    """Empty where the case ends as it must, else what happened instead."""
    caplog.clear()
    wrong = ""
    try:
        wrong = run(case.check, outputs_by_node)[0] or ""
    except LikenessError as error:
        ending = EXPLAINED
        written = f"{error}\n{caplog.text}"
        if not re.search(case.says, str(error)):
            wrong = f"another message: {error}"
    else:
        ending = RIGHT
        written = caplog.text
        if not wrong and not re.search(case.says, written):
            wrong = f"not in the log: {written}"
    if ending != case.ending:
        return f"{ending}: {written}"
    if _RAW.search(written):
        return "a user's text reaches the console as it is"
    return str(wrong)


def test_every_text_of_several_lines_is_tried_or_is_for_no_encoder() -> None:
    several_lines = set[tuple[str, str]]()
    for place in inputs_of("STRING"):
        if getattr(place.entry, "multiline", False):
            several_lines.add((place.kind, place.name))
    assert several_lines - ENCODED.keys() == NOT_ENCODED
