"""What each loader says of a file that is not its own: what it is, where it belongs, and where the right one is."""

import asyncio
import re
from pathlib import Path

import folder_paths
import pytest
import sample_values
import torch
from format_files import TABLE, state_of
from graph_run import OURS
from logged import messages_of_the_pack
from method_rows import Condition, applies_to
from pack.bridge.host.folders import UnsafePath
from pack.core.checks.errors import BadSetup, LikenessError, ModelMissing, UnsupportedCheckpoint
from pack.core.methods import Format, Method, methods
from pack.core.models import licences, manifest
from pack.core.models.formats import known
from pack.nodes.adapters import LOADERS
from standins_made import Standins
from tiny import tiny_dits

OWN = {
    "photo-maker": "photo_maker", "photo-maker-v2": "photo_maker_v2",
    "id-patch": "id_patch", "instant-id": "instant_id",
}  # fmt: skip
"""Formats of methods with a file or two -> their stand-in. Every published IP-Adapter has one by its name."""


@pytest.fixture(scope="module")
def files(standin_models: Standins, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Format, Path]]:
    """Every kind of file that is known."""
    folder = tmp_path_factory.mktemp("others")
    formats_and_paths = []
    for name, rows in {**TABLE, "id-patch": [{}]}.items():
        for row in rows:
            path = folder / f"{len(formats_and_paths)}.bin"
            if name == "pulid-v1.1" and "network" not in row:
                continue  # an excerpt
            if name == "pulid-v1":
                torch.save(sample_values.file_of("pulid_v1"), path)
            elif "adapter" in row and row["adapter"] != "mask":
                path.symlink_to(standin_models.ip_adapter(row["adapter"]))
            elif name in OWN:
                path.symlink_to(getattr(standin_models, OWN[name]))
            else:
                torch.save({key: torch.zeros(()).expand(tensor.shape) for key, tensor in state_of(row).items()}, path)
            is_unnormed = row.get("adapter", "").endswith("unnorm")
            formats_and_paths.append((known("face-id-unnorm" if is_unnormed else name), path))
    for record in methods():
        if is_one_file(record) and record.folder not in sample_values.FILES:
            path = folder / f"{len(formats_and_paths)}.bin"
            torch.save(sample_values.file_of(record.folder), path)
            formats_and_paths.append((record.formats[0], path))
    return formats_and_paths


def is_one_file(method: Method) -> bool:
    """Of which Load Adapter loads a file; Parts2Whole's loader reads a folder, see tests/host/test_parts_files.py."""
    return method.folder in LOADERS


CONDITIONS = (
    Condition(lambda method: bool(method.files), "It has no file of its own."),
    Condition(is_one_file, "Its loader reads a folder: tests/host/test_parts_files.py."),
)


LOAD_ADAPTER = OURS["LikenessLoadAdapter"]


@pytest.fixture
def folder(method: Method, tmp_path, monkeypatch) -> Path:
    """The only one of its model folders."""
    if not tiny_dits.KNOWN and method.host != "0.3.64":
        pytest.skip("this loader says that the host is too old, whatever the file is")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, method.key, ([str(tmp_path)], {".bin"}))
    return tmp_path


def page(method: Method) -> str:
    return manifest.model(method.files[0]).page.removeprefix("https://huggingface.co/")


def execute(file):
    """With the defaults of whatever else the loader asks."""
    further = {entry.id: entry.default for entry in LOAD_ADAPTER.define_schema().inputs if entry.id != "file"}
    return asyncio.run(LOAD_ADAPTER.execute(file=file, **further))


READ_A_FOLDER = [method for method in methods() if method.files and not is_one_file(method)]


@pytest.mark.parametrize("of", READ_A_FOLDER, ids=lambda method: method.folder)
def test_a_folder_of_something_else_is_refused(of, tmp_path, monkeypatch):
    """Of a method whose loader reads one; what may be wrong in it: tests/host/test_parts_files.py."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, of.key, ([str(tmp_path)], {".bin"}))
    (tmp_path / "x").mkdir()
    torch.save({"x": torch.zeros(1)}, tmp_path / "x" / "model.bin")
    (loader,) = manifest.model(of.files[0]).nodes
    with pytest.raises(LikenessError, match=r"^x") as error:
        OURS[loader].execute(folder="x")
    assert page(of) in str(error.value)


def test_a_file_of_something_else_is_named(method, folder, files, caplog):
    """Its own is loaded, and it is said where commercial use is not allowed. So is that of another method, for what it
    is (tests/host/test_id_patch_files.py).

    Any other file is refused: what each is one method says, and each method says it of some.
    """
    loadable = {kind for loader in LOADERS.values() for kind in loader.published.formats}
    ids = {weights_format.id for weights_format in method.formats}
    assert ids - {"ip-adapter-full-sdxl"} <= {kind.id for kind, _ in files}
    for kind, path in files:
        if kind in method.formats:
            (folder / path.name).symlink_to(path)
            caplog.clear()
            execute(path.name)
            note = licences.note(kind.id)
            assert messages_of_the_pack(caplog) == ([note] if note else []), kind.id
    refused = [(kind, path) for kind, path in files if kind.id not in loadable]
    number = [*LOADERS].index(method.folder)
    assert len(refused) > len(LOADERS)
    for kind, path in refused[number :: len(LOADERS)]:
        (folder / path.name).symlink_to(path)
        with pytest.raises(UnsupportedCheckpoint) as error:
            execute(path.name)
        message = str(error.value)
        assert message.startswith(f"{path.name} is {kind.title}; this node needs "), message
        assert kind.belongs in message and page(method) in message, message


def test_a_missing_file_is_named_linked_and_sized_by_its_own_row(method, folder):
    models_of_method = [model for model in map(manifest.model, method.files) if model.key == method.key]
    assert models_of_method
    for model in models_of_method:
        with pytest.raises(ModelMissing) as error:
            execute(model.name)
        assert f"{model.name} is not in {folder}. Download it from {model.url} ({model.size_text})" in str(error.value)
        (folder / model.name).write_bytes(b"nothing")
        with pytest.raises(UnsupportedCheckpoint, match=rf"\({re.escape(model.name)}\)") as error:
            execute(model.name)
        assert model.page in str(error.value)


def test_a_name_that_leads_elsewhere_is_refused_and_a_linked_one_left_to_the_run(method, folder):
    for name in ("../x.bin", "/etc/passwd", "a/../../x.bin"):
        for chosen in (LOAD_ADAPTER.validate_inputs, execute):
            with pytest.raises(UnsafePath, match="leads outside of"):
                chosen(name)
    with pytest.raises(ModelMissing):
        LOAD_ADAPTER.validate_inputs("x.bin")
    assert LOAD_ADAPTER.validate_inputs(None) is True


def of_ones(part):
    """The same shapes, of one number for a whole tensor, which torch stores once."""
    return {key: tensor.new_ones(()).expand(tensor.shape) for key, tensor in part.items()}


@applies_to(lambda method: tiny_dits.KNOWN or method.host == "0.3.64", "Its file needs a newer ComfyUI.")
def test_a_damaged_file_is_refused(method, tmp_path):
    """A tensor is gone, has another shape or is no number: the first and the last of each part. Or one of the first
    layers is a column wider than what it meets while sampling."""
    state = sample_values.file_of(method.folder)
    parts = state if all(isinstance(part, dict) for part in state.values()) else {"": state}
    parts = {name: of_ones(part) for name, part in parts.items()}
    torch.save(parts.get("", parts), tmp_path / "x.bin")
    names_in_the_net = tuple(sample_values.load(method.folder, str(tmp_path / "x.bin")).net.state_dict())
    assert parts
    for part, tensors in parts.items():
        # Others are another branch's.
        keys = [key for key in tensors if f"{part}.{key}".endswith(names_in_the_net)] or [*tensors]
        damaged: list[tuple[str, torch.Tensor | None]] = []
        for key in (min(keys), max(keys)):
            tensor = tensors[key]
            damaged += [(key, None), (key, tensor.new_zeros(3, 5, 7)), (key, tensor.float() * torch.nan)]
        for key in keys:
            tensor = tensors[key]
            # What PuLID reads of a face comes from other files: see the refusals of the node.
            if tensor.ndim > 1 and not re.search(r"[1-9]|id_embedding", key):
                damaged.append((key, torch.cat([tensor, tensor[..., :1]], -1)))
        assert damaged
        for key, tensor in damaged:
            changed = {name: value for name, value in {**tensors, key: tensor}.items() if value is not None}
            torch.save({**parts, part: changed} if part else changed, tmp_path / "x.bin")
            with pytest.raises(UnsupportedCheckpoint):
                sample_values.load(method.folder, str(tmp_path / "x.bin"))


@pytest.mark.parametrize("numbers", [torch.float8_e4m3fn, torch.int8])
def test_quantised_weights_are_not_called_damaged(method, numbers, tmp_path):
    """As ComfyUI writes them: in 8 bits, with a scale beside each. A download of the same file changes nothing."""
    state = sample_values.file_of(method.folder)
    parts = state if all(isinstance(part, dict) for part in state.values()) else {"": state}
    quantised: dict[str, dict[str, torch.Tensor]] = {}
    for part, tensors in parts.items():
        quantised[part] = dict(tensors)
        for key, tensor in tensors.items():
            if key.endswith(".weight") and tensor.ndim == 2:
                quantised[part] |= {key: tensor.to(numbers), f"{key}_scale": torch.tensor(0.5)}
    torch.save(quantised.get("", quantised), tmp_path / "x.bin")
    with pytest.raises(UnsupportedCheckpoint, match=r"quantised weights .*Take the file in 16 bits"):
        sample_values.load(method.folder, str(tmp_path / "x.bin"))


class Code:
    """What a pickle may hold beside tensors."""

    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_runs_nothing(method, folder, capsys):
    torch.save({"image_proj": {"latents": Code()}}, folder / "code.bin")
    with pytest.raises(UnsupportedCheckpoint, match=f"wants to run code .*not opened.*{page(method)}") as refused:
        execute("code.bin")
    assert "ownload it again" not in str(refused.value)  # it comes as it is published
    assert "run" not in capsys.readouterr().out


@pytest.mark.both_hosts
@pytest.mark.skipif(tiny_dits.KNOWN, reason="This host is new enough for every file.")
@pytest.mark.parametrize("kind", ["pulid_flux"])
def test_a_file_that_needs_a_newer_host_says_so(kind, tmp_path):
    torch.save(sample_values.file_of(kind), tmp_path / "x.bin")
    with pytest.raises(BadSetup, match=r"file( for FLUX\.1)? needs ComfyUI 0\.33"):
        sample_values.load(kind, str(tmp_path / "x.bin"))
