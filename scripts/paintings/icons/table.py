"""Which function draws the icon of which template.

The host's gallery covers the upper left corner with a badge: an icon leaves it plain, 300 pixels wide and 90 high
(tests/contract/test_workflow_files.py).
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from . import cast, colours, flux, id_patch, instant_id, methods, parts, start
from .pen import Pen

QUALITY = 84
"""Of the JPEG files."""

ICONS: dict[str, Callable[[Pen], None]] = {
    "start_two_people": start.two_people,
    "start_group": start.group,
    "start_portrait": start.portrait,
    "start_outfit": start.outfit,
    "start_person_in_photo": start.person_in_photo,
    "check_files": start.check_files,
    "id_patch_two_people": id_patch.two_people,
    "id_patch_places_by_dragging": id_patch.places_by_dragging,
    "id_patch_prompt_per_person": id_patch.prompt_per_person,
    "id_patch_several_scenes": id_patch.several_scenes,
    "id_patch_absent_friend": id_patch.absent_friend,
    "id_patch_second_pass_eight_people": id_patch.second_pass_eight_people,
    "id_patch_with_pose_canny_depth": id_patch.with_pose_canny_depth,
    "instant_id_two_stage_group": instant_id.two_stage_group,
    "instant_id_portrait": instant_id.portrait,
    "instant_id_interpolation": instant_id.interpolation,
    "parts_try_on": parts.try_on,
    "parts_instant_id_and_outfit": parts.instant_id_and_outfit,
    "parts_id_patch_two_outfits": parts.id_patch_two_outfits,
    "parts2whole_with_pose": parts.parts2whole_with_pose,
    "people_cast_from_photos": cast.from_photos,
    "people_saved_from_photos": cast.saved_from_photos,
    "compare_methods": cast.compare_methods,
    "ip_adapter_without_insightface": methods.without_insightface,
    "style_two_people": methods.style_two_people,
    "story_maker_two_people": methods.story_maker,
    "photo_maker_two_people": methods.photo_maker,
    "lora_two_people": methods.lora_two_people,
    "ip_adapter_sd15_portrait": methods.sd15_portrait,
    "with_anyone_two_people": flux.with_anyone,
    "infinite_you_portrait": flux.infinite_you,
    "references_klein_two_people": flux.klein,
    "references_qwen_three_people": flux.qwen,
}
"""By the names of the files in workflows, in the order of docs/templates.md."""


def icon(name: str) -> Image.Image:
    """The icon of a template: blue behind those that one begins with."""
    background = colours.BACKGROUND
    if name.startswith("start_"):
        background = colours.START_BACKGROUND
    pen = Pen(background)
    ICONS[name](pen)
    return pen.finished()


def icon_file(name: str) -> bytes:
    """The same as the file in workflows."""
    file = io.BytesIO()
    icon(name).save(file, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    return file.getvalue()
