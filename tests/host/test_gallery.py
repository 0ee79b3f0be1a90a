"""The templates in the gallery: in their order, with their pictures, found by what people look for."""

from pathlib import Path

import pytest
import translations
from browser.fixtures import own_often
from browser.visit import WINDOW, Visit
from PIL import Image
from shared import workflow

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "workflows" / "start_two_people.json"
TEMPLATES_AND_FILTERS = """async pack => {
    await app.api.getWorkflowTemplates();
    const all = await app.api.getCoreWorkflowTemplates('en');
    const others = all.filter(group => group.moduleName !== pack).flatMap(group => group.templates);
    const ours = all.find(group => group.moduleName === pack).templates;
    return [ours, ["models", "tags"].map(name => others.flatMap(template => template[name] ?? []))];
}"""
"""What the gallery has of a pack, and the models and tags of all others, by which it filters."""
TEMPLATES_OF_PACKS = """async () => {
    const host = await app.api.fetchApi("/workflow_templates");
    return [await app.api.getWorkflowTemplates(), await host.json()];
}"""
"""As the page has them, and as the host lists them."""
WITHOUT_A_TASK = {"Check files"}
"""Titles of templates that make no picture."""


@pytest.mark.both_hosts
@own_often
def test_the_gallery_shows_titles_in_their_order(visit: Visit) -> None:
    """Other packs' templates are as the host lists them."""
    titles = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
    expected_titles = [title for stem, title in titles.items() if (WORKFLOW.parent / f"{stem}.json").is_file()]
    pack = visit.server.pack_name
    templates, (models_of_host, tasks_of_host) = visit.page.evaluate(TEMPLATES_AND_FILTERS, pack)
    assert [template["title"] for template in templates] == expected_titles
    tasks = translations.main_file("en")["likenessTemplateTasks"]
    # The filters offer whatever a template has: in other words than the host's nobody would look for them. An older
    # host has fewer words.
    if visit.server.host.version >= (0, 33):
        for template in templates:
            assert {*template["models"]} <= {*models_of_host}, template["title"]
            assert template["title"] in WITHOUT_A_TASK or {*template["tags"]} & {*tasks_of_host}, template["title"]
        assert {*tasks} <= {*tasks_of_host}
    words = translations.main_file("en")["likenessTemplateWords"]
    assert [template["description"].split(" · ")[0] for template in templates] == list(words.values())
    others, listed = visit.page.evaluate(TEMPLATES_OF_PACKS)
    assert others == {name: files for name, files in listed.items() if name != pack}


@pytest.mark.both_hosts
@own_often
def test_a_template_of_the_gallery_has_its_picture_and_opens_in_a_tab_of_its_title(visit: Visit) -> None:
    title = translations.main_file("en")["templateWorkflows"]["template"]["likeness"][WORKFLOW.stem]
    graph = workflow.load(WORKFLOW)
    if visit.server.host.version >= (0, 33):
        visit.gallery.open()
        visit.gallery.search(title, title)
        with Image.open(WORKFLOW.with_suffix(".jpg")) as picture:
            assert visit.gallery.size_of_picture(title) == picture.size
        visit.gallery.choose(title)
    else:  # Its gallery has no search. This is what it does with a card.
        visit.page.evaluate(
            """async ([graph, name]) => {
                await app.api.getWorkflowTemplates();
                await app.api.getCoreWorkflowTemplates("en");
                await app.loadGraphData(graph, true, true, name);
            }""",
            [graph, WORKFLOW.stem],
        )
    visit.await_true(lambda: visit.tab() == f"workflows/{title}.json")
    visit.canvas.settle()
    assert sorted(visit.canvas.kinds()) == sorted(node["type"] for node in graph["nodes"])
    visit.close_dialogs()


SOUGHT = {
    "try on": "parts_try_on", "try-on": "parts_try_on", "couple": "start_two_people", "family": "start_two_people",
    "consistent character": "lora_two_people", "cartoon": "lora_two_people",
    "faceswap": "start_person_in_photo", "face swap": "start_person_in_photo", "batch": "id_patch_several_scenes",
    "table": "check_files", "multi character": "start_two_people", "two characters": "start_two_people",
    "wife": "start_two_people", "人脸": "start_two_people", "换脸": "start_person_in_photo",
    "likeness": "start_two_people", "two people": "start_two_people", "friends": "start_two_people",
    "group": "start_two_people", "portrait": "start_portrait", "jacket": "start_outfit",
    "inpaint": "start_person_in_photo", "8gb": "ip_adapter_sd15_portrait",
    "flux": "references_klein_two_people", "selfie": "start_portrait", "wedding": "start_two_people",
    "photo of me": "start_portrait", "identity": "start_portrait", "headshot": "start_portrait",
    "hat": "parts_instant_id_and_outfit", "faceid": "ip_adapter_sd15_portrait", "reactor": "start_person_in_photo",
    "best of four": "references_klein_two_people", "four pictures": "start_portrait",
    "instantid": "start_portrait", "remove a person": "start_person_in_photo",
    "人物": "start_two_people", "角色一致": "start_portrait", "anima": "prompts_anima_two_people",
    "regional prompt": "prompts_anima_two_people", "hug": "start_two_people", "embrace": "start_two_people",
    "child": "start_two_people", "kids": "start_two_people", "age": "start_two_people", "tall": "start_two_people",
    "younger": "start_two_people", "height": "start_two_people", "multiple people": "start_two_people",
    "smiling": "references_qwen_looks", "emotion": "id_patch_prompt_per_person",
    "hairstyle": "id_patch_prompt_per_person", "composite": "id_patch_absent_friend",
    "add person to photo": "id_patch_absent_friend", "insert a person": "id_patch_absent_friend",
    "拥抱": "start_two_people", "孩子": "start_two_people", "身高": "start_two_people",
    "亲子": "start_two_people", "发型": "id_patch_prompt_per_person", "表情": "references_qwen_looks",
    "加一个人": "id_patch_absent_friend", "storyboard": "parts_id_patch_story", "绘本": "parts_id_patch_story",
    "two friends": "parts_id_patch_story", "kids book": "parts_id_patch_story", "manga": "parts_id_patch_story",
    "same clothes": "parts_id_patch_story", "photo series": "parts_id_patch_story", "lookbook": "parts_id_patch_story",
    "outfit": "parts_id_patch_story", "连环画": "parts_id_patch_story", "siblings": "start_two_people",
    "boyfriend": "start_two_people", "avatar": "start_portrait", "low vram": "ip_adapter_sd15_portrait",
    "facial expression": "references_qwen_looks", "fairy tale": "parts_id_patch_story",
    "my daughter": "parts_id_patch_story", "photo book": "parts_id_patch_story",
}  # fmt: skip
"""What people look for -> a template that does it."""
FIRST = {
    "couple", "two people", "friends", "family", "group", "portrait", "jacket", "inpaint", "face swap", "hug",
    "multiple people", "add person to photo", "加一个人", "拥抱",
}  # fmt: skip
"""For these the template is the first of ours."""


@pytest.mark.thorough
def test_the_gallery_finds_what_people_look_for(visit: Visit) -> None:
    """In an English gallery by Chinese words as well. None of our titles is cut off in a window of 1920x1080."""
    titles = translations.main_file("en")["templateWorkflows"]["template"]["likeness"]
    visit.resize(1920, 1080)
    try:
        visit.gallery.open()
        for words, stem in SOUGHT.items():
            hits = visit.gallery.search(words, titles[stem])
            found = [title for title in hits.titles if title in titles.values()]
            assert titles[stem] in found
            if words in FIRST:
                assert found[0] == titles[stem], f"{words!r}: it comes first of ours"
            assert not {*titles.values()} & {*hits.cut_off}, words
    finally:
        visit.gallery.close()
        visit.resize(*WINDOW)
