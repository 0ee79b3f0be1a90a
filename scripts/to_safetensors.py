"""Makes one safetensors file, which nothing has to unpickle, of what others release as pickles or folders.

    python scripts/to_safetensors.py ../../models/id_patch/id-patch.bin
    python scripts/to_safetensors.py ../../models/instantid/ip-adapter.bin
    python scripts/to_safetensors.py ../../models/ipadapter/ip-adapter-faceid_sd15.bin
    python scripts/to_safetensors.py ../../models/facexlib/recognition_arcface_ir_se50.pth
    python scripts/to_safetensors.py ../../models/parts2whole/Parts2Whole

Run it in the pack's folder with the Python that runs ComfyUI. The new file stands beside the old one, loads the same,
and says in its metadata what it was made of.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

try:
    import torch
    from safetensors.torch import save_file
    from torch import Tensor

    from core.checks.consoles import accept_any_text
    from core.checks.errors import CannotSave, LikenessError
    from core.checks.text import in_one_line
    from core.models import formats, manifest
    from core.models.files import sha256, unfinished_folder
    from core.models.manifest import PATH, Model, models
    from core.models.tensors import SOURCES, read
except ImportError as error:
    sys.exit(f"This needs {error.name}: run it with the Python that runs ComfyUI.")


def convert(source: Path) -> Path:
    """Write the safetensors file beside `source`, a pickle that a loader of ours reads or a Parts2Whole folder, and
    return its path. It loads the same, and says in its metadata what it was made of.

    Raises UnsupportedCheckpoint or ModelMissing when it is something else, CannotSave where the file is there
    already or cannot be written, of which nothing is left.
    """
    source = source.absolute()
    target = source.with_name(f"{source.name}.safetensors") if source.is_dir() else source.with_suffix(".safetensors")
    if target.exists():
        raise CannotSave(f"{target} exists already.", "Move it away to convert again.")
    print(f"Reading {source} ...", file=sys.stderr)
    state, metadata = _folder(source) if source.is_dir() else _single(source)
    print(f"Writing {target} ...", file=sys.stderr)
    _write(target, state, metadata)
    with suppress(OSError):  # some disks know no permissions
        target.chmod(source.stat().st_mode & 0o666)  # safetensors writes for its owner only
    return target


def _single(source: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    state = read(source)
    published = [one for one in models() if one.format in _OURS and len(one.files) == 1]
    advice = "Give it a pickle that one of our loaders reads, such as id-patch.bin or ip-adapter-faceid_sd15.bin."
    found = formats.require(state, [one.format for one in published], str(source), advice)
    alike = [one for one in published if one.format == found.id]
    unnamed = replace(alike[0], title=found.title)
    model = next((one for one in alike if PurePath(one.name).stem == source.stem), unnamed)
    return state, _provenance(model, [source])


_OURS = [known.id for known in formats.formats() if known.ours]


def _folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    model = manifest.model("parts2whole")
    files = manifest.locate(model, folder.resolve())
    state = {f"{part}.{key}": one for part in manifest.networks_of(model) for key, one in read(files[part]).items()}
    scheduler = files[manifest.SCHEDULER].read_text("utf-8")
    return state, {manifest.SCHEDULER: scheduler, **_provenance(model, list(files.values()))}


def _provenance(model: Model, sources: Sequence[Path]) -> dict[str, str]:
    """What a later reader wants to know of a converted file: of which bytes it was made, whose they are, by what."""
    version = re.search(r'^version = "(.+)"', PATH.with_name("pyproject.toml").read_text("utf-8"), re.MULTILINE)
    hashes = {str(path.relative_to(sources[0].parents[len(sources) > 1])): sha256(path) for path in sources}
    return {
        "title": model.title,
        "source": model.page,
        SOURCES: json.dumps(hashes),
        "licence": "; ".join(f"{one.licence} ({one.source})" for one in model.licences),
        "converted_by": f"Likeness {version[1] if version else ''}".strip(),
    }


def _write(target: Path, state: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    try:
        with unfinished_folder(target.parent, ".converting-") as folder:
            unfinished = folder / target.name
            save_file(dict(_apart(state)), unfinished, metadata={"format": "pt", **metadata})
            unfinished.replace(target)
    except Exception as error:  # safetensors has errors of its own, torch many for what is no plain tensor
        raise CannotSave(
            f"{target} could not be written: {in_one_line(error)}.",
            "Look whether the disk has room, the folder may be written to and the source is the published file.",
        ) from error


def _apart(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors, none of which shares its memory with another: a safetensors file cannot hold those."""
    seen: set[int] = set()
    for key, tensor in state.items():
        memory = tensor.untyped_storage().data_ptr()
        yield key, tensor.contiguous() if memory not in seen else tensor.clone(memory_format=torch.contiguous_format)
        seen.add(memory)


def path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


def _stop(number: int, _: object) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    accept_any_text()
    # Whoever ends it, as by closing its terminal: no unfinished file stays. This script is published alone, without the
    # others, which share shared/stopping.py.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # under nohup one is ignored
            signal.signal(number, _stop)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=path, help="a pickle, or the folder of Parts2Whole")
    try:
        print(convert(parser.parse_args().source), flush=True)
    except (LikenessError, OSError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt as stop:
        sys.exit(128 + (stop.args[0] if stop.args else signal.SIGINT))
