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
from attack_cases import FORGED, SECTIONS, Case
from attack_graphs import DEFAULTS
from graph_run import OURS, run
from pack.core.errors import BadInput, LikenessError
from rig.standins import Standins

pytestmark = pytest.mark.skipif(not tiny_dits.KNOWN, reason="this ComfyUI has no such models")
CASES = [case for section in SECTIONS for case in section()]
WHERE = sorted({case.name.partition(":")[0] for case in CASES})
_RAW = re.compile(rf"^\W*{FORGED}|\x1b\S*{FORGED}", re.MULTILINE)
LOADERS = {
    "LikenessLoadAdapter": "file", "LikenessLoadParts2Whole": "folder", "LikenessLoadIdentity": "file",
    "LikenessLoadFaceModel": "pack",
}  # fmt: skip


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


@pytest.mark.parametrize("where", WHERE)
def test_every_case_ends_right_or_is_explained(
    where: str, made: dict[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {
        case.name: found
        for case in CASES
        if case.name.partition(":")[0] == where and (found := judged(case, made, caplog))
    }
    assert not wrong


def judged(case: Case, made: dict[Any, Any], caplog: pytest.LogCaptureFixture) -> str:
    """Empty where the case ends as it must, else what happened instead."""
    caplog.clear()
    try:
        found = [run(last, made) for last in case.graph]
    except LikenessError as error:
        said = f"{error}\n{caplog.text}"
        ended, wrong = "explained", "" if re.search(case.words, str(error)) else str(error)
    else:
        said, ended = caplog.text, "right"
        told = "" if re.search(case.words, said) else f"not told: {said}"
        wrong = next((str(one) for one in found if one), told)
    if ended != case.ending:
        return f"{ended}: {said}"
    return "a user's text reaches the console as it is" if _RAW.search(said) else wrong


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("chosen", [3, True, ["a", "b", "c"], {"a": 1}], ids=str)
def test_what_is_chosen_is_the_name_of_a_file(kind: str, chosen: object) -> None:
    """The host hands over what comes over HTTP."""
    with pytest.raises(BadInput, match="the name of one is needed"):
        OURS[kind].validate_inputs(**{**_chosen(kind), LOADERS[kind]: chosen})


def _chosen(kind: str) -> dict[str, Any]:
    """What a loader's validate_inputs is asked about."""
    asked = OURS[kind].validate_inputs.__func__.__code__
    return {name: value for name, value in DEFAULTS[kind].items() if name in asked.co_varnames[: asked.co_argcount]}


def test_a_damaged_person_is_explained(made: dict[Any, Any]) -> None:
    with pytest.raises(LikenessError, match="damaged"):
        OURS["LikenessLoadIdentity"].execute(file="damaged.safetensors")


def test_nothing_is_left_of_what_was_refused(made: dict[Any, Any]) -> None:
    folder = Path(folder_paths.get_folder_paths("likeness_faces")[0])
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]
