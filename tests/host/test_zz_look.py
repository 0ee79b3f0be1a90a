import os
import pytest
from browser.fixtures import once_of_each
from pathlib import Path
from shared import workflow
pytestmark = pytest.mark.xdist_group("browser")
ROOT = Path(__file__).resolve().parents[2]
@once_of_each
@pytest.mark.parametrize("name", os.environ.get("LOOK", "prompts_anima_two_people").split(","))
def test_look(visit, name):
    for size in ((1920, 1080), (1366, 768)):
        visit.resize(*size)
        visit.open_file(workflow.load(ROOT / "workflows" / f"{name}.json"))
        visit.page.wait_for_timeout(1500)
        visit.page.screenshot(path=f"/tmp/files_work/{name}_{'vue' if visit.vue else 'classic'}_{size[0]}.png")
