"""Values that no link of the host brings: refused by name before the node runs. Tensors and numbers."""

from collections.abc import Iterator

import torch
from sample_values import image, inf, nan, normal

from hostile.cases import Case, bad, good
from hostile.landmarks import face_landmarks


def values() -> Iterator[Case]:
    yield from numbers()
    yield from pictures()
    yield from masks()
    yield from latents()
    yield from conditioning()
    yield from face_landmarks()


def numbers() -> Iterator[Case]:
    """Whole numbers of another type. What is refused: tests/host/test_linked_inputs.py."""
    yield good("LikenessLayoutForAGroup", count=2.0, width=512.0, height=torch.tensor(384))


def pictures() -> Iterator[Case]:
    channels = r"it has 2 channels instead of 1 \(grey\), 3 \(colour\) or 4 \(colour and alpha\)"
    refused = (
        (r"its shape is \(\) instead of \(pictures, height, width, channels\)", torch.zeros(())),
        (r"its shape is \(8, 8, 3\) instead", torch.zeros(8, 8, 3)),
        ("its shape is", torch.zeros(1, 2, 8, 8, 3)),
        ("it is an empty batch", torch.zeros(0, 8, 8, 3)),
        (r"it has no pixels \(8x0 px\)", torch.zeros(1, 0, 8, 3)),
        (r"it has no pixels \(0x8 px\)", torch.zeros(1, 8, 0, 3)),
        (channels, torch.zeros(1, 8, 8, 2)),
        (
            "its values are of type torch.uint8 instead of float, 0 to 1",
            torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
        ),
        ("type torch.bool", torch.zeros(1, 8, 8, 3, dtype=torch.bool)),
        ("type torch.complex64", torch.zeros(1, 8, 8, 3, dtype=torch.complex64)),
        ("type torch.float8_e4m3fn", torch.zeros(1, 8, 8, 3, dtype=torch.float8_e4m3fn)),
        ("1 of its 384 values is NaN or infinite", spoiled(image(8, 16)).half()),
        ("1 of its 384 values is NaN", spoiled(image(8, 16), -inf).bfloat16()),
    )
    for says, picture in refused:
        yield bad(f"The image input of Person.* cannot be used: .*{says}", "LikenessPerson", image=picture)


def masks() -> Iterator[Case]:
    shape = r"its shape is \(\) instead of \(masks, height, width\)\. Connect a MASK; Convert Image to Mask"
    refused = (
        (shape, torch.zeros(())),
        (r"its shape is \(8,\) instead", torch.zeros(8)),
        ("its shape is", torch.zeros(1, 8, 8, 3)),
        ("its shape is", torch.zeros(1, 1, 1, 8, 8)),
        ("it is an empty batch", torch.zeros(0, 8, 8)),
        (r"it has no pixels \(8x0 px\)", torch.zeros(0, 8)),
        (r"it has no pixels \(0x8 px\)", torch.zeros(1, 8, 0)),
        ("type torch.complex64 instead of float, 0 to 1", torch.zeros(1, 8, 8, dtype=torch.complex64)),
        (r"it has 81,000,000 pixels, and 67,108,864 is the most", torch.zeros(1).expand(2, 9000, 9000)),
    )
    for says, mask in refused:
        yield bad(f"The mask input of Part.* cannot be used: .*{says}", "LikenessPart", mask=mask)


def latents() -> Iterator[Case]:
    two = torch.zeros(2, 4, 8, 8)
    refused = (
        (r"under 'samples' it has nothing \(None\)", {}),
        ("under 'samples' it has 1", {"samples": 1}),
        (r"shape \(0, 4, 8, 8\) instead of one row", {"samples": torch.zeros(0, 4, 8, 8)}),
        ("under 'batch_index' it has 1 number for 2 latents", {"samples": two, "batch_index": [0]}),
        ("under 'batch_index' it has 7 for 2 latents", {"samples": two, "batch_index": 7}),
    )
    for says, latent in refused:
        name = "The latents input of Pick Best"
        yield bad(f"{name}.* cannot be used: .*{says}", "LikenessPickBestLikeness", latents=latent)


def conditioning() -> Iterator[Case]:
    text = normal(1, 1, 77, 48)
    something_else = (
        [None],
        [text],
        [[text]],
        [[3, {}]],
        [[normal(1, 77, 48), {}]],
        [[normal(1, 1, 0, 48), {}]],
        [[text, None]],
    )
    name = "The positive input of Apply InstantID"
    for positive in something_else:
        yield bad(f"{name} .* is something else under this name", "LikenessApplyInstantID", positive=positive)
    for number in (nan, inf):
        yield bad(f"{name}.* NaN or infinity", "LikenessApplyInstantID", positive=[[text * number, {}]])


def spoiled(picture: torch.Tensor, value: float = nan) -> torch.Tensor:
    """One value in the middle of it is another."""
    picture = picture.clone()
    picture.view(-1)[picture.numel() // 2] = value
    return picture
