"""Hundreds of graphs that ask for trouble: every one ends right, or with a message of ours.

None ends in another error, a picture that is silently wrong, or a user's text that steers the console. Through a
running host go mixed prompts in test_soak.py and odd texts in test_people_http.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import tiny_dits
from attack_cases import FORGED, LOADERS, SECTIONS, Case, of
from graph_run import OURS, run
from pack.core.errors import BadInput, LikenessError
from rig.standins import Standins

pytestmark = pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")
_RAW = re.compile(rf"^\W*{FORGED}|\x1b\S*{FORGED}", re.MULTILINE)


@pytest.fixture(scope="module")
def made(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Any]]:
    """What runs before the inputs, once for all; model files are found among the stand-ins."""
    known, bank = folder_paths.folder_names_and_paths, tmp_path_factory.mktemp("faces")
    (bank / "damaged.safetensors").write_bytes(b"no person")
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


@pytest.mark.parametrize("kind", [*LOADERS, "LoadFaceModel"])
def test_what_is_chosen_is_the_name_of_a_file(kind: str) -> None:
    """The host hands over what comes over HTTP."""
    loader = OURS[f"Likeness{kind}"]
    asked = loader.validate_inputs.__func__.__code__
    given = {name: one for name, one in of(kind).inputs.items() if name in asked.co_varnames[: asked.co_argcount]}
    for chosen in (3, True, ["a", "b", "c"], {"a": 1}):
        with pytest.raises(BadInput, match="the name of one is needed"):
            loader.validate_inputs(**{**given, LOADERS.get(kind, "pack"): chosen})


def test_a_damaged_person_is_explained_and_nothing_is_left_of_what_was_refused(made: dict[Any, Any]) -> None:
    with pytest.raises(LikenessError, match="damaged"):
        OURS["LikenessLoadIdentity"].execute(file="damaged.safetensors")
    folder = Path(folder_paths.get_folder_paths("likeness_faces")[0])
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]
