"""Files that are there whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
import torch
from pack.core.checks.errors import UnsupportedCheckpoint
from pack.core.models import tensors
from pack.core.models.files import UNFINISHED, files_below, listing, unfinished_folder
from safetensors.torch import save_file


def test_a_stop_right_after_the_folder_is_made_leaves_nothing(tmp_path, monkeypatch):
    """As Ctrl-C does between the system's call and the line behind it."""
    make = Path.mkdir

    def stopped(path, *arguments, **options):
        make(path, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", stopped)
    with pytest.raises(KeyboardInterrupt), unfinished_folder(tmp_path, ".converting-"):
        pass
    assert [*tmp_path.iterdir()] == []


def test_what_is_moved_away_stays_and_the_rest_goes(tmp_path):
    with unfinished_folder(tmp_path, ".fetching-") as folder:
        (folder / "rest").write_text("half")
        (folder / "whole").write_text("all of it")
        (folder / "whole").replace(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize(
    "folder",
    ["__MACOSX", ".git", "#recycle", "@eaDir", "@Recycle", "$RECYCLE.BIN", "$Recycle.Bin", "lost+found",
     "System Volume Information"],
)  # fmt: skip
def test_what_systems_put_among_files_is_left_out(tmp_path, folder):
    """In listings for menus and for Check Model Files; other hidden files stay, as ComfyUI lists them."""
    (tmp_path / folder / "below").mkdir(parents=True)
    for name in ("._a.bin", "a.bin", ".hidden.bin", f"{folder}/._a.bin", f"{folder}/b.bin", f"{folder}/below/c.bin"):
        (tmp_path / name).touch()
    assert [name for name, _ in files_below(str(tmp_path), 10)] == [".hidden.bin", "a.bin"]
    assert [name for name, _ in listing(str(tmp_path)).files] == [".hidden.bin", "a.bin"]


NO_MEMORY = {
    "Python": MemoryError(),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "a GPU": torch.cuda.OutOfMemoryError("no memory is left"),
    "CUDA": RuntimeError("CUDA error: out of memory"),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    "a CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "a CPU on Windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
    "a mapped file": RuntimeError("unable to mmap 4 bytes from file <a>: Cannot allocate memory (12)"),
    "a mapped file on Windows": RuntimeError("Couldn't open file mapping: <a>, error code: <1455>"),
}


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_memory_that_runs_out_says_nothing_about_a_file(tmp_path, kind):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(4.0)}, path)

    def loaded(path):
        raise NO_MEMORY[kind]

    with pytest.raises(type(NO_MEMORY[kind])):
        tensors.read(path, loaded=loaded)


@pytest.mark.parametrize("mark", UNFINISHED)
def test_what_a_program_keeps_beside_a_download(tmp_path, mark):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(4.0)}, path)
    (tmp_path / f"a.safetensors{mark}").touch()
    with pytest.raises(UnsupportedCheckpoint, match=rf"has not ended, or a\.safetensors\{mark} beside it"):
        tensors.read(path)


def test_a_header_tells_shapes_and_kinds_of_numbers(tmp_path):
    kinds = (torch.half, torch.bfloat16, torch.float, torch.double)
    state = {f"{kind}": torch.zeros(2, 3, dtype=kind) for kind in kinds}
    save_file(state, tmp_path / "a.safetensors")
    described = tensors.described_tensors(tmp_path / "a.safetensors")
    assert described.keys() == state.keys()
    for name, tensor in described.items():
        assert (tensor.shape, f"{tensor.dtype}", tensor.is_meta) == ((2, 3), name, True)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux has such names")
def test_a_path_that_is_no_utf_8(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    save_file({"a": torch.arange(4.0)}, tmp_path / "a.safetensors")
    path = (tmp_path / "a.safetensors").rename(folder / os.fsdecode(b"\xff.safetensors"))
    assert torch.equal(tensors.read(path)["a"], torch.arange(4.0))
    assert tensors.described_tensors(path)["a"].shape == (4,)
