"""The tables of docs/dev/bench.md from the figures that bench.py counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]

TITLES = {
    "id_patch": "**ID-Patch**",
    "id_tokens_by_region": "**ID-Patch** with ID tokens by region",
    "instant_id": "**InstantID**",
    "pulid": "**PuLID**, 52 tokens",
    "ip_adapter_faceid": "**IP-Adapter FaceID**",
    "ip_adapter_plus": "**IP-Adapter Plus**, 16 tokens",
    "ip_adapter_full_face": "**IP-Adapter full-face**, 257 tokens",
    "story_maker": "**StoryMaker**",
    "photo_maker": "**PhotoMaker**",
    "style_per_person": "**Style per Person**, a style each",
    "prompt_per_person": "**Prompt per Person**, 77 tokens each",
    "lora_per_person": "**LoRA per Person**, rank 16",
    "lora_per_person_rank_64": "**LoRA per Person**, rank 64",
    "lora_per_person_with_words": "**LoRA per Person**, rank 16, with trigger words",
    "share_parts": "**Share Parts Attention**, garments in place of people",
    "share_parts_cropped": "**Share Parts Attention**, cropped to their masks",
    "parts2whole": "**Parts2Whole**, parts in place of people",
    "second_pass": "**second pass** with ID-Patch, all faces as rows of 768 px",
    "control_net": "a ControlNet",
}
"""Rows of Likeness by the method's name in bench.py; bold as in docs/dev/bench.md."""
FAMILIES = {"sdxl": "SDXL at 1024 px", "sd15": "SD1.5 at 512x768"}
MIB_PER_GIB = 1024


def people_tables(lines: Iterable[Line], titles: Mapping[str, str]) -> str:
    """Markdown: for each family of UNets what a step costs for so many people, a row per method, in the lines' order.

    titles: of the methods of other packs, by their names.
    """
    all_titles = {**TITLES, **titles}
    tables: list[str] = []
    by_family: dict[str, list[Line]] = {}
    for line in lines:
        if line.get("method") in all_titles:
            by_family.setdefault(line["family"], []).append(line)
    for family, figures in by_family.items():
        numbers = sorted({figure["people"] for figure in figures})
        heads = [f"{FAMILIES.get(family, family)}, people", *map(str, numbers), f"memory at {numbers[-1]}"]
        rows = [heads, ["---"] * len(heads)]
        for method in dict.fromkeys(figure["method"] for figure in figures):
            by_people = {figure["people"]: figure for figure in figures if figure["method"] == method}
            rows.append([all_titles[method], *_cells(by_people, numbers)])
        tables.append(_markdown(rows))
    return "\n\n".join(tables) + "\n"


def _cells(by_people: Mapping[int, Line], numbers: Sequence[int]) -> list[str]:
    """The ratios for these numbers of people, and the memory beside the UNet's weights at the largest."""
    cells: list[str] = []
    for number in numbers:
        cells.append(_ratio(by_people[number]["ratio"]) if number in by_people else "")
    last = by_people.get(numbers[-1])
    if last is None:
        cells.append("")
    else:
        cells.append(f"{(last['peak_mib'] + last.get('weights_mib', 0)) / MIB_PER_GIB:.2f} GiB")
    return cells


def _ratio(ratio: float) -> str:
    """With as many digits as tell it from one."""
    if ratio < 1.0095:
        return f"{ratio:.3f}"
    if ratio < 9.995:
        return f"{ratio:.2f}"
    return f"{ratio:.1f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
