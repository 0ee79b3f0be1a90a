"""Nodes, templates, blueprints and apps where the frontend speaks Chinese."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import translations
from browser.canvas import Graph
from browser.visit import Visit, labels_asked_for
from shared import workflow

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sent:
    """What leaves the editor of a file: the prompt without titles, and how often translations were asked for."""

    prompt: Graph
    translation_requests: int


@pytest.mark.thorough
@pytest.mark.both_hosts
def test_nodes_and_templates_speak_chinese_where_the_frontend_does(visit: Visit) -> None:
    """Labels, hints and titles that stand in the file; what is sent stays the same, and so does all English."""
    table = translations.table("zh")
    graph = workflow.load(ROOT / "workflows" / "pulid_two_people.json")
    words = translations.of_graph(graph)

    def opened() -> tuple[Graph, Sent]:
        file = visit.open_file(graph)
        prompt = {number: {**entry, "_meta": None} for number, entry in file.prompt.items()}
        return file.saved, Sent(prompt, file.translation_requests)

    english, sent_in_english = opened()
    assert words <= translations.of_graph(english)
    assert sent_in_english.translation_requests == 0
    try:
        visit.open("zh")
        created = visit.page.evaluate(
            """() => {
                const node = LiteGraph.createNode('LikenessPlaceCast');
                const {label, localized_name} = node.inputs.find(({name}) => name === 'cast');
                return [node.title, label ?? localized_name];
            }"""
        )
        names = translations.read("zh")
        assert created == [names["LikenessPlaceCast/display_name"], names["LikenessPlaceCast/inputs/cast/name"]]
        chinese, sent_in_chinese = opened()
        assert sent_in_chinese == sent_in_english, "and its tables are read before any graph is opened"
        visit.toasts.await_count("个文件缺失或有问题")
        assert {table.get(text, text) for text in words} <= translations.of_graph(chinese)
        assert not translations.of_graph(chinese) & table.keys()
        lines = translations.lines_of_notes(translations.notes_of(chinese))
        assert not lines & translations.table("zh", translations.NOTES).keys()
        if visit.vue:
            see_on_vue_nodes(visit, table)
        if visit.server.host.version >= (0, 33):
            see_in_lists_blueprints_and_apps(visit, table, graph)
    finally:
        visit.open()


def see_on_vue_nodes(visit: Visit, table: dict[str, str]) -> None:
    """Titles and labels as the nodes show them."""
    for text in ("Read me first", "Photo of person 1", "Prompt", "Who is where", "Width", "How alike"):
        node = visit.page.locator("[data-node-id]").filter(has_text=table[text]).first
        node.wait_for(state="attached")


def see_in_lists_blueprints_and_apps(visit: Visit, table: dict[str, str], graph: Graph) -> None:
    """A word of a list with its English behind it; of a blueprint what it is made of, once it is put down; and labels
    and hints of an app."""
    layout = visit.canvas.node_of("LikenessLayoutForAGroup")
    words = translations.table("zh", translations.OPTIONS)
    assert layout.value("framing") == "half"
    assert layout.shown_value("framing") == f"{words['half']} half"
    visit.canvas.put_down_blueprint(workflow.load(next((ROOT / "subgraphs").glob("Group photo*.json"))))
    visit.await_true(lambda: visit.canvas.last_node().evaluate("node => node.title") == table["Group photo"])
    labels = {*visit.canvas.last_node().input_labels()}
    assert {table[text] for text in ("First person", "Width", "Checkpoint")} <= labels
    assert not labels & table.keys()
    with visit.as_app(graph) as app:
        app.await_labels([table.get(text, text) for text in labels_asked_for(graph)])
        for _, _, *entries in graph["extra"]["linearData"]["inputs"]:
            for entry in entries:
                visit.await_text(table.get(entry["description"], entry["description"]))


@pytest.mark.thorough
def test_the_mouse_on_a_setting_shows_its_tooltip_in_the_language_of_the_page(visit: Visit, people: Graph) -> None:
    """In English and in Chinese, of a menu and of a field of text."""
    try:
        for language in ("en", "zh"):
            if language != "en":
                visit.open(language)
            visit.load(people)
            texts = translations.read(language)
            place = visit.canvas.node_of("LikenessPlaceCast")
            place.show_at(500, 150)
            visit.canvas.settle()
            for name in ("order", "arrange"):
                of_the_input = f"LikenessPlaceCast/inputs/{name}"
                place.rest_mouse_on(name, texts[f"{of_the_input}/name"])
                visit.await_tooltip(texts[f"{of_the_input}/tooltip"])
    finally:
        visit.open()
