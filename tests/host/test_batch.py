"""scripts/batch.py as a user runs it: two workers on Ray, some of which end, and a run that goes on where one ended."""

from __future__ import annotations

import csv
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from batch.inputs import Template
from batch.rows import read, rows
from PIL import Image
from rig.host_server import HostServer

ROOT = Path(__file__).resolve().parents[2]
# Without models; a row takes half a second or so.
WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}, "_meta": {"title": "Photo"}},
    "2": {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "bilinear", "width": 64, "height": 512, "crop": "disabled"},
        "_meta": {"title": "Size"},
    },
    "3": {"class_type": "ImageBlur", "inputs": {"image": ["2", 0], "blur_radius": 31, "sigma": 9.0}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "made/here"}},
}


def made_for(tmp_path: Path, count: int) -> Path:
    """A table of so many rows that can be made and of three that cannot."""
    Image.effect_noise((96, 96), 60).convert("RGB").save(tmp_path / "photo.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "photo.png").read_bytes()[:200])
    (tmp_path / "workflow.json").write_text(json.dumps(WORKFLOW))
    lines = [f"row {number},photo.png,{400 + 8 * number}" for number in range(count)]
    lines += ["torn,torn.png,", "wide,photo.png,1e9", "lost,away.png,"]
    (tmp_path / "jobs.csv").write_text("\n".join(["name,photo.image,Size.width", *lines, ""]))
    return tmp_path


def batch(folder: Path, *more: str) -> subprocess.Popen[str]:
    """In a group of its own, as in a terminal."""
    command = [sys.executable, str(ROOT / "scripts" / "batch.py"), str(folder / "jobs.csv")]
    command += ["--workflow", str(folder / "workflow.json"), "--python", sys.executable, *more]
    variables = {**os.environ, "TMPDIR": str(folder), "RAY_TMPDIR": "/tmp"}  # Ray's paths have to be short
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables, start_new_session=True)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def hosts(folder: Path) -> list[int]:
    """The processes of ComfyUIs of these workers, which have their folders where this test says."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{folder}/likeness-batch-".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def until(true: Callable[[], object], process: subprocess.Popen[str], seconds: float = 300) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < give_up
        time.sleep(0.1)


def done(folder: Path) -> list[dict[str, str]]:
    path = folder / "jobs" / "done.csv"
    return table(path) if path.is_file() else []


def single(folder: Path, server: HostServer, line: int) -> bytes:
    """The picture of one row, made alone."""
    jobs = read(folder / "jobs.csv")
    template = Template(folder / "workflow.json", server.object_info(), jobs.columns, folder, folder / "input")
    job = template.job(next(row for row in rows(jobs, template.is_photo) if row.line == line))
    for name, data in job.photos.items():
        (server.base / "input" / name).write_bytes(data)
    return server.file(server.run(job.prompt).outputs["4"]["images"][0]).read_bytes()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_nothing_is_lost_and_nothing_made_twice(tmp_path: Path, host_server: HostServer) -> None:
    count, folder = 10, made_for(tmp_path, 10)
    run = batch(folder, "--workers", "2")
    until(lambda: len(done(folder)) >= 2, run)
    os.kill(hosts(folder)[0], signal.SIGKILL)
    said = run.communicate()[1]
    assert run.returncode == 1, said
    assert "A worker ended during line " in said and "Ray's dashboard: http://" in said
    made = {entry["name"]: entry["files"] for entry in done(folder)}
    assert made == {f"row {number}": f"row {number}.png" for number in range(count)} and len(done(folder)) == count
    failed = {entry["name"]: entry["reason"] for entry in table(folder / "jobs" / "failed.csv")}
    assert failed.keys() == {"torn", "wide", "lost"}
    assert failed["lost"] == f"photo.image is away.png, which is not in {folder}."
    assert failed["wide"].startswith("Size.width is 1e9: a whole number is needed")
    assert "torn.png" in failed["torn"]
    assert (folder / "jobs" / "row 7.png").read_bytes() == single(folder, host_server, 9)
    assert not hosts(folder) and not list(folder.glob("likeness-batch-*"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_a_comfyui_that_hangs_is_ended_and_nothing_is_open_to_the_network(tmp_path: Path) -> None:
    folder = made_for(tmp_path, 8)
    run = batch(folder, "--workers", "2", "--row-limit", "20")
    until(lambda: len(done(folder)) >= 2, run)
    os.kill(hosts(folder)[0], signal.SIGSTOP)
    listening = {
        (socket.laddr.ip, process.name())
        for process in psutil.Process(run.pid).children(recursive=True)
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    }
    said = run.communicate()[1]
    assert len(done(folder)) == 8 and "was not done after 20 s" in said and "its ComfyUI is ended" in said, said
    assert not hosts(folder) and not list(folder.glob("likeness-batch-*"))
    assert {"gcs_server", "raylet"} <= {name for _, name in listening}
    mapped = [(getattr(ip := ipaddress.ip_address(at), "ipv4_mapped", None) or ip, name) for at, name in listening]
    assert [name for ip, name in mapped if not ip.is_loopback] == []


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_a_run_that_is_stopped_goes_on(tmp_path: Path) -> None:
    """Ctrl-C, then one worker without Ray does the rest and a row that has changed."""
    count, folder = 30, made_for(tmp_path, 30)
    stopped = batch(folder, "--workers", "2")
    until(lambda: len(done(folder)) >= 2, stopped)
    os.killpg(stopped.pid, signal.SIGINT)
    said = stopped.communicate()[1]
    assert stopped.returncode == 130 and "Traceback" not in said, said
    assert not hosts(folder)
    made = {entry["files"]: (folder / "jobs" / entry["files"]).stat().st_mtime_ns for entry in done(folder)}
    assert 2 <= len(made) < count
    changed = next(iter(made))
    lines = (folder / "jobs.csv").read_text().splitlines()
    (folder / "jobs.csv").write_text(
        "\n".join(f"{line}0" if line.startswith(f"{Path(changed).stem},") else line for line in lines)
    )
    rest = batch(folder, "--workers", "1")
    assert "Traceback" not in rest.communicate()[1] and rest.returncode == 1
    assert {entry["files"] for entry in done(folder)} == {f"row {number}.png" for number in range(count)}
    later = {name: (folder / "jobs" / name).stat().st_mtime_ns for name in made}
    assert {name for name in made if later[name] != made[name]} == {changed}
    assert sorted(path.name for path in (folder / "jobs").glob(".*")) == [".lock"]
