"""A person between two people."""

from dataclasses import replace

import torch
from torch import Tensor

from ..cast import Lora, Person, Portraits, Share
from ..checks.text import MOST_NAME_LETTERS, plain
from .checks import check, lengths
from .combining import EmbeddingMissing, combine
from .matching import known_by

NODE = "Blend Two People"
BLENDS = ("slerp", "lerp")
_SMALLEST_SINE = 1e-4
"""The smallest sine of the angle between two vectors. Below it they leave no arc to follow, and dividing by it gives
rounding."""


def blend(a: Person, b: Person, amount: float, method: str, name: str) -> Person:
    """A person between a (amount 0) and b (amount 1), of one photo, by every recogniser that both have.

    method: one of BLENDS. lerp mixes the two mean embeddings linearly. slerp turns the direction at an even pace and
    interpolates the length, so that embeddings in the middle are not shorter than at the ends.
    name: of the new person, "" for "Anna 75 % Ben 25 %".
    Of crops and portraits the first photo of each person is mixed, pixel by pixel; portraits only where both have them,
    and then `blended_of` has those of each. The new person
    has the LoRAs of both: the strengths of a's are multiplied by 1 - amount, those of b's by amount. The new person has
    the looks of whoever has the larger share, of a where both have half.
    Raises BadEmbedding, and EmbeddingMissing where the two have no recogniser in common, unless both have portraits
    and no embeddings.
    """
    common = [recogniser for recogniser in a.embeddings if recogniser in b.embeddings]
    # Two people without embeddings can still be blended, by their portraits.
    pictures_alone = not a.embeddings and not b.embeddings and a.portraits and b.portraits
    if not common and not pictures_alone:
        raise EmbeddingMissing(
            f"No recogniser in common to blend: {' and '.join(known_by((a, b)))}.",
            "Make both people from photos with the same Load Face Embedder.",
        )
    means_a = _means(a, common)
    means_b = _means(b, common)
    mix = slerp if method == "slerp" else torch.lerp
    return check(
        Person(
            name=plain(name) or f"{_share(a, 1 - amount)} {_share(b, amount)}",
            embeddings={recogniser: mix(means_a[recogniser], means_b[recogniser], amount) for recogniser in common},
            crops=torch.lerp(a.crops[:1], b.crops[:1], amount),
            portraits=_blended_portraits(a.portraits, b.portraits, amount),
            loras=(*_weakened(a.loras, 1 - amount), *_weakened(b.loras, amount)),
            one_person_from={**a.one_person_from, **b.one_person_from},  # of a recogniser in both, that of b
            blended_of=_blended_of(a, b, amount),
            looks=a.looks if amount <= 0.5 else b.looks,
        )
    )


def _share(person: Person, share: float) -> str:
    """A person's share in the name of a blended one: "Anna 75 %". Two of them are one name, which is cut."""
    return f"{plain(person.name, MOST_NAME_LETTERS // 3)} {share * 100:.0f} %"


def _means(person: Person, recognisers: list[str]) -> dict[str, Tensor]:
    """Recogniser -> (1, 512), the mean of the person's photos."""
    return {recogniser: combine(person, recogniser, "mean", NODE) for recogniser in recognisers}


def _blended_portraits(a: Portraits | None, b: Portraits | None, amount: float) -> Portraits | None:
    """The portraits of a blended person, from the first photos of both; None where either has no portraits."""
    if not a or not b:
        return None
    return Portraits(
        _blended_pictures(a.aligned, b.aligned, amount),
        _blended_pictures(a.loose, b.loose, amount),
        _blended_pictures(a.ffhq, b.ffhq, amount),
    )


def _blended_of(a: Person, b: Person, amount: float) -> tuple[Share, ...]:
    """Of whom a blended person is, without those who have no share; nobody where either has no portraits."""
    if not a.portraits or not b.portraits:
        return ()
    shares: list[Share] = []
    for person, portraits, of_blend in ((a, a.portraits, 1 - amount), (b, b.portraits, amount)):
        for one in person.blended_of or (Share(portraits.loose[0], 1.0),):
            if of_blend:
                _add_share(shares, Share(one.loose, one.share * of_blend))
    return tuple(shares)


def _add_share(shares: list[Share], added: Share) -> None:
    """Add a share to the others, to that of the same portrait where there is one."""
    for number, share in enumerate(shares):
        if torch.equal(share.loose, added.loose):
            shares[number] = replace(share, share=share.share + added.share)
            return
    shares.append(added)


def _blended_pictures(a: Tensor, b: Tensor, amount: float) -> Tensor:
    """A mixture of the first picture of `a` and the first of `b`: (1, H, W, 3) uint8. a, b: (photos, H, W, 3) uint8."""
    return torch.lerp(a[:1].float(), b[:1].float(), amount).round().byte()


def _weakened(loras: tuple[Lora, ...], share: float) -> list[Lora]:
    return [replace(lora, strength=lora.strength * share) for lora in loras]


def slerp(a: Tensor, b: Tensor, amount: float) -> Tensor:
    """Spherical interpolation of (n, c) vectors with the length interpolated linearly (Shoemake 1985).

    Vectors that point the same or the opposite way leave no arc to follow: where one pair does, all are mixed linearly.
    """
    length_a = lengths(a)  # (n, 1)
    length_b = lengths(b)
    unit_a = a / length_a
    unit_b = b / length_b
    angle = (unit_a * unit_b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()  # (n, 1), between the vectors of each pair
    if (angle.sin() < _SMALLEST_SINE).any():
        return torch.lerp(a, b, amount)
    arc = (((1 - amount) * angle).sin() * unit_a + (amount * angle).sin() * unit_b) / angle.sin()
    return arc * torch.lerp(length_a, length_b, amount)
