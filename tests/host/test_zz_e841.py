from pathlib import Path
import pytest
from browser.visit import Visit
from shared import workflow
from environment import *  # noqa

ROOT = Path(__file__).resolve().parents[2]
from browser.fixtures import in_frontends, OWN, NEWEST


@pytest.mark.parametrize("name", ["references_qwen_looks"])
def test_look(visit: Visit, name):
    graph = workflow.load(ROOT / "workflows" / f"{name}.json")
    visit.open_file(graph)
    visit.page.wait_for_timeout(4000)
    visit.page.screenshot(path=f"/tmp/e841_{'vue' if visit.vue else 'classic'}.png")
    print(visit.red())
