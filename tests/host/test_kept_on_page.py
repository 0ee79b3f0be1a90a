"""Who is kept in the box of one template is chosen in the box of another, in the page that is open."""

import json
from pathlib import Path

import pytest
import real_faces
from browser.visit import Visit

pytestmark = pytest.mark.browser
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


@pytest.mark.both_hosts
def test_whoever_is_kept_in_one_box_is_in_the_menu_of_another(visit: Visit) -> None:
    """Nothing else of the template can run here: its models are missing."""
    name = f"Anna {visit.server.url.rpartition(':')[2]} {'in Vue' if visit.vue else 'in classic'}"
    visit.open_file(json.loads((WORKFLOWS / "start_two_people.json").read_text("utf-8")))
    image = visit.server.upload_image(real_faces.YAO)
    for photo in (51, 52):
        visit.canvas.node(photo).set_value("image", image)
    box = visit.canvas.node(50)
    box.set_value("pack", "buffalo_sc")
    box.set_value("keep_as", f", {name}")
    visit.click_run()
    visit.await_text(f"{name} is kept, with 1 photo")
    visit.close_dialogs()
    visit.open_file(json.loads((WORKFLOWS / "start_person_in_photo.json").read_text("utf-8")))
    swap = visit.canvas.node(30)
    swap.await_true(
        "(node, name) => node.widgets.find(widget => widget.name === 'person_is').options.values.includes(name)", name
    )
    swap.set_value("person_is", name)
    (inputs,) = (
        entry["inputs"] for entry in visit.canvas.prompt().values() if entry["class_type"] == "LikenessCastFromPhotos"
    )
    assert inputs["person_1"] == name
    visit.red()  # the models that are missing


def test_who_is_not_kept_here_is_told_as_the_workflow_opens(visit: Visit) -> None:
    """Of the menu of a box, and of names that are written. The run takes the photo, see test_people_http.py."""
    graph = json.loads((WORKFLOWS / "start_two_people.json").read_text("utf-8"))
    (box,) = (node for node in graph["nodes"] if node["id"] == 50)
    fields = [entry["name"] for entry in box["inputs"] if "widget" in entry]
    box["widgets_values"][fields.index("first_is")] = "Zoe of elsewhere"
    box["widgets_values"][fields.index("more_kept")] = "Yan of elsewhere"
    visit.open_file(graph)
    visit.await_text("Not kept here: Zoe of elsewhere, Yan of elsewhere")
    visit.red()
