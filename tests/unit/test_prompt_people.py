"""The note of a prompt that does not speak of as many people as there are."""

import json
import re
from pathlib import Path

import pytest
from pack.core.checks import prompt_people


@pytest.mark.parametrize(
    ("prompt", "people", "said"),
    [
        ("", 2, "The prompt is empty. Say who is in the picture: the cast has 2 people."),
        (" \n", 1, "The prompt is empty. Say who is in the picture: the cast has 1 person."),
        ("a bowl of fruit, soft light", 2, "no word for a person, such as woman or man; the cast has 2 people."),
        ("photo of a woman and a man on a terrace", 3, "speaks of 2 people; the cast has 3 people."),
        ("two old friends on a terrace", 1, "speaks of 2 people; the cast has 1 person."),
        ("A woman in a red coat", 2, "speaks of 1 person; the cast has 2 people."),
        # It fits, or may fit.
        ("two people, a woman and a man", 2, ""),
        ("two women and a man standing side by side", 3, ""),
        ("a woman in a green pullover among friends", 5, ""),
        ("a man and his son", 2, ""),
        ("a woman and a doctor in a hospital", 2, ""),
        ("a knight kneels, a queen with a sword behind the man, a man", 3, ""),
        ("a 30 year old woman with a child's toy", 1, ""),
        ("portrait, studio light", 1, ""),
        ("2girls, 1boy, classroom", 3, ""),
        ("Anna on a beach", 1, ""),
        ("一个女人和一个男人", 3, ""),
        ("a crowd in a stadium", 4, ""),
    ],
)
def test_a_prompt_that_speaks_of_others_than_the_cast_is_noted(prompt: str, people: int, said: str) -> None:
    told = prompt_people.note(prompt, people, ("Anna", "person 2"))
    assert said in told
    assert bool(said) == bool(told)


def test_what_our_workflows_say_of_the_drawn_people_is_known_again() -> None:
    """All that a prompt says of clothes and hair; what it says of everybody is nobody's."""
    found: dict[str, str] = {}
    for path in (Path(__file__).parents[2] / "workflows").glob("*.json"):
        graph = json.loads(path.read_text("utf-8"))
        for inside in (graph, *graph.get("definitions", {}).get("subgraphs", [])):
            texts = [node["widgets_values"][0] for node in inside["nodes"] if node["type"] == "CLIPTextEncode"]
            found |= {text: prompt_people.example_note(text) for text in texts}
    dressed = {text for text in found if re.search(r"\ba .*(coat|jacket|sweater|blazer|pullover|hair)", text)}
    assert dressed == {text for text, note in found.items() if note}
    assert len(dressed) > 5
    assert prompt_people.example_note("a man in a green coat and grey jeans") == ""
