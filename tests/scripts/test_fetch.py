"""Downloads from servers on this machine that behave as Hugging Face and GitHub do, or worse: cut off, wrong, away."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import fetch
import pytest

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
        self.elsewhere: dict[str, str] = {}  # path -> where it leads to
        self.endless = False  # no length, and no end
        self.status = 404  # of what is not there
        self.cut: list[int] = []  # after so many bytes the first answers end
        self.pause = 0.0
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
        asked = self.headers.get("Range")
        if not self.path.startswith("/api/"):
            self.server.asked.append((self.path, asked))
        if body := self.answer(int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0):
            end = self.server.cut.pop(0) if self.server.cut else len(body)
            for at in itertools.count(0, 1 << 16) if self.server.endless else range(0, end, 1 << 16):
                try:
                    self.wfile.write(body[at % len(body) : min(end, at % len(body) + (1 << 16))])
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(self.server.pause)
        self.close_connection = True

    def answer(self, start: int = 0) -> bytes:
        """Send the headers; what is to follow."""
        content = self.server.files.get(self.path)
        if self.path in self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere[self.path])
            for name, value in (("X-Linked-Size", len(CONTENT)), ("ETag", '"of a link"'), ("X-Repo-Commit", "0" * 40)):
                self.send_header(name, str(value))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        if content is None:
            self.send_response(self.server.status)
            self.send_header("X-Error-Code", {404: "EntryNotFound", 401: "GatedRepo"}[self.server.status])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not self.server.endless:
            self.send_header("Content-Length", str(len(content) - start))
        digest = self.server.published.get(self.path) or hashlib.sha256(content).hexdigest()
        for name, value in (("ETag", f'"{digest}"'), ("X-Repo-Commit", "0" * 40)):
            self.send_header(name, value)
        self.end_headers()
        return content[start:]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Beside a pack whose manifest knows no lengths and no hashes, as files of these tests have others."""
    folder, pack = tmp_path / "models", tmp_path / "pack"
    folder.mkdir()
    pack.mkdir()
    for name in ("core", "nodes", "scripts", "workflows"):
        (pack / name).symlink_to(ROOT / name)
    known = json.loads((ROOT / "models_manifest.json").read_bytes())
    for file in (file for model in known["models"] for file in (*model["files"], model["archive"]) if file):
        file |= {"size": None, "exact": False, "sha256": None}
    (pack / "models_manifest.json").write_text(json.dumps(known))
    return folder


def script(models: Path) -> str:
    return str(models.parent / "pack" / "scripts" / "models.py")


def publish(models: Path, name: str, content: bytes) -> None:
    """Put the length and the hash of a file into the manifest."""
    manifest = models.parent / "pack" / "models_manifest.json"
    known = json.loads(manifest.read_bytes())
    every = (file for model in known["models"] for file in (*model["files"], model["archive"]) if file)
    (file,) = [file for file in every if file["names"][0].endswith(name)]
    file |= {"size": len(content), "exact": True, "sha256": hashlib.sha256(content).hexdigest().upper()}
    manifest.write_text(json.dumps(known))


def variables(server: Server, models: Path, **more: str) -> dict[str, str]:
    mirrors = {"HF_ENDPOINT": server.url, "GITHUB_ENDPOINT": server.url, "no_proxy": "*"}
    cache = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HOME": str(models.parent / "cache")}
    return {**os.environ, **mirrors, **cache, **more}


def command(models: Path, *names: str) -> list[str]:
    return [sys.executable, script(models), "download", *names, "--yes", "--models", str(models)]


def download(
    server: Server, models: Path, *names: str, longest: int = resource.RLIM_INFINITY, **more: str
) -> subprocess.CompletedProcess[str]:
    """`names` with --yes, into a models folder. longest: bytes of a file, beyond which the system refuses."""
    done = subprocess.run(
        command(models, *names), env=variables(server, models, **more), capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest)),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


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


# --- Before anything comes


def test_licences_and_sizes_come_first(server, models):
    """Without --yes and without a terminal nothing is fetched."""
    asked = [word for word in command(models, "id_patch_two_people") if word != "--yes"]
    done = subprocess.run(asked, env=variables(server, models), capture_output=True, text=True, input="")
    assert done.returncode == 1 and "add --yes if you accept these licences" in done.stderr
    assert "ID-Patch ControlNet: size not stated, into " in done.stdout
    assert "CC BY-NC 4.0 (README of the demo)" in done.stdout
    assert "Commercial use: contradictory." in done.stdout and not server.asked and not [*models.iterdir()]


def test_packages_that_are_not_there_are_named(server, models):
    """-S: no package is at hand; -I: as ComfyUI portable's Python, which does not look beside the script."""
    python, *words = command(models, "antelopev2")
    done = subprocess.run([python, "-I", "-S", *words], env=variables(server, models), capture_output=True, text=True)
    assert done.returncode == 1 and "Downloading needs the Python package huggingface_hub. Install it: " in done.stderr
    assert "-m pip install huggingface_hub pooch" in done.stderr and "Traceback" not in done.stderr
    assert not server.asked and not [*models.iterdir()]


def test_an_address_of_two_lines_is_named(server, models):
    done = download(server, models, "id-patch", HF_ENDPOINT=f"{server.url}\nx")
    assert done.returncode == 1 and "HF_ENDPOINT is no address: " in done.stderr and not server.asked


def test_a_models_folder_that_is_mistyped_is_not_made(server, models):
    mistyped = models.with_name("modles")
    done = download(server, mistyped, "antelopev2")
    assert done.returncode == 1 and f"There is no folder {mistyped}." in done.stderr
    assert not server.asked and not mistyped.exists()


# --- What comes


def test_a_file_of_hugging_face_and_one_of_github(server, models):
    """Under the names their loaders look for, readable for everybody, and once."""
    server.files |= {CLIP: CONTENT, RECOGNISER: CONTENT[1:]}
    wanted = ["clip_vision/clip-vit-large-patch14.safetensors", "facexlib/recognition_arcface_ir_se50.pth"]
    assert download(server, models, "clip-vit-large-patch14", "arcface-ir-se50").returncode == 0
    assert files(models) == wanted and [(models / name).read_bytes() for name in wanted] == [CONTENT, CONTENT[1:]]
    os.umask(mask := os.umask(0))
    assert {(models / name).stat().st_mode & 0o777 for name in wanted} == {0o666 & ~mask}
    again = download(server, models, "clip-vit-large-patch14")
    assert again.returncode == 0 and "is there already" in again.stderr
    assert [path for path, _ in server.asked] == [CLIP, RECOGNISER]


def test_connections_that_end_are_taken_up_again(server, models):
    large = CONTENT * 8  # what comes is written ten megabytes at a time
    server.files |= {INSTANT_ID: large, RECOGNISER: CONTENT}
    server.cut = [12 << 20, 11 << 20]
    assert download(server, models, "instantid").returncode == 0
    assert [asked for _, asked in server.asked] == [None, "bytes=10485760-", "bytes=20971520-"]
    server.cut = [1 << 20]
    assert download(server, models, "arcface-ir-se50").returncode == 0
    assert (models / "instantid" / "ip-adapter.bin").read_bytes() == large
    assert (models / "facexlib" / "recognition_arcface_ir_se50.pth").read_bytes() == CONTENT


def test_what_was_killed_leaves_no_file_and_its_rest_goes(server, models):
    server.files[INSTANT_ID], server.pause = CONTENT, 0.1
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command(models, "instantid"), env=variables(server, models), **quiet) as run:
        give_up = time.monotonic() + 60
        while not [*models.rglob("*.incomplete")]:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
    assert not (models / "instantid" / "ip-adapter.bin").exists() and len(files(models)) > 0
    for path in (models / "instantid").rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)
    server.pause = 0
    assert download(server, models, "instantid").returncode == 0
    assert files(models) == ["instantid/ip-adapter.bin"]


def test_a_pack_is_unpacked_where_it_belongs(server, models, tmp_path):
    server.files[PACK] = made_zip(tmp_path / "made.zip")
    assert download(server, models, "antelopev2").returncode == 0
    assert files(models) == [f"insightface/models/antelopev2/{n}.onnx" for n in ("glintr100", "scrfd_10g_bnkps")]
    assert "is there already" in download(server, models, "antelopev2").stderr and len(server.asked) == 1
    saved_page = models / "insightface" / "models" / "antelopev2" / "glintr100.onnx"
    saved_page.write_text("<!doctype html><title>Sign in</title>")
    assert "is there already" not in download(server, models, "antelopev2").stderr
    assert saved_page.read_bytes() == onnx("glintr100.onnx")


def test_a_folder_takes_the_names_that_are_there(server, models):
    base = "/huanngzh/Parts2Whole/resolve/main"
    released = [
        "unet/diffusion_pytorch_model.safetensors", "reference_unet/diffusion_pytorch_model.bin",
        "pose_guider/diffusion_pytorch_model.bin", "decoupled_attn.pth", "scheduler/scheduler_config.json",
    ]  # fmt: skip
    server.files |= {f"{base}/{name}": onnx(name) for name in released}
    assert download(server, models, "parts2whole").returncode == 0
    assert files(models) == sorted(f"parts2whole/Parts2Whole/{name}" for name in released)


# --- What does not come


def test_what_does_not_come_is_said_and_the_rest_comes(server, models):
    server.files[INSTANT_ID] = CONTENT
    done = download(server, models, "id-patch", "antelopev2", "instantid")
    assert done.returncode == 1 and "id-patch.bin is not there (404)" in done.stderr
    assert "antelopev2.zip does not come: 404 Client Error" in done.stderr
    assert files(models) == ["instantid/ip-adapter.bin"]


def test_an_account_is_needed(server, models):
    server.status = 401
    done = download(server, models, "id-patch")
    assert done.returncode == 1 and "id-patch.bin needs an account (401)." in done.stderr and not files(models)
    assert "set HF_TOKEN" in done.stderr


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "hf-mirror.com", "https://"])
def test_a_server_that_cannot_be_reached(server, models, endpoint):
    done = download(server, models, "id-patch", "arcface-ir-se50", HF_ENDPOINT=endpoint, GITHUB_ENDPOINT=endpoint)
    assert done.returncode == 1 and done.stderr.count(" does not come: ") == 2 and not files(models)


def test_what_is_not_the_published_file_leaves_nothing(server, models):
    detector = "/Comfy-Org/mediapipe/resolve/main/detection/mediapipe_face_fp32.safetensors"
    publish(models, "mediapipe_face_fp32.safetensors", CONTENT[1:])
    server.files |= {INSTANT_ID: CONTENT, detector: CONTENT, RECOGNISER: b"<!doctype html><title>Sign in</title>"}
    server.files[PACK] = b""
    server.published[INSTANT_ID] = "0" * 64
    done = download(server, models, "instantid", "mediapipe-face", "arcface-ir-se50", "antelopev2")
    assert done.returncode == 1 and not files(models)
    assert f"its SHA-256 is {hashlib.sha256(CONTENT).hexdigest()}, {'0' * 64} is published" in done.stderr
    assert f"is {len(CONTENT)} bytes long instead of {len(CONTENT) - 1}" in done.stderr
    assert "is a web page (HTML)" in done.stderr and "antelopev2.zip is empty" in done.stderr


PAGES = {
    RECOGNISER: b"Entry not found", INSTANT_ID: b'{ "error" : "gone" }', ID_PATCH: "<html>".encode("utf-16"),
    CLIP: b"\xef\xbb\xbf<!-- --><script>",
}  # fmt: skip
FOUR = ("arcface-ir-se50", "instantid", "id-patch", "clip-vit-large-patch14")


def test_no_text_is_taken_for_a_model(server, models):
    server.files |= PAGES
    done = download(server, models, *FOUR)
    assert done.returncode == 1 and not files(models)
    assert all(f"text, not a model ({len(page)} bytes)" in done.stderr for page in PAGES.values())


def test_nothing_longer_comes_than_is_published(server, models):
    server.files[RECOGNISER], server.endless = CONTENT, True
    publish(models, "ir_se50.pth", CONTENT)
    done = download(server, models, "arcface-ir-se50")
    assert done.returncode == 1 and f"more than the {len(CONTENT)} bytes come" in done.stderr and not files(models)
    server.endless = False
    assert download(server, models, "arcface-ir-se50").returncode == 0


def test_no_redirect_leads_into_ones_own_network(server, models):
    """Where a file of the same server lies it may lead."""
    port, server.files["/x"] = server.server_address[1], CONTENT
    places = (f"http://localhost:{port}/x", "http://127.0.0.1:9/x", f"ftp://127.0.0.1:{port}/x", "http://[::1]:9/x")
    server.elsewhere = dict(zip(PAGES, places, strict=True))
    done = download(server, models, *FOUR)
    assert done.returncode == 1 and not files(models) and "/x" not in [asked for asked, _ in server.asked]
    assert all(f"leads to {place}, where no published file is" in done.stderr for place in places)
    server.elsewhere = dict.fromkeys(PAGES, "/x")
    assert download(server, models, *FOUR).returncode == 0 and len(files(models)) == 4


@pytest.mark.parametrize(
    ("start", "end", "leads_on"),
    [
        ("10.0.0.5", "10.0.0.6", True),  # a company's mirror and its store
        ("[fd00::5]", "10.0.0.6", True),
        ("1.1.1.1", "8.8.8.8", True),
        ("1.1.1.1", "198.18.0.7", True),  # what proxies make up
        ("1.1.1.1", "[fc00::7]", True),
        ("1.1.1.1", "10.0.0.6", False),
        ("1.1.1.1", "[fd00::6]", False),
        ("10.0.0.5", "127.0.0.1", False),
        ("10.0.0.5", "[::ffff:127.0.0.1]", False),
        ("10.0.0.5", "169.254.169.254", False),
        ("127.0.0.1", "[::1]", False),
    ],
)
def test_a_mirror_in_ones_own_network_may_lead_within_it(start, end, leads_on):
    answer = SimpleNamespace(url=f"https://{start}/x", headers={"location": f"https://{end}/y"})
    with nullcontext() if leads_on else pytest.raises(fetch.FetchError, match="leads to"):
        fetch._follow(answer)


def test_what_somebody_put_there_stays_and_a_web_page_goes(server, models):
    server.files |= {INSTANT_ID: CONTENT, RECOGNISER: CONTENT}
    publish(models, "ir_se50.pth", CONTENT)
    adapter, recogniser = models / "instantid" / "ip-adapter.bin", models / "facexlib" / Path(RECOGNISER).name
    for path in (adapter, recogniser):
        path.parent.mkdir()
        path.write_bytes(b"\x80\2somebody's own")
    done = download(server, models, "instantid", "arcface-ir-se50")
    assert done.returncode == 1 and done.stderr.count("is there and is another file (16 bytes)") == 2
    assert adapter.read_bytes() == recogniser.read_bytes() == b"\x80\2somebody's own"
    adapter.write_text("<html>Sign in</html>")
    assert download(server, models, "instantid").returncode == 0 and adapter.read_bytes() == CONTENT


def test_what_is_in_the_way_is_named(server, models):
    (models / "instantid" / "ip-adapter.bin").mkdir(parents=True)
    (models / "facexlib").mkdir()
    os.mkfifo(models / "facexlib" / "recognition_arcface_ir_se50.pth")  # opening it would wait for ever
    done = download(server, models, "instantid", "arcface-ir-se50")
    assert done.returncode == 1 and done.stderr.count("is in the way: it is no file.") == 2 and not server.asked


def test_a_full_disk(server, models):
    server.files |= {INSTANT_ID: CONTENT, RECOGNISER: CONTENT}
    done = download(server, models, "instantid", "arcface-ir-se50", longest=1 << 21)
    assert done.returncode == 1 and done.stderr.count("File too large") == 2 and not files(models)


def spoiled_zip(path: Path, how: str) -> bytes:
    content = {"empty": b"", "a web page": b"<!doctype html>", "a bomb": bytes(1 << 24)}.get(how, bytes(9999))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
            archive.writestr(f"antelopev2/{name}/" if how == "folders" else f"antelopev2/{name}", content)
    data = bytearray(path.read_bytes())
    if how == "damaged":
        at = data.find(b"bnkps.onnx") + 10
        data[at + 4 : at + 10] = b"\xff" * 6
    if how == "encrypted":  # by another exception of zipfile's
        for mark, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
            for at in (at for at in range(len(data)) if data.startswith(mark, at)):
                data[at + flags] |= 1
    return bytes(data)


def test_members_of_a_zip_are_held_to_what_is_published(server, models, tmp_path):
    """Nothing is written through a link, and what somebody has already put there stays."""
    server.files[PACK] = made_zip(tmp_path / "made.zip")
    publish(models, "glintr100.onnx", onnx("another.onnx"))
    done = download(server, models, "antelopev2")
    assert done.returncode == 1 and "glintr100.onnx has 16 bytes" in done.stderr
    publish(models, "glintr100.onnx", onnx("glintr10?.onnx"))
    assert "glintr100.onnx is another file: its SHA-256 is" in download(server, models, "antelopev2").stderr
    publish(models, "glintr100.onnx", onnx("glintr100.onnx"))
    folder = models / "insightface" / "models" / "antelopev2"
    (folder / "glintr100.onnx.part").symlink_to(tmp_path / "made.zip")
    assert download(server, models, "antelopev2").returncode == 0 and len(files(models)) == 3
    assert (tmp_path / "made.zip").read_bytes() == server.files[PACK]
    (folder / "glintr100.onnx").write_bytes(b"\x08 my own")
    (folder / "scrfd_10g_bnkps.onnx").unlink()
    done = download(server, models, "antelopev2")
    assert done.returncode == 1 and "is there and is another file (8 bytes)" in done.stderr


@pytest.mark.parametrize("how", ["damaged", "folders", "empty", "a web page", "a bomb", "encrypted"])
def test_a_zip_that_cannot_be_unpacked(server, models, tmp_path, how):
    server.files[PACK] = spoiled_zip(tmp_path / "made.zip", how)
    done = download(server, models, "antelopev2")
    assert done.returncode == 1 and "Delete it and run it again" in done.stderr
    assert [Path(name).name for name in files(models)] == ["antelopev2.zip"]


# --- The demo


def test_the_demo_fetches_what_its_workflow_needs(server, tmp_path, models):
    """What its server does not know is said, and the rest comes."""
    pages = {
        ID_PATCH: "id_patch/id-patch.bin",
        "/ByteDance/ID-Patch/resolve/main/ControlNetModel/diffusion_pytorch_model.safetensors": (
            "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors"
        ),
        RECOGNISER: "facexlib/recognition_arcface_ir_se50.pth",
    }
    server.files |= {page: onnx(page) for page in pages}
    code = (
        f"import sys; sys.path.insert(0, {str(Path(script(models)).parent)!r}); import demo; from pathlib import Path; "
        f"print(demo.downloaded(demo.Host(Path({str(tmp_path)!r}), (0, 33, 0)), True))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=variables(server, models), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert "antelopev2.zip does not come" in done.stderr and "Juggernaut" in done.stderr
    for page, name in pages.items():
        assert (models / name).read_bytes() == onnx(page)
