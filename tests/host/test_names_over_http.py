"""Names of files as another system writes them, in prompts that a program posts: nothing has put them into the spelling
of a menu before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import windows_names
from prompts import node
from shared.host_server import HostServer

pytestmark = [pytest.mark.browser, pytest.mark.both_hosts]


@pytest.fixture(scope="module")
def server(windows_server: HostServer) -> HostServer:
    windows_names.put_photo(windows_server)
    return windows_server


def shown(server: HostServer, prompt: dict[str, Any], output: int = 0) -> str:
    """What the first node of a prompt gives, as text; or what is said against it."""
    first = next(iter(prompt))
    run = server.attempt({**prompt, "shown": node("PreviewAny", source=[first, output])})
    return run.error or run.outputs["shown"]["text"][0]


NAMES = {
    "family\\anna.safetensors": "Anna",
    "José.safetensors": "José",
    "ben.safetensors": "Ben",
    "Family/ANNA.safetensors": "Anna",
    ".\\family\\anna.safetensors": "Anna",
    "./family//anna.safetensors": "Anna",
    "family/anna": "Anna",
    "Family\\Anna": "Anna",
    "twice\\net.safetensors": "net",
    "twice/NET.safetensors": "No saved person is called 'twice/NET'",
    "family\\nobody.safetensors": "No saved person is called",
}
"""Chosen -> who is loaded, or what is said."""


@pytest.mark.parametrize("file", NAMES)
def test_a_saved_person(server: HostServer, file: str) -> None:
    prompt = {"load": node("LikenessLoadPerson", file=file)}
    assert NAMES[file] in shown(server, prompt)


def test_a_person_is_saved_into_a_folder_named_as_on_windows(server: HostServer) -> None:
    prompt = {
        "save": node("LikenessSavePerson", person=["load", 0], filename="team\\Anna.SAFETENSORS"),
        "load": node("LikenessLoadPerson", file="family/anna.safetensors"),
    }
    path = Path(shown(server, prompt, 1))
    assert path.parts[-2:] == ("team", "Anna.safetensors")
    assert path.is_file()


@pytest.mark.parametrize("file", ["published\\ip-adapter.BIN", "published\\ip-adapter.bin", "published/ip-adapter.bin"])
def test_an_adapter(server: HostServer, file: str) -> None:
    assert "InstantID" in shown(server, {"load": node("LikenessLoadAdapter", file=file)})


@pytest.mark.parametrize("pack", ["mine/antelopev2", "mine\\antelopev2", "Mine\\Antelopev2"])
def test_a_face_pack(server: HostServer, pack: str) -> None:
    inputs = {"pack": pack, "recognisers": "antelopev2", "provider": "auto"}
    assert "FaceModel" in shown(server, {"load": node("LikenessLoadFaceEmbedder", **inputs)})


@pytest.mark.parametrize("folder", ["holiday\\Málaga", "holiday/Málaga", "Holiday\\málaga", ".\\holiday\\Málaga"])
def test_a_folder_of_photos(server: HostServer, folder: str) -> None:
    inputs = {"folder": folder, "people": "one per photo", "names": "", "which_face": "largest", "corrections": ""}
    inputs |= {"same_person_from": 0.3, "face_model": ["model", 0]}
    model = node("LikenessLoadFaceEmbedder", pack="mine/antelopev2", recognisers="antelopev2", provider="auto")
    assert "Anna" in shown(server, {"sort": node("LikenessSortPhotosIntoPeople", **inputs), "model": model}, 2)


def test_a_lora(server: HostServer) -> None:
    """The person is made: the file, which is empty here, is read where it is applied."""
    inputs = {"file": "people\\anna.safetensors", "strength": 1.0, "words": "", "name": "Anna"}
    assert "Person(" in shown(server, {"add": node("LikenessAddLoRAToPerson", **inputs)})
    inputs["file"] = "people\\ben.safetensors"
    assert "The LoRA was not found" in shown(server, {"add": node("LikenessAddLoRAToPerson", **inputs)})


def test_the_check_judges_what_comfyui_judges(server: HostServer) -> None:
    """A template is opened in the editor, which takes the menu's name. A prompt that is posted is refused."""
    template = node("LikenessCheckModelFiles", workflow="start_two_people")
    report = shown(server, {"check": template}, 1)
    (line,) = (line for line in report.splitlines() if line.startswith("ID-Patch ControlNet"))
    assert line.split()[2] == "found"
    prompt = {
        "check": node("LikenessCheckModelFiles"),
        "load": node("ControlNetLoader", control_net_name=windows_names.ID_PATCH),
    }
    run = server.attempt({**prompt, "shown": node("PreviewAny", source=["check", 1])})
    report = run.outputs["shown"]["text"][0]
    windows = windows_names.ID_PATCH.replace("/", "\\")
    assert f"ComfyUI lists it as {windows} and takes no other spelling" in report
    prompt["load"]["inputs"]["control_net_name"] = windows
    run = server.attempt({**prompt, "shown": node("PreviewAny", source=["check", 1])})
    report = run.outputs["shown"]["text"][0]
    assert "no other spelling" not in report
    assert "ID-Patch ControlNet" in report
    assert "is not there" not in report


SPELLINGS = [
    "people\\anna.safetensors",
    "people/anna.safetensors",
    "people/anna.SAFETENSORS",
    "People\\Anna.safetensors",
]


@pytest.mark.parametrize("file", SPELLINGS)
def test_the_check_takes_a_lora_of_ours_in_every_spelling(server: HostServer, file: str) -> None:
    """Add LoRA to Person takes it, whichever system wrote it: nothing is to be fixed."""
    prompt = {
        "check": node("LikenessCheckModelFiles"),
        "add": node("LikenessAddLoRAToPerson", file=file, strength=1.0, words="", name="Anna"),
        "person": node("PreviewAny", source=["add", 0]),
        "shown": node("PreviewAny", source=["check", 1]),
    }
    run = server.attempt(prompt)
    assert "Person(" in run.outputs["person"]["text"][0], run.error
    report = run.outputs["shown"]["text"][0]
    (line,) = (line for line in report.splitlines() if line.startswith(file))
    assert line.removeprefix(file).split()[0] == "damaged", "an empty file, and nothing is said of its name"
    assert "spelling" not in report
    assert "another name" not in report
