"""What lies below a folder, and what tells a file from the one that was there before."""

import os
from pathlib import Path

from pack.core.models import files
from pack.core.models.files import files_below


def test_what_comes_goes_or_moves_is_seen(tmp_path: Path) -> None:
    """Also a folder that comes later, at the end of a link: as that of a disk that is not mounted yet."""
    root, below = tmp_path / "models", tmp_path / "models" / "below"

    def names() -> list[str]:
        found = files_below(str(root))
        assert all(path == str(root / name) for name, path in found)
        return [name for name, _ in found]

    assert names() == []
    below.mkdir(parents=True)
    for path in (root / "a.bin", below / "b.bin"):
        path.touch()
    (root / "disk").symlink_to(tmp_path / "disk")
    assert names() == ["a.bin", "disk", os.path.join("below", "b.bin")]
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "c.bin").touch()
    (below / "b.bin").unlink()
    assert names() == ["a.bin", os.path.join("disk", "c.bin")]
    below.rename(root / "elsewhere")
    (root / "elsewhere" / "up").symlink_to(root)
    assert names() == ["a.bin", os.path.join("disk", "c.bin")], "links in a circle end"


def test_another_file_of_the_same_length_and_time_is_another_file(tmp_path: Path) -> None:
    """As copies and what is unpacked may be."""
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for one in (path, other):
        one.write_bytes(b"1234")
        os.utime(one, (10**9, 10**9))
    before = files.stamp(str(path))
    settled = os.stat(path).st_ctime_ns
    while os.stat(other).st_ctime_ns == settled:
        other.chmod(0o644)
    other.replace(path)
    assert files.stamp(str(path)) != before and files.stamp(str(path))[:2] == before[:2]
