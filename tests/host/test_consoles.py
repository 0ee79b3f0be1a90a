"""ComfyUI that writes to a pipe in an old code page: errors and notes with names of any script, and what runs after."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from environment import Host
from PIL import Image
from shared import photos, standins
from shared.host_server import HostServer
from shared.workflow import Prompt

pytestmark = pytest.mark.xdist_group("server")
PEOPLE = "小明 \N{GRINNING FACE} Полина"
"""cp932 has no such face, cp1252 none of the letters."""


LOGGER = """\
import sys

class Logger:
    encoding = "utf-8"

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        self._stream.write(text.encode("utf-8").decode(self._stream.encoding, errors="ignore"))

    def flush(self):
        self._stream.flush()

    def reconfigure(self, **options):
        pass

sys.stdout, sys.stderr = Logger(sys.stdout), Logger(sys.stderr)
"""
"""A pack that puts a logger of its own before both streams, as ComfyUI-Manager does, before ours is loaded."""


SELDOM = [pytest.param(encoding, marks=pytest.mark.thorough) for encoding in ("cp1252", "cp932", "ascii")]


@pytest.fixture(scope="module", params=["cp1252 behind a logger", *SELDOM])
def old_console(request, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostServer]:
    """As programs start it on Windows, where Python takes the code page of the system."""
    encoding, *other = request.param.split(" ", 1)
    folder = tmp_path_factory.mktemp(encoding)
    standins.copy_face_pack(folder / "models" / "insightface" / "models" / "mine")
    packs = [folder / "logger"] if other else []
    for pack in packs:
        pack.mkdir()
        (pack / "prestartup_script.py").write_text(LOGGER, "utf-8")
        (pack / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", "utf-8")
    server = HostServer(host, Path(sys.executable), folder / "base", [folder / "models"], packs=packs)
    server._variables |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    with server:
        yield server


def person(picture: str, which_face: str) -> Prompt:
    inputs = {"image": ["1", 0], "name": PEOPLE, "which_face": which_face, "on_no_face": "error"}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture}},
        "2": {"class_type": "LikenessPerson", "inputs": inputs},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 2]}},
    }


def sorting(folder: str) -> Prompt:
    inputs = {"folder": folder, "people": "grouped by face", "names": "", "which_face": "largest", "corrections": ""}
    inputs |= {"same_person_from": 0.4}
    return {
        "1": {"class_type": "LikenessSortPhotosIntoPeople", "inputs": inputs},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 2]}},
    }


def log_of(server: HostServer) -> str:
    return (server.base / "host.log").read_bytes().decode(server._variables["PYTHONIOENCODING"])


def goes_on(server: HostServer) -> None:
    """The next prompt is answered."""
    shown: Prompt = {"1": {"class_type": "PreviewAny", "inputs": {"source": PEOPLE}}}
    following = server.attempt(shown, timeout=60)
    assert following.status == "success", following.error
    assert "Exception in thread" not in log_of(server)


def in_an_error(server: HostServer, text: str) -> str:
    """A text as an error has it: escaped where the stream cannot write it, which a logger before it hides."""
    encoding = server._variables["PYTHONIOENCODING"]
    return text if has_logger(server) else text.encode(encoding, "backslashreplace").decode(encoding)


def has_logger(server: HostServer) -> bool:
    """The host's log has its own stream, which a logger before both streams hides."""
    return (server.base / "custom_nodes" / "logger").is_dir()


@pytest.mark.thorough
def test_an_error_with_a_name_is_an_answer_and_stands_in_the_log(old_console: HostServer, tmp_path: Path) -> None:
    wall = tmp_path / "wall.png"
    Image.new("RGB", (256, 256), "grey").save(wall)
    run = old_console.attempt(person(old_console.upload_image(wall), "only"), timeout=60)
    people = in_an_error(old_console, PEOPLE)
    assert run.status == "error" and people in run.error_text
    goes_on(old_console)
    if not has_logger(old_console):
        assert people in log_of(old_console)


@pytest.mark.thorough
def test_a_person_with_such_a_name_is_made(old_console: HostServer) -> None:
    picture = old_console.upload_image(photos.pair()[0], "eileen.png")
    run = old_console.attempt(person(picture, "largest"), timeout=60)
    assert run.status == "success", run.error
    goes_on(old_console)


@pytest.mark.thorough
def test_folders_and_files_of_any_letters_are_named(old_console: HostServer) -> None:
    album = old_console.base / "input" / "小明 альбом"
    album.mkdir()
    (album / "小明.jpg").write_bytes(b"no picture")
    run = old_console.attempt(sorting(album.name), timeout=60)
    assert run.status == "error" and in_an_error(old_console, "小明.jpg cannot be read") in run.error_text
    missing = old_console.attempt(sorting("小红"), timeout=60)
    assert in_an_error(old_console, "The folder '小红' is not in") in missing.error
    goes_on(old_console)
