"""Downloads from a server on this machine that behaves as servers do: slow, cut off, without ranges, wrong."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # where a script finds the pack's core

import fetch  # noqa: E402

CONTENT = os.urandom(1 << 16) * 48  # three megabytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FETCH = """
import sys; from pathlib import Path
sys.path[:0] = [{scripts!r}, {root!r}]
import fetch
url, target, size, sha256, token = sys.argv[1:]
try:
    new = fetch.fetch(url, Path(target), int(size) if size else None, sha256 or None, token or None, wait=0.01)
except fetch.FetchError as error:
    sys.exit(type(error).__name__ + ": " + str(error))
print("fetched" if new else "there")
""".format(scripts=str(ROOT / "scripts"), root=str(ROOT))


class Server(ThreadingHTTPServer):
    """What it serves, how, and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/file.bin": CONTENT}
        self.ranges, self.pause, self.kind = True, 0.0, "application/octet-stream"
        self.announced: int | None = None
        self.cut: list[int] = []  # after so many bytes the first answers end
        self.breaks = False  # every answer ends in a reset of the connection
        self.failures: list[int] = []  # statuses of the first answers
        self.redirect: str | None = None
        self.linked: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []  # path, Range, Authorization

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append((self.path, asked, self.headers.get("Authorization")))
        if server.failures:
            return self.send_error(server.failures.pop(0))
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect + self.path)
            for name, value in server.linked.items():
                self.send_header(name, value)
            return self.end_headers()
        if self.path not in server.files:
            return self.send_error(404)
        return self.send(server.files[self.path], asked if server.ranges else None)

    def send(self, content: bytes, asked: str | None) -> None:
        server = self.server
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(content) and asked:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        body = content[start:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(server.announced or len(body)))
        self.send_header("Content-Type", server.kind)
        self.send_header("ETag", '"one"')
        self.end_headers()
        if server.breaks:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return self.connection.close()
        end = server.cut.pop(0) if server.cut else len(body)
        for at in range(0, end, 1 << 16):
            try:
                self.wfile.write(body[at : min(end, at + (1 << 16))])
                self.wfile.flush()
            except OSError:
                return None
            time.sleep(server.pause)
        self.close_connection = True
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving()


@pytest.fixture
def other() -> Iterator[Server]:
    yield from serving()


def serving() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def begun(server: Server, target: Path, size="", sha256="", token="", path="/file.bin", **options):
    command = [sys.executable, "-c", FETCH, server.url + path, str(target), str(size), sha256, token]
    environment = {**os.environ, "no_proxy": "*"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def fetched(server: Server, target: Path, *given, **named) -> str:
    """What the process says, good or bad."""
    out, err = begun(server, target, *given, **named).communicate(timeout=60)
    assert "Traceback" not in err, err
    return (out + err).strip()


def whole(target: Path) -> bool:
    """The file and nothing beside it."""
    return target.read_bytes() == CONTENT and [*target.parent.iterdir()] == [target]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "file.bin"


def wait_for(part: Path, least: int) -> None:
    give_up = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size >= least):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def part_of(target: Path) -> Path:
    return target.with_name("file.bin.part")


def test_fetched_once(server, target):
    assert fetched(server, target, len(CONTENT), SHA256) == "fetched" and whole(target)
    assert fetched(server, target, len(CONTENT), SHA256) == "there" and whole(target)
    assert len(server.asked) == 1  # what is published of it is enough
    assert fetched(server, target) == "there" and whole(target)


def test_killed_in_the_middle_it_goes_on(server, target):
    server.pause = 0.05
    process = begun(server, target)
    wait_for(part_of(target), 1 << 18)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = part_of(target).stat().st_size
    assert 0 < had < len(CONTENT) and not target.exists()
    server.pause = 0
    assert fetched(server, target, sha256=SHA256) == "fetched" and whole(target)
    assert server.asked[-1][1] == f"bytes={had}-"


def test_a_beginning_of_another_file_is_not_continued(server, target):
    """The side file says of what it is the beginning; without one nobody knows."""
    target.parent.mkdir()
    part_of(target).write_bytes(b"something else")
    assert fetched(server, target, sha256=SHA256) == "fetched" and whole(target)
    assert [asked for _, asked, _ in server.asked] == [None]


def test_a_whole_part_is_only_verified(server, target):
    server.pause = 0.05
    process = begun(server, target)
    wait_for(part_of(target), 1)
    process.kill()
    process.wait()
    part_of(target).write_bytes(CONTENT)
    assert fetched(server, target, sha256=SHA256) == "fetched" and whole(target)


def test_connections_that_end_are_taken_up_again(server, target):
    server.cut = [1 << 20, 1 << 19, 0]
    assert fetched(server, target, sha256=SHA256) == "fetched" and whole(target)
    assert [asked for _, asked, _ in server.asked] == [None, "bytes=1048576-", "bytes=1572864-", "bytes=1572864-"]


def test_a_connection_that_breaks_is_not_called_a_server_that_cannot_be_reached(server, target):
    server.breaks = True
    said = fetched(server, target)
    assert "does not come: the connection broke (" in said and len(server.asked) == 5


def test_a_server_that_cannot_be_reached(server, target):
    server.server_close()
    assert "does not come: 127.0.0.1 cannot be reached (" in fetched(server, target)


def test_a_server_without_ranges(server, target):
    server.ranges, server.cut = False, [1 << 20]
    assert fetched(server, target, sha256=SHA256) == "fetched" and whole(target)
    assert [asked for _, asked, _ in server.asked] == [None, "bytes=1048576-"]


def test_a_server_that_is_busy(server, target):
    server.failures = [503, 429]
    assert fetched(server, target) == "fetched" and whole(target)


def test_a_server_that_stays_busy(server, target):
    server.failures = [503] * 9
    assert "does not come: the server answers 503. Run it again later" in fetched(server, target)
    assert len(server.asked) == 5 and [*target.parent.iterdir()] == []


def test_a_wrong_hash_leaves_nothing(server, target):
    said = fetched(server, target, sha256="0" * 64)
    assert f"its SHA-256 is {SHA256}, {'0' * 64} is published" in said
    assert [*target.parent.iterdir()] == []


def test_another_length_than_published(server, target):
    assert f"has {len(CONTENT)} bytes, 17 are published" in fetched(server, target, 17)
    assert [*target.parent.iterdir()] == []


def test_what_hugging_face_says_before_it_redirects(server, other, target):
    server.redirect, server.linked = other.url, {"X-Linked-Etag": f'"{"0" * 64}"'}
    assert f"{'0' * 64} is published" in fetched(server, target)
    server.linked = {"X-Linked-Etag": f'"{SHA256}"'}
    assert fetched(server, target) == "fetched" and whole(target)


def test_the_token_goes_to_no_other_server(server, other, target):
    server.redirect = other.url
    assert fetched(server, target, token="secret") == "fetched"
    assert server.asked[0][2] == "Bearer secret" and other.asked[0][2] is None


def test_not_there(server, target):
    assert fetched(server, target, path="/lost.bin").startswith("NotThere: ")
    assert [*target.parent.iterdir()] == []


def test_an_account_is_needed(server, target):
    server.failures = [401]
    assert "needs an account (401). Accept its terms on its page, make a token there and set HF_TOKEN" in fetched(
        server, target
    )


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
def test_a_web_page_instead_of_the_file(server, target, kind):
    server.files["/file.bin"], server.kind = b"<!doctype html><title>Sign in</title>", kind
    assert "a web page" in fetched(server, target)
    assert [*target.parent.iterdir()] == []


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, 1 << 21))


def test_a_full_disk_and_room_made(server, target):
    """No file of this process may be longer than two megabytes: the system refuses what is beyond."""
    said = fetched(server, target, preexec_fn=limited)
    assert "The disk is full after" in said and "Make room and run it again; it goes on." in said
    assert part_of(target).stat().st_size <= 1 << 21
    assert fetched(server, target, sha256=SHA256) == "fetched" and whole(target)
    assert server.asked[-1][1] is not None


def test_no_room_is_said_before_anything_comes(server, target):
    server.announced = 10**18
    assert "has room for " in fetched(server, target) and "1000000000 GB are to come" in fetched(server, target)
    assert [*target.parent.iterdir()] == []


def test_two_at_once(server, target):
    server.pause = 0.05
    first = begun(server, target, sha256=SHA256)
    wait_for(part_of(target), 1)
    assert "is being downloaded by another process" in fetched(server, target)
    server.pause = 0
    assert first.communicate(timeout=60)[0].strip() == "fetched" and whole(target)


def test_a_side_file_that_its_holder_has_just_removed_locks_nobody_out(tmp_path, monkeypatch):
    """Who has opened it before that holds a file that is nowhere: it is opened anew."""
    side, plain, locked = tmp_path / "file.part.json", fetch._lock, []

    def late(file):
        if not locked:
            side.unlink()
        locked.append(file)
        plain(file)

    monkeypatch.setattr(fetch, "_lock", late)
    with fetch._alone(side, tmp_path / "file.part", tmp_path / "file") as notes:
        assert len(locked) == 2 and os.path.samestat(os.fstat(notes.fileno()), side.stat())
        with pytest.raises(fetch.FetchError, match="by another process"), fetch._alone(side, side, side):
            pass
    assert not side.exists()


def test_a_good_file_stays_and_a_bad_one_goes(server, target):
    target.parent.mkdir()
    target.write_bytes(b"somebody's own")
    assert "is there and is another file (14 bytes" in fetched(server, target)
    assert target.read_bytes() == b"somebody's own"
    target.write_text("<html>Sign in</html>")
    assert fetched(server, target) == "fetched" and whole(target)


def test_nothing_is_no_file(server, target):
    server.files["/file.bin"] = b""
    assert "is empty" in fetched(server, target) and not [*target.parent.iterdir()]


@pytest.mark.parametrize("name", ["file.bin", "file.bin.part", "file.bin.part.json"])
def test_what_is_in_the_way_is_named(server, target, name):
    (target.parent / name).mkdir(parents=True)
    assert f"{name} is in the way: it is no file. Move it away." in fetched(server, target)
    (target.parent / name).rmdir()
    os.mkfifo(target.parent / name)  # opening it would wait for ever
    assert "it is no file" in fetched(server, target) and not server.asked


@pytest.mark.parametrize("name", ["file.bin.part", "file.bin.part.json"])
def test_no_link_is_written_through(server, target, name, tmp_path):
    target.parent.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (target.parent / name).symlink_to(tmp_path / "precious")
    assert f"{name} is in the way: it is a link" in fetched(server, target)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_side_file_of_brackets(server, target):
    target.parent.mkdir()
    target.with_name("file.bin.part.json").write_text("[" * 100_000)
    assert fetched(server, target) == "fetched" and whole(target)


def test_a_redirect_to_nowhere(server, target):
    server.redirect = "http://[nowhere"
    assert "leads to something that is no address" in fetched(server, target)


# --- python scripts/models.py download


def download(server: Server, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Into a models folder that is made."""
    folder.mkdir(exist_ok=True)
    return downloading(server, "--models", str(folder), *arguments)


def downloading(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    mirrors = {"HF_ENDPOINT": server.url, "GITHUB_ENDPOINT": server.url, "no_proxy": "*"}
    command = [sys.executable, "-I", "-S", str(ROOT / "scripts" / "models.py"), "download", *arguments]
    return subprocess.run(command, env={**os.environ, **mirrors}, capture_output=True, text=True, input="")


def test_licences_and_sizes_come_first(server, tmp_path):
    """Without --yes and without a terminal nothing is fetched. -S: no package is at hand; -I: as ComfyUI portable's
    Python, which does not look beside the script."""
    done = download(server, tmp_path, "id_patch_two_people")
    assert done.returncode == 1 and "add --yes if you accept these licences" in done.stderr
    assert "ID-Patch ControlNet: 5 GB, into " in done.stdout and "CC BY-NC 4.0 (README of the demo)" in done.stdout
    assert "Commercial use: contradictory." in done.stdout and not server.asked and not [*tmp_path.iterdir()]


def test_a_models_folder_that_is_mistyped_is_not_made(server, tmp_path):
    done = downloading(server, "antelopev2", "--yes", "--models", str(tmp_path / "modles"))
    assert done.returncode == 1 and f"There is no folder {tmp_path / 'modles'}." in done.stderr
    assert not server.asked and not [*tmp_path.iterdir()]


def test_a_pack_is_unpacked_where_it_belongs(server, tmp_path):
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx", "genderage.onnx"):
            archive.writestr(f"antelopev2/{name}", name)
    path = "/deepinsight/insightface/releases/download/v0.7/antelopev2.zip"
    server.files[path] = (tmp_path / "made.zip").read_bytes()
    models = tmp_path / "models"
    done = download(server, models, "antelopev2", "--yes")
    assert done.returncode == 0, done.stderr
    found = sorted(str(file.relative_to(models)) for file in models.rglob("*") if file.is_file())
    assert found == [f"insightface/models/antelopev2/{name}.onnx" for name in ("glintr100", "scrfd_10g_bnkps")]
    assert "is there already" in download(server, models, "antelopev2", "--yes").stderr
    assert len(server.asked) == 1
    saved_page = models / "insightface" / "models" / "antelopev2" / "glintr100.onnx"
    saved_page.write_text("<!doctype html><title>Sign in</title>")
    assert "is there already" not in download(server, models, "antelopev2", "--yes").stderr
    assert saved_page.read_text() == "glintr100.onnx"


def spoiled_zip(path: Path, how: str) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
            archive.writestr(f"antelopev2/{name}/" if how == "folders" else f"antelopev2/{name}", bytes(9999))
    data = bytearray(path.read_bytes())
    if how == "damaged":
        at = data.find(b"bnkps.onnx") + 10
        data[at : at + 10] = b"\xff" * 10
    for mark, flags, method in ((b"PK\1\2", 8, 10), (b"PK\3\4", 6, 8)):
        for at in (at for at in range(len(data)) if data.startswith(mark, at)):
            if how == "encrypted":
                data[at + flags] |= 1
            if how == "packed otherwise":
                data[at + method] = 77
    return bytes(data)


@pytest.mark.parametrize("how", ["damaged", "encrypted", "packed otherwise", "folders"])
def test_a_zip_that_cannot_be_unpacked(server, tmp_path, how):
    path = "/deepinsight/insightface/releases/download/v0.7/antelopev2.zip"
    server.files[path] = spoiled_zip(tmp_path / "made.zip", how)
    models = tmp_path / "models"
    done = download(server, models, "antelopev2", "--yes")
    assert done.returncode == 1 and "Delete it and run it again" in done.stderr and "Traceback" not in done.stderr
    assert [file.name for file in models.rglob("*") if file.is_file()] == ["antelopev2.zip"]


@pytest.mark.parametrize("endpoint", ["hf-mirror.com", "http://[bad", "file:///etc", "https://"])
def test_a_mirror_that_is_no_address(endpoint):
    with pytest.raises(fetch.FetchError, match="which is no address"):
        fetch.mirrored("https://huggingface.co/a/b", {"HF_ENDPOINT": endpoint})
    assert fetch.mirrored("https://huggingface.co/a/b", {"HF_ENDPOINT": "https://c.d/\n"}) == "https://c.d/a/b"


def test_a_folder_takes_the_names_that_are_there(server, tmp_path):
    base = "/huanngzh/Parts2Whole/resolve/main"
    released = [
        "unet/diffusion_pytorch_model.safetensors", "reference_unet/diffusion_pytorch_model.bin",
        "pose_guider/diffusion_pytorch_model.bin", "decoupled_attn.pth", "scheduler/scheduler_config.json",
    ]  # fmt: skip
    server.files |= {f"{base}/{name}": name.encode() for name in released}
    assert download(server, tmp_path, "parts2whole", "--yes").returncode == 0
    folder = tmp_path / "parts2whole" / "Parts2Whole"
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == set(released)


def test_what_does_not_come_is_said_and_the_rest_comes(server, tmp_path):
    server.files["/InstantX/InstantID/resolve/main/ip-adapter.bin"] = CONTENT
    done = download(server, tmp_path, "id-patch", "instantid", "--yes")
    assert done.returncode == 1 and "id-patch.bin is not there (404)" in done.stderr
    assert (tmp_path / "instantid" / "ip-adapter.bin").read_bytes() == CONTENT


def test_tokens_are_for_their_hosts_only():
    sys.path.append(str(ROOT))  # as scripts/models.py does
    try:
        import fetch
    finally:
        sys.path.remove(str(ROOT))
    variables = {"HF_TOKEN": "hf", "CIVITAI_API_TOKEN": "civitai"}
    assert fetch.token_for("https://huggingface.co/a/b", variables) == "hf"
    assert fetch.token_for("https://civitai.com/a", variables) == "civitai"
    assert fetch.token_for("https://huggingface.co.example.org/a", variables) is None
    assert fetch.token_for("http://huggingface.co/a", variables) is None
    assert fetch.token_for("https://github.com/a", variables) is None


def test_the_demo_fetches_what_its_workflow_needs(server, tmp_path):
    """What its server does not know is said, and the rest comes."""
    pages = {
        "/ByteDance/ID-Patch/resolve/main/id-patch.bin": "id_patch/id-patch.bin",
        "/ByteDance/ID-Patch/resolve/main/ControlNetModel/diffusion_pytorch_model.safetensors": (
            "controlnet/ID-Patch/ControlNetModel/diffusion_pytorch_model.safetensors"
        ),
        "/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth": (
            "facexlib/recognition_arcface_ir_se50.pth"
        ),
    }
    server.files |= {page: page.encode() for page in pages}
    (tmp_path / "models").mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import demo; from pathlib import Path; "
        f"print(demo.downloaded(demo.Host(Path({str(tmp_path)!r}), (0, 33, 0)), True))"
    )
    mirrors = {"HF_ENDPOINT": server.url, "GITHUB_ENDPOINT": server.url, "no_proxy": "*"}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **mirrors}, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert "antelopev2.zip is not there (404)" in done.stderr and "Juggernaut" in done.stderr
    for page, name in pages.items():
        assert (tmp_path / "models" / name).read_text() == page
