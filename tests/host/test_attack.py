"""Hundreds of graphs that ask for trouble: every one ends right, or with a message of ours.

None ends in another error, a picture that is silently wrong, or a user's text that steers the console.
Odd texts through a running host: test_people_http.py.
"""

import re
from collections.abc import Iterator
from typing import Any

import folder_paths
import pytest
import tiny_dits
from attack_cases import ENCODED, FORGED, NOT_ENCODED, SECTIONS, Case, inputs
from graph_run import run
from pack.core.errors import LikenessError
from standins_made import Standins

pytestmark = pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")
_RAW = re.compile(rf"^\W*{FORGED}|\x1b\S*{FORGED}", re.MULTILINE)


@pytest.fixture(scope="module")
def made(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """What runs before the inputs, once for all; model files are found among the stand-ins."""
    known, bank = folder_paths.folder_names_and_paths, tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        for key in ("insightface", "facexlib", "densepose"):
            patch.setitem(known, key, ([str(standin_models.root / key)], known[key][1]))
        patch.setitem(known, "likeness_faces", ([str(bank)], known["likeness_faces"][1]))
        yield {}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_case_ends_right_or_is_explained(
    section: str, made: dict[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    cases = list(SECTIONS[section]())
    assert cases and [f"{case}: {found}" for case in cases if (found := judged(case, made, caplog))] == []


def judged(case: Case, made: dict[Any, Any], caplog: pytest.LogCaptureFixture) -> str:
    """Empty where the case ends as it must, else what happened instead."""
    caplog.clear()
    try:
        wrong = run(case.graph, made)
    except LikenessError as error:
        said = f"{error}\n{caplog.text}"
        ended, wrong = "explained", "" if re.search(case.words, str(error)) else str(error)
    else:
        said, ended = caplog.text, "right"
        wrong = wrong or ("" if re.search(case.words, said) else f"not told: {said}")
    if ended != case.ending:
        return f"{ended}: {said}"
    return "a user's text reaches the console as it is" if _RAW.search(said) else str(wrong)


def test_every_text_of_several_lines_is_tried_or_is_for_no_encoder() -> None:
    several = {(kind, one.id) for kind, one in inputs("STRING") if getattr(one, "multiline", False)}
    assert several - ENCODED.keys() == NOT_ENCODED
