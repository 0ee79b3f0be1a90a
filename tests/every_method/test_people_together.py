"""N people against one: as many forwards of as many rows, and the operations of a step grow by what they must."""

from typing import Any

from figures import relative
from graph_run import run
from graphs import UNCONNECTED
from method_rows import Condition, Row, latents, often, picture
from sample_values import a_person, cast, layout, slot, with_loras
from torch.utils.flop_counter import FlopCounterMode

NAMES = ("Anna", "Boris", "Carla", "Dora")
MORE: dict[str, float] = {
    "LikenessPeopleAsReferences": 1.5,  # read by the whole network; 1.44
    "LikenessPromptPerPerson": 1.2,  # read by the whole network; 1.16
    "LikenessApplyIDPatch": 1.4,  # four times the tokens of a person, beside the 77 of the text; 1.34
    "LikenessLoRAPerPerson": 1.25,  # of rank 3, in layers that are as narrow as 32; 1.22
}
"""By how much more than one person four may cost in a step, where that is not next to nothing. Behind each: counted."""
NEXT_TO_NOTHING = 1.05
FOUR: dict[str, dict[str, Any]] = {
    "LikenessPromptPerPerson": {"prompts": "1: up\n2: down\n3: up\n4: down"},
    "LikenessApplyPhotoMaker": {"text": "a man img, a woman img, a man img, a woman img"},
}
ONE: dict[str, dict[str, Any]] = {
    "LikenessPromptPerPerson": {"prompts": "1: up"},
    "LikenessApplyPhotoMaker": {"text": "a man img"},
}


CONDITIONS = (Condition(lambda row: "cast" in row.inputs, "It takes no cast."),)


def operations(row: Row, count: int) -> int:
    """Of one step: what two of them count more than one."""
    # Words of a LoRA are regional text, as Prompt per Person's are.
    people = [with_loras(a_person(name), words="") for name in NAMES[:count]]
    places = layout(*map(slot, (16.0, 48.0, 80.0, 112.0)[:count]))
    changed: dict[str, Any] = {"cast": cast(*people, places=places)}
    changed |= {"image": UNCONNECTED} if row.kind == "LikenessApplyIDPatch" else {}
    applied = row.node(**changed, **(FOUR if count > 1 else ONE).get(row.kind, {}))
    outputs = {}
    run(applied, outputs)
    counts: list[int] = []
    for steps in (1, 2):
        with FlopCounterMode(display=False) as counter:
            samples = latents(row.sampled(applied, steps=steps), outputs)
        counts.append(counter.get_total_flops())
    assert relative(samples, picture(row, "plain")) > 1e-4, "it does nothing"
    return counts[1] - counts[0]


@often("instant_id, ApplyInstantID", "LoRAPerPerson")
def test_four_cost_little_more_than_one(row: Row) -> None:
    for_one, for_four = operations(row, 1), operations(row, 4)
    assert for_four <= MORE.get(row.kind, NEXT_TO_NOTHING) * for_one
