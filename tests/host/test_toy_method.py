"""One more method is one more folder: with tests/support/toy_method below nodes/, it keeps what every method keeps."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import marks
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests" / "support" / "toy_method"
NEEDED = (
    "core", "bridge", "nodes", "scripts", "tests", "web", "locales", "workflows", "pictures", "models_manifest.json",
    "__init__.py", "pyproject.toml",
)  # fmt: skip
KEPT = (
    "off", "a_b_a", "masks", "people_together", "rows", "half", "leaks_after_errors", "wrong_values", "wrong_files",
    "files_checked",
)  # fmt: skip


@pytest.mark.thorough
@marks.transformers
def test_it_is_among_all_methods_by_its_record_alone(tmp_path: Path) -> None:
    """In a copy of the pack with its folder, manifest entry, texts and a workflow: nothing of it stands elsewhere."""
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    folder = Path(shutil.copytree(TOY, tmp_path / "nodes" / TOY.name))
    (folder / "workflow.json").rename(tmp_path / "workflows" / "toy.json")
    manifest = json.loads((tmp_path / "models_manifest.json").read_bytes())
    manifest["models"].append(json.loads((folder / "manifest_entry.json").read_bytes()))
    (tmp_path / "models_manifest.json").write_text(json.dumps(manifest), "utf-8")
    texts = tmp_path / "locales" / "en" / "nodeDefs.json"
    # A node without texts counts as one that is gone.
    texts.write_text(json.dumps({**json.loads(texts.read_bytes()), "LikenessApplyToy": {}}), "utf-8")
    files = [f"tests/every_method/test_{name}.py" for name in KEPT]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "toy_method", *files]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
    assert int(re.findall(r"(\d+) passed", process.stdout)[0]) >= 20
