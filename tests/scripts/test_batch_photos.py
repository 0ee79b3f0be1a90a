"""Photos of a table: read through before they are sent, whatever they are called."""

import io
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from batch import photo_files
from batch.folders import Folder
from batch.rows import BadRow
from drawn import photo

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(999)


def jpeg(exif: bytes) -> bytes:
    file = io.BytesIO()
    photo().save(file, "JPEG", quality=95, subsampling=0, dpi=(72, 72))
    data = file.getvalue()
    return data[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(exif) + 2) + exif + data[2:]


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0http://ns.adobe.com/xap/1.0/\0"], ids=["whole", "damaged EXIF"])
def test_a_photo_that_can_be_read_is_sent_as_it_is(exif: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(exif))
    photos: dict[str, bytes] = {}
    name_of_copy = photo_files.put(Folder(str(tmp_path)), "a.jpg", photos)
    assert photos == {name_of_copy: jpeg(exif)}


REFUSED = {
    "cut.jpg": (jpeg(b"Exif\0\0")[:1500], "it is cut off: its last pixels are missing"),
    "cut.jfif": (jpeg(b"Exif\0\0")[:1500], "it is cut off: its last pixels are missing"),
    "telephone.heic": (HEIC, "it is a HEIC photo, as iPhones save them"),
    "telephone.jpg": (HEIC, "it is a HEIC photo, as iPhones save them"),
    "camera.tif": (b"II*\0\x10\0\0\0CR" + bytes(99), "it is cut off or damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_photo_that_comfyui_would_read_otherwise_or_in_part_is_refused(name: str, tmp_path: Path) -> None:
    data, why = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadRow, match=rf"{name} cannot be read as a picture: .*{why}"):
        photo_files.put(Folder(str(tmp_path)), name, {})
    assert photo_files.put(Folder(str(tmp_path)), name, {}, is_picture=False)


class Counting(Folder):
    """read_names: of the files that were read."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.read_names: list[str] = []

    def read(self, name: str, most: int, size: int | None = None) -> bytes:
        self.read_names.append(name)
        assert size == Path(self.place(name)).stat().st_size, "a store is not asked for it again"
        time.sleep(0.1)
        return super().read(name, most, size)


def test_a_photo_of_many_rows_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by three threads at once; the oldest give way where they are too many for the memory."""
    folder = Counting(str(tmp_path))
    names = ("a.png", "b.png")
    for name in names:
        photo().save(tmp_path / name)

    def sent(name: str) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        photo_files.put(folder, name, files, stamp=folder.stamp(name))
        return files

    with ThreadPoolExecutor(3) as threads:
        copies = list(threads.map(sent, [*names, *names, *names]))
    assert sorted(folder.read_names) == list(names)
    assert copies[:2] * 2 == copies[2:]
    photo().resize((32, 32)).save(tmp_path / "b.png")
    assert sent("b.png") != copies[1]
    assert list(sent("b.png").values()) == [(tmp_path / "b.png").read_bytes()]
    assert sorted(folder.read_names) == ["a.png", "b.png", "b.png"]
    monkeypatch.setattr(photo_files, "_MOST_KEPT_BYTES", 0)
    monkeypatch.setattr(photo_files, "_kept", photo_files._Kept())
    assert sent("a.png") == sent("a.png") == copies[0]
    assert folder.read_names.count("a.png") == 3
