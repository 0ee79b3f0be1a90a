"""Every picture that the repository holds, and the command that makes it again.

tests/scripts/test_pictures.py holds the table to the files: each picture has one row, and each row a picture.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg")


class Source(NamedTuple):
    """Where pictures come from.

    files: their paths in the repository, with * for any letters. command: what makes them again, "" where nothing does.
    reason: why nothing does, or what should be known of the command.
    """

    files: tuple[str, ...]
    command: str
    reason: str = ""


SOURCES = (
    Source(
        (
            "pictures/likeness_anna.png",
            "pictures/likeness_ben.png",
            "pictures/likeness_carla.png",
            "pictures/likeness_david.png",
            "pictures/likeness_elif.png",
            "pictures/likeness_farid.png",
            "pictures/likeness_five.png",
            "pictures/likeness_full_length.png",
            "pictures/likeness_full_length_painted.png",
            "pictures/likeness_hat.png",
            "pictures/likeness_ink.png",
            "pictures/likeness_jacket.png",
            "pictures/likeness_left.png",
            "pictures/likeness_pose.png",
            "pictures/likeness_right.png",
            "pictures/likeness_shirt.png",
            "pictures/likeness_sweater.png",
            "pictures/likeness_trousers.png",
            "pictures/likeness_two.png",
            "pictures/people/*.jpg",
        ),
        "python scripts/pictures.py people",
    ),
    Source(
        ("docs/dev/miniature_24.jpg", "docs/dev/miniature_p*.jpg", "docs/dev/miniature_shared.jpg"),
        "python scripts/pictures.py sheets",
    ),
    Source(("docs/gallery/*.png",), "python scripts/pictures.py gallery", "Each holds the workflow that is run again."),
    Source(
        (
            "web/docs/img/blend_identities.jpg",
            "web/docs/img/body_surface.png",
            "web/docs/img/body_surface_mask.png",
            "web/docs/img/cast.jpg",
            "web/docs/img/detect_faces.jpg",
            "web/docs/img/draw_body_surface.png",
            "web/docs/img/face_keypoints.png",
            "web/docs/img/group_layout.png",
            "web/docs/img/group_layout_actions.png",
            "web/docs/img/layout_from_masks.png",
            "web/docs/img/layout_from_poses.png",
            "web/docs/img/person_region.png",
            "web/docs/img/place_cast.png",
            "web/docs/img/pose_image.png",
            "web/docs/img/references_by_region.png",
        ),
        "python scripts/pictures.py help",
    ),
    Source(
        ("workflows/*.jpg",),
        "python scripts/pictures.py icons",
        "The icon of a template: a drawing of what it is for, not a result.",
    ),
    Source(("docs/speed_people.png",), "python scripts/pictures.py speed", "It shows the table of docs/dev/bench.md."),
    Source(
        (
            "docs/dev/miniature_association.svg",
            "docs/likeness_crowd.jpg",
            "docs/likeness_halves.jpg",
            "docs/likeness_parts.jpg",
            "docs/likeness_seeds.jpg",
        ),
        "python scripts/compare.py --miniature --write",
    ),
    Source(("docs/novel_view.jpg",), "python scripts/novel_view.py"),
    Source(("docs/banner.png", "docs/icon.png"), "", "The pack's logo."),
    Source(
        ("pictures/likeness_grace.png", "pictures/likeness_hugo.png", "pictures/likeness_shoes.png"),
        "",
        "Painted once, over a picture of the painter's; what was painted over it was not kept.",
    ),
    Source(
        (
            "web/docs/img/doctor.png",
            "web/docs/img/editor.jpg",
            "web/docs/img/layout_from_boxes.png",
            "web/docs/img/scenes.png",
        ),
        "",
        "A window of ComfyUI's editor, photographed by hand.",
    ),
    Source(
        (
            "web/docs/img/add_place.jpg",
            "web/docs/img/bind_id_tokens.png",
            "web/docs/img/cast_from_photos.jpg",
            "web/docs/img/crop_faces.jpg",
            "web/docs/img/encode_parts.jpg",
            "web/docs/img/first_picture.jpg",
            "web/docs/img/id_patch_image.png",
            "web/docs/img/layout_from_faces.png",
            "web/docs/img/load_face_model.jpg",
            "web/docs/img/load_id_patch.jpg",
            "web/docs/img/measure.jpg",
            "web/docs/img/miniature.jpg",
            "web/docs/img/part.png",
            "web/docs/img/paste_faces.png",
            "web/docs/img/person.jpg",
            "web/docs/img/person_prompts.png",
            "web/docs/img/pick_best.jpg",
            "web/docs/img/regions.png",
        ),
        "python scripts/pictures.py previews",
    ),
    Source(("tests/golden/skeletons.png",), "", "What the authors' own pipeline gave: it never changes."),
)


def is_picture(path: str) -> bool:
    return path.endswith(ENDINGS)


def sources_of(path: str) -> list[Source]:
    """The rows of a picture, by its path in the repository: one, where the table is right."""
    rows: list[Source] = []
    for source in SOURCES:
        if any(fnmatchcase(path, pattern) for pattern in source.files):
            rows.append(source)
    return rows
