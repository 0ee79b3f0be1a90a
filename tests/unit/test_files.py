"""Files that are there whole or not at all."""

import errno
import os
import random
from pathlib import Path

import pytest
import torch
from pack.core.errors import UnsupportedCheckpoint
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


def test_what_a_mac_writes_beside_files_is_left_out(tmp_path):
    """In listings for menus and for the doctor; other hidden files stay, as ComfyUI lists them."""
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._a.bin", "a.bin", ".hidden.bin", "__MACOSX/._a.bin"):
        (tmp_path / name).touch()
    assert [name for name, _ in files_below(str(tmp_path), 10)] == [".hidden.bin", "a.bin"]
    assert [name for name, _ in listing(str(tmp_path)).files] == [".hidden.bin", "a.bin"]


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def partly(shape: tuple[int, ...], *zeros: slice) -> torch.Tensor:
    """Numbers with zeros in a part of them."""
    values = numbers(*shape)
    values[zeros] = 0
    return values


ALL = slice(None)
HONEST = {
    "a projection that was never trained": {"a": numbers(64, 640), "b": torch.zeros(640, 640), "c": numbers(3)},
    "zero convolutions": {"a.bias": torch.zeros(320), "a.weight": torch.zeros(320, 320, 1, 1), "b": numbers(9, 9)},
    "columns for what came later": {"a": partly((512, 8192), ALL, slice(4096, None)), "b": torch.zeros(9000)},
    "channels for what came later": {"a": partly((320, 9, 3, 3), ALL, slice(4, None)), "b": numbers(5)},
    "rows of words that nobody uses": {"a": partly((600, 768), slice(500, None)), "b": torch.zeros(5000)},
    "rows within": {"a": partly((600, 768), slice(100, 300))},
    "a LoRA of queries alone": {"lora_up.weight": partly((9216, 96), slice(3072, None))},
    "a last number that is zero": {"a": partly((100,), slice(99, None)), "b": torch.zeros(100, 100)},
    "a mask": {"a": torch.ones(2048, 2048).triu(), "b": torch.ones(2048, 2048).tril(-1)},
    "a mask of windows": {"a": torch.zeros(64, 49, 49)},
}
HONEST["a mask of windows"]["a"][7::8, :21, 21:] = -100


@pytest.mark.parametrize("kind", HONEST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_zeros_of_honest_files(tmp_path, kind, dtype):
    save_file({key: values.to(dtype) for key, values in HONEST[kind].items()}, tmp_path / "a.safetensors")
    assert tensors.read(tmp_path / "a.safetensors").keys() == HONEST[kind].keys()


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zeros_of_a_download_that_stopped(tmp_path, seed, dtype):
    """From a byte anywhere to the end, or to another byte; once nothing but the header."""
    path = tmp_path / "a.safetensors"
    shapes = {"weight": (128, 256), "bias": (128,), "norm": (256,), "conv": (16, 32, 3, 3)}
    state = {f"{layer}.{key}": numbers(*shape).to(dtype) for layer in range(9) for key, shape in shapes.items()}
    save_file(state, path)
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    chosen = random.Random(seed)
    begin = chosen.randrange(header, len(data) - 20_000) if seed else header
    end = chosen.randrange(begin + 20_000, len(data) + 1) if seed % 2 else len(data)
    path.write_bytes(data[:begin] + bytes(end - begin) + data[end:])
    with pytest.raises(UnsupportedCheckpoint, match=r"a download that has stopped: numbers of \d\.\w+ are zeros"):
        tensors.read(path)


def test_zeros_as_long_as_a_row_and_in_two_rows_are_a_hole(tmp_path):
    """Of a row of 4096 numbers the half behind, and of the next one the half in front."""
    values = numbers(4, 4096)
    values.view(-1)[6144:10240] = 0
    save_file({"a": values}, tmp_path / "a.safetensors")
    with pytest.raises(UnsupportedCheckpoint, match="numbers of a are zeros"):
        tensors.read(tmp_path / "a.safetensors")


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
    save_file({"a": numbers(4)}, path)

    def loaded(path):
        raise NO_MEMORY[kind]

    with pytest.raises(type(NO_MEMORY[kind])):
        tensors.read(path, loaded=loaded)


@pytest.mark.parametrize("mark", UNFINISHED)
def test_what_a_program_keeps_beside_a_download(tmp_path, mark):
    path = tmp_path / "a.safetensors"
    save_file({"a": numbers(4)}, path)
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
    save_file({"a": numbers(4)}, tmp_path / "a.safetensors")
    path = (tmp_path / "a.safetensors").rename(folder / os.fsdecode(b"\xff.safetensors"))
    assert torch.equal(tensors.read(path)["a"], numbers(4))
    assert tensors.described_tensors(path)["a"].shape == (4,)
