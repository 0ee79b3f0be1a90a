"""Downloads from servers on this machine that behave as Hugging Face and GitHub do, or worse: cut off, wrong, away."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from shared import fetch
from systems import STOPS, posix

from core.models.manifest import File

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"\x80" + os.urandom((1 << 16) - 1) + os.urandom(1 << 16) * 47  # three megabytes
PACK = "/deepinsight/insightface/releases/download/v0.7/antelopev2.zip"
RECOGNISER = "/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth"
ID_PATCH = "/ByteDance/ID-Patch/resolve/main/id-patch.bin"
CLIP = "/openai/clip-vit-large-patch14/resolve/main/model.safetensors"
INSTANT_ID = "/InstantX/InstantID/resolve/main/ip-adapter.bin"


class Server(ThreadingHTTPServer):
    """What it serves, how, and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.published: dict[str, str] = {}  # path -> SHA-256 that is not the file's
        self.endless = False  # no length, and no end
        self.status = 404  # of what is not there
        self.pause = 0.0
        self.cut = 0  # after so many bytes it sends no more, and is down
        self.asked: list[tuple[str, str | None]] = []  # path and Range of what was sent

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        byte_range = self.headers.get("Range")
        if not self.path.startswith("/api/"):
            self.server.asked.append((self.path, byte_range))
        first_byte = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range else 0
        body = self.answer(first_byte)
        if body:
            starts = itertools.count(0, 1 << 16) if self.server.endless else range(0, len(body), 1 << 16)
            for start in starts:
                if start and start == self.server.cut:
                    self.server.files.clear()
                    self.server.status = 503
                    break
                try:
                    self.wfile.write(body[start % len(body) :][: 1 << 16])
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(self.server.pause)
        self.close_connection = True

    def answer(self, start: int = 0) -> bytes:
        """Send the headers; what is to follow."""
        content = self.server.files.get(self.path, b"")
        digest = self.server.published.get(self.path) or hashlib.sha256(content).hexdigest()
        headers: dict[str, object] = {"ETag": f'"{digest}"', "X-Repo-Commit": "0" * 40}
        status = 206 if start else 200
        body = content[start:]
        if self.path not in self.server.files:
            status = self.server.status
            body = b""
            headers["X-Error-Code"] = {404: "EntryNotFound", 401: "GatedRepo", 503: ""}[status]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if not self.server.endless:
            headers["Content-Length"] = len(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        return body


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Beside a pack whose manifest knows no lengths and no hashes, as files of these tests have others."""
    folder = tmp_path / "models"
    pack = tmp_path / "pack"
    folder.mkdir()
    pack.mkdir()
    for name in ("core", "locales", "nodes", "scripts", "workflows"):
        (pack / name).symlink_to(ROOT / name)
    manifest = json.loads((ROOT / "models_manifest.json").read_bytes())
    for file in files_in(manifest):
        file |= {"size": None, "exact": False, "sha256": None}
    (pack / "models_manifest.json").write_text(json.dumps(manifest))
    return folder


def files_in(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of all files and archives."""
    entries: list[dict[str, Any]] = []
    for model in manifest["models"]:
        entries += model["files"]
        if model["archive"]:
            entries.append(model["archive"])
    return entries


def publish(models: Path, name: str, content: bytes) -> None:
    """Put the length and the hash of a file into the manifest."""
    path = models.parent / "pack" / "models_manifest.json"
    manifest = json.loads(path.read_bytes())
    (file,) = [file for file in files_in(manifest) if file["names"][0].endswith(name)]
    file |= {"size": len(content), "exact": True, "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(manifest))


def variables(server: Server, models: Path, **changed: str) -> dict[str, str]:
    mirrors = {"HF_ENDPOINT": server.url, "GITHUB_ENDPOINT": server.url, "no_proxy": "*"}
    cache = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HOME": str(models.parent / "cache")}
    return {**os.environ, **mirrors, **cache, **changed}


def command(models: Path, *names: str) -> list[str]:
    script = models.parent / "pack" / "scripts" / "models.py"
    return [sys.executable, str(script), "download", *names, "--yes", "--models", str(models)]


def download(server: Server, models: Path, *names: str, longest: int | None = None, **changed: str) -> tuple[int, str]:
    """`names` with --yes, into a models folder: exit status, and what is said. longest: bytes of a file, beyond which
    the system refuses."""
    process = subprocess.run(
        command(models, *names), env=variables(server, models, **changed), capture_output=True, text=True, timeout=120,
        preexec_fn=None if longest is None else partial(limit_files, longest),
    )  # fmt: skip
    assert "Traceback" not in process.stderr, process.stderr
    return process.returncode, process.stderr


def limit_files(longest: int) -> None:
    import resource  # which Windows has not

    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))


def files(models: Path) -> list[str]:
    """Everything in it, what is hidden included."""
    return sorted(str(path.relative_to(models)) for path in models.rglob("*") if path.is_file())


def made_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx", "genderage.onnx"):
            archive.writestr(f"antelopev2/{name}", onnx(name))
    return path.read_bytes()


def onnx(name: str) -> bytes:
    return b"\x08\x09" + name.encode()


def test_nothing_is_asked_for_before_all_is_right(server, models):
    """Sizes and licences are shown and accepted, the package is there, and so is an address of one line."""
    accepted = command(models, "start_two_people")
    python, *words = accepted
    for tried, settings, message in (
        ([word for word in accepted if word != "--yes"], {}, "add --yes if you accept these licences"),
        # -S: no package is at hand; -I: as ComfyUI portable's Python, which does not look beside the script.
        ([python, "-I", "-S", *words], {}, "needs the Python package huggingface_hub. Install it: "),
        (accepted, {"HF_ENDPOINT": f"{server.url}\nx"}, "HF_ENDPOINT is no address: "),
    ):
        environment = variables(server, models, **settings)
        process = subprocess.run(tried, env=environment, capture_output=True, text=True, input="")
        assert process.returncode == 1
        assert message in process.stderr
        assert "Traceback" not in process.stderr
        assert "ID-Patch ControlNet: size not stated, into " in process.stdout
        assert "CC BY-NC 4.0 (README of the demo)" in process.stdout
        assert "Commercial use: unclear, ask the authors." in process.stdout
    assert not server.asked
    assert not [*models.iterdir()]


PARTS2WHOLE = (
    "unet/diffusion_pytorch_model.safetensors", "reference_unet/diffusion_pytorch_model.bin",
    "pose_guider/diffusion_pytorch_model.bin", "decoupled_attn.pth", "scheduler/scheduler_config.json",
)  # fmt: skip


def test_files_a_pack_and_a_folder_come_once(server, models, tmp_path):
    """Under the names their loaders look for, readable for everybody, of Hugging Face and of GitHub; a pack is unpacked
    and a folder takes the names that are there."""
    repository = "/huanngzh/Parts2Whole/resolve/main"
    server.files |= {CLIP: CONTENT, RECOGNISER: CONTENT[1:], PACK: made_zip(tmp_path / "made.zip")}
    server.files |= {f"{repository}/{name}": onnx(name) for name in PARTS2WHOLE}
    expected = {
        "clip_vision/clip-vit-large-patch14.safetensors": CONTENT,
        "facexlib/recognition_arcface_ir_se50.pth": CONTENT[1:],
    }
    for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
        expected[f"insightface/models/antelopev2/{name}"] = onnx(name)
    for name in PARTS2WHOLE:
        expected[f"parts2whole/Parts2Whole/{name}"] = onnx(name)
    wanted = ("clip-vit-large-patch14", "arcface-ir-se50", "antelopev2", "parts2whole")
    assert download(server, models, *wanted)[0] == 0
    assert {name: (models / name).read_bytes() for name in files(models)} == expected
    os.umask(mask := os.umask(0))
    assert {(models / name).stat().st_mode & 0o777 for name in list(expected)[:2]} == {0o666 & ~mask}
    asked = list(server.asked)
    status, stderr = download(server, models, "clip-vit-large-patch14", "antelopev2")
    assert status == 0
    assert stderr.count("is there already") == 2
    assert server.asked == asked


@contextmanager
def begun(server: Server, models: Path, beginning: str) -> Iterator[subprocess.Popen[bytes]]:
    """A slow download, once there is a file or a folder of this pattern."""
    server.files[INSTANT_ID] = CONTENT
    server.pause = 0.1
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command(models, "instantid"), env=variables(server, models), **quiet) as run:
        give_up = time.monotonic() + 60
        while not [*models.rglob(beginning)]:
            assert time.monotonic() < give_up
            assert run.poll() is None
            time.sleep(0.05)
        yield run


def test_what_was_killed_leaves_no_file_and_its_rest_goes(server, models):
    with begun(server, models, "part") as run:
        run.kill()
    assert not (models / "instantid" / "ip-adapter.bin").exists()
    assert len(files(models)) > 0
    for path in (models / "instantid").rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)
    server.pause = 0
    assert download(server, models, "instantid")[0] == 0
    assert files(models) == ["instantid/ip-adapter.bin"]


@posix
@pytest.mark.parametrize("name", STOPS)
def test_what_is_told_to_stop_leaves_nothing(server, models, name):
    """The exit status says by which signal."""
    with begun(server, models, ".fetching-*") as run:
        run.send_signal(signal.Signals[name])
        assert run.wait(60) == 128 + signal.Signals[name]
    assert [path for path in models.rglob("*") if not path.is_dir()] == []
    assert [*models.rglob(".fetching-*")] == []


LONG = CONTENT * 4
CAME = 10 * 2**20
"""What the library has written of it when the server goes."""


def test_a_download_goes_on_where_it_stopped(server, models):
    server.files = {INSTANT_ID: LONG}
    server.cut = 11 * 2**20
    status, stderr = download(server, models, "instantid")
    assert status == 1
    (folder,) = (models / "instantid").glob(".fetching-*")
    assert f"10 MB have come and lie in {folder}: run the same again to go on." in stderr
    assert "Trying to resume" not in stderr
    server.files = {INSTANT_ID: LONG}
    server.cut = 0
    status, stderr = download(server, models, "instantid")
    assert status == 0, stderr
    assert server.asked[-1] == (INSTANT_ID, f"bytes={CAME}-")
    assert files(models) == ["instantid/ip-adapter.bin"]
    assert (models / "instantid" / "ip-adapter.bin").read_bytes() == LONG


@pytest.mark.parametrize(("happens", "ranges"), [
    ("nothing", [f"bytes={CAME}-"]), ("damage", [f"bytes={CAME}-", None]), ("all came", []),
    ("another file", [None]), ("no hash is known", [f"bytes={CAME}-"]),
])  # fmt: skip
def test_what_came_from_elsewhere_is_used_where_it_fits(server, tmp_path, monkeypatch, happens, ranges):
    monkeypatch.setenv("GITHUB_ENDPOINT", server.url)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the library waits before it tries again
    url = f"https://github.com{RECOGNISER}"
    target = tmp_path / "file.pth"
    published = File((target.name,), None, len(LONG), True, hashlib.sha256(LONG).hexdigest())
    if happens == "no hash is known":
        published = File((target.name,), None, None)
    server.files = {RECOGNISER: LONG}
    server.cut = 11 * 2**20
    with pytest.raises(fetch.FetchError, match=f"^{server.url}{RECOGNISER} does not come: "):
        fetch._fetch(url, published, target)
    (part,) = tmp_path.glob(".fetching-*/part")
    content = LONG
    if happens == "damage":
        part.write_bytes(part.read_bytes()[::-1])
    if happens == "all came":
        part.write_bytes(LONG)
    if happens == "another file":
        content = LONG[::-1]
        published = File(published.names, None, len(LONG), True, hashlib.sha256(content).hexdigest())
    server.files = {RECOGNISER: content}
    server.cut = 0
    server.asked.clear()
    assert fetch._fetch(url, published, target)
    assert server.asked == [(RECOGNISER, asked) for asked in ranges]
    assert target.read_bytes() == content
    assert files(tmp_path) == ["file.pth"]


PAGES = {
    RECOGNISER: b"<!doctype html><title>Sign in</title>", INSTANT_ID: b'{ "error" : "gone" }',
    ID_PATCH: "<html>".encode("utf-16"), CLIP: b"\xef\xbb\xbf<!-- --><script>",
}  # fmt: skip
FOUR = ("arcface-ir-se50", "instantid", "id-patch", "clip-vit-large-patch14")
DETECTOR = "/Comfy-Org/mediapipe/resolve/main/detection/mediapipe_face_fp32.safetensors"


def test_what_does_not_come_is_said(server, models):
    server.status = 401
    status, stderr = download(server, models, "id-patch")
    assert status == 1
    assert "id-patch.bin needs an account (401)." in stderr
    assert "set HF_TOKEN" in stderr
    mirrors = {"HF_ENDPOINT": "hf-mirror.com", "GITHUB_ENDPOINT": "http://127.0.0.1:9"}
    status, stderr = download(server, models, "id-patch", "arcface-ir-se50", **mirrors)
    assert status == 1
    assert stderr.count(" does not come: ") == 2, "a server that cannot be reached"
    assert not files(models)


def test_the_rest_comes(server, models):
    """Beside what is not there, and beside a folder that cannot be written to: in its place is a file, as whoever runs
    this as root may write to every folder."""
    server.files |= {INSTANT_ID: CONTENT, RECOGNISER: CONTENT}
    (models / "instantid").write_bytes(b"")
    status, stderr = download(server, models, "id-patch", "antelopev2", "instantid", "arcface-ir-se50")
    assert status == 1
    assert "id-patch.bin is not there (404)" in stderr
    assert f"{server.url}{PACK} is not there (404)" in stderr
    assert f"{models / 'instantid'} cannot be written to (File exists): mend that or name another place" in stderr
    assert files(models) == ["facexlib/recognition_arcface_ir_se50.pth", "instantid"]


def refused(server, models, *names, **settings):
    """What is said of downloads that fail and leave nothing."""
    status, stderr = download(server, models, *names, **settings)
    assert status == 1
    assert not files(models)
    return stderr


def test_what_is_not_the_published_file_leaves_nothing(server, models):
    """Another length, another hash, nothing at all."""
    publish(models, "mediapipe_face_fp32.safetensors", CONTENT[1:])
    server.files |= {INSTANT_ID: CONTENT, DETECTOR: CONTENT, PACK: b""}
    server.published[INSTANT_ID] = "0" * 64
    said = refused(server, models, "instantid", "mediapipe-face", "antelopev2")
    assert f"its SHA-256 is {hashlib.sha256(CONTENT).hexdigest()}, {'0' * 64} is published" in said
    assert f"{len(CONTENT)} bytes long instead of {len(CONTENT) - 1}" in said
    assert "antelopev2.zip is empty" in said


def test_text_of_any_kind_is_no_model(server, models):
    server.files |= PAGES
    said = refused(server, models, *FOUR)
    assert "is a web page (HTML)" in said
    assert said.count(", not a model (") == 3


@posix
def test_a_disk_without_room_is_named(server, models):
    server.files |= {INSTANT_ID: CONTENT, RECOGNISER: CONTENT}
    said = refused(server, models, "instantid", "arcface-ir-se50", longest=1 << 21)
    for folder in ("instantid", "facexlib"):
        assert f"{models / folder} cannot be written to (File too large): make room there" in said
    assert "does not come" not in said


def test_a_file_without_an_end_is_cut_off(server, models):
    server.files[RECOGNISER] = CONTENT
    publish(models, "ir_se50.pth", CONTENT)
    server.endless = True
    assert f"more than the {len(CONTENT)} bytes come" in refused(server, models, "arcface-ir-se50")


@pytest.fixture
def places(models):
    """Where an adapter, a recogniser and a member of a pack belong. Their folders are there, and they are not."""
    names = (
        "instantid/ip-adapter.bin",
        "facexlib/" + Path(RECOGNISER).name,
        "insightface/models/antelopev2/glintr100.onnx",
    )
    for name in names:
        (models / name).parent.mkdir(parents=True)
    return [models / name for name in names]


@posix
def test_a_folder_and_a_pipe_in_the_way_are_named(server, models, places):
    """Opening the pipe would wait for ever."""
    adapter, recogniser, _ = places
    server.files |= {INSTANT_ID: CONTENT, RECOGNISER: CONTENT}
    adapter.mkdir()
    os.mkfifo(recogniser)
    status, stderr = download(server, models, "instantid", "arcface-ir-se50")
    assert status == 1
    assert stderr.count("is in the way: it is no file.") == 2
    assert not server.asked


def test_a_file_of_ones_own_stays(server, models, places):
    """Also one of a pack."""
    server.files |= {INSTANT_ID: CONTENT, RECOGNISER: CONTENT}
    for name in ("ir_se50.pth", "glintr100.onnx"):
        publish(models, name, CONTENT)
    for path in places:
        path.write_bytes(b"\x80\2somebody's own")
    status, stderr = download(server, models, "instantid", "arcface-ir-se50", "antelopev2")
    assert status == 1
    assert stderr.count("is there and is another file (16 bytes)") == 3
    assert {path.read_bytes() for path in places} == {b"\x80\2somebody's own"}


def test_a_web_page_in_the_place_of_a_model_goes(server, models, places, tmp_path):
    adapter, _, member = places
    publish(models, "glintr100.onnx", onnx("glintr100.onnx"))
    server.files |= {INSTANT_ID: CONTENT, PACK: made_zip(tmp_path / "made.zip")}
    for path in (adapter, member):
        path.write_text("<!doctype html><title>Sign in</title>")
    status, stderr = download(server, models, "instantid", "antelopev2")
    assert status == 0, stderr
    assert "is there already" not in stderr
    assert adapter.read_bytes() == CONTENT
    assert member.read_bytes() == onnx("glintr100.onnx")


@pytest.mark.parametrize(
    "damage",
    ["damaged", "folders", "empty", "a web page", "a bomb", "encrypted", "shorter than published", "another's hash"],
)
def test_a_zip_that_cannot_be_unpacked(tmp_path, damage):
    content = {"empty": b"", "a web page": b"<!doctype html>", "a bomb": bytes(1 << 24)}.get(damage, bytes(9999))
    archive = tmp_path / "made.zip"
    target = tmp_path / "models"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("antelopev2/glintr100.onnx/" if damage == "folders" else "antelopev2/glintr100.onnx", content)
    data = bytearray(archive.read_bytes())
    if damage == "damaged":
        place = data.find(b"100.onnx") + 8
        data[place + 4 : place + 10] = b"\xff" * 6
    if damage == "encrypted":  # by another exception of zipfile's
        for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
            data[data.find(mark) + flags] |= 1
    archive.write_bytes(data)
    size = 10000 if damage == "shorter than published" else 9999
    published = File(("glintr100.onnx",), None, size, True, "0" * 64)
    if damage not in ("shorter than published", "another's hash"):
        published = File(published.names, None, None)
    with pytest.raises(fetch.FetchError, match="Delete it and run it again"):
        fetch._unpack(archive, [published], target)
    assert not target.exists() or not files(target)
