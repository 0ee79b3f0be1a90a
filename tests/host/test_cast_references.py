"""Cast as References in the real host: what encoders and VAE are given, that it is the host's own, and of whom."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import node_helpers
import people_made
import pytest
import tiny_dits
import tiny_encoders
import tiny_vaes
import torch
from comfy_extras.nodes_edit_model import ReferenceLatent
from comfy_extras.nodes_qwen import TextEncodeQwenImageEditPlus
from pack.core import errors
from pack.core.identities import PortraitsMissing
from pack.core.inputs import BadPicture
from pack.core.people import Cast, NotPlaced, Person, PlacedCast, RowCast, Slot
from pack.core.places import group
from pack.nodes.references.encoding import LATENTS, REFERENCES, PeopleReferences, whose
from peers import apply as node_applied

from nodes import CLIPTextEncode, VAEEncode

pytestmark = tiny_dits.needed
FAMILIES = {
    "Qwen-Image-Edit": (tiny_encoders.qwen, tiny_vaes.qwen, (16, 1), 8),
    "FLUX.2 klein": (tiny_encoders.klein, tiny_vaes.flux2, (128,), 16),
    "FLUX.1 Kontext": (tiny_encoders.flux1, tiny_vaes.flux1, (16,), 8),
}


@cache
def loaded(family):
    clip, vae, *_ = FAMILIES[family]
    return clip(), vae()


def named(*names, slots=(None,) * 4, photos=1):
    made = (people_made.person(n, photos, slot) for n, slot in enumerate(slots[: len(names)], 1))
    return tuple(replace(one, identity=replace(one.identity, name=name)) for name, one in zip(names, made, strict=True))


def pair(**canvas):
    """Ben stands left of Anna."""
    slots = group.layout(2, "half", 1, 256, 256).slots
    return PlacedCast(named("Anna", "Ben", slots=slots[::-1]), 256, 256)


def apply(family="Qwen-Image-Edit", cast=None, pictures=None, **changed):
    clip, vae = loaded(family)
    given = {"clip": clip, "vae": vae, "cast": cast or pair(), "negative_prompt": "rain", "pictures": pictures}
    return node_applied("LikenessCastReferences", **{**given, **changed})


def portrait(person):
    return person.identity.portraits.loose[:1].float() / 255


def same(ours, theirs):
    """Bit for bit: text, latents, and whatever else the host's nodes put beside them."""
    ((said, options),), ((words, expected),) = ours, theirs
    assert torch.equal(said, words) and options.keys() - {REFERENCES} == expected.keys()
    latents, wanted = options.get(LATENTS, []), expected.get(LATENTS, [])
    assert len(latents) == len(wanted) and all(map(torch.equal, latents, wanted))


def test_references_are_known_among_those_of_other_nodes():
    theirs, anna, ben, room = (torch.zeros(1, 16, 2, 2) for _ in range(4))
    record = PeopleReferences(Cast(()), (anna, ben), (0, 1))
    entry = [[torch.zeros(1, 3, 8), {LATENTS: [theirs, anna, ben], REFERENCES: record}]]
    (_, options) = node_helpers.conditioning_set_values(entry, {LATENTS: [room]}, append=True)[0]
    assert whose(options) == (None, 0, 1, None)
    assert whose({LATENTS: [ben, anna], REFERENCES: record}) == (1, 0)
    assert whose({LATENTS: [anna.clone()], REFERENCES: record}) == (None,), "by the tensor itself"
    assert whose({LATENTS: [anna]}) == (None,)
    assert whose({REFERENCES: record}) == ()


class Pooled:
    """In place of a VAE, whose work at 1024 px takes a CPU long: means of 8x8 px, in the shape of Qwen's latents."""

    def encode(self, pictures):
        means = torch.nn.functional.avg_pool2d(pictures.movedim(-1, 1), 8)
        return means.repeat(1, 6, 1, 1)[:, :16, None]


def test_qwen_is_given_what_the_hosts_own_node_gives_it():
    cast, room = pair(), torch.rand(1, 1100, 1500, 3, generator=torch.Generator().manual_seed(5))
    clip, vae = loaded("Qwen-Image-Edit")[0], Pooled()
    positive, negative, text = apply(cast=cast, pictures=room, size=1024, vae=vae)
    assert text == "right: Anna, from Picture 1.\nleft: Ben, from Picture 2.\nin a park"
    for ours, words in ((positive, text), (negative, "rain")):
        same(ours, TextEncodeQwenImageEditPlus.execute(clip, words, vae, *map(portrait, cast.people), room).args[0])
    assert whose(positive[0][1]) == whose(negative[0][1]) == (0, 1, None)
    assert positive[0][1][LATENTS][0] is negative[0][1][LATENTS][0], "each picture is encoded once"
    alone = apply(cast=replace(cast, people=()), negative_prompt="", vae=vae)[1]
    same(alone, TextEncodeQwenImageEditPlus.execute(clip, "", vae).args[0])
    assert not alone[0][1][REFERENCES].people


@pytest.mark.parametrize("family", ["FLUX.2 klein", "FLUX.1 Kontext"])
def test_flux_is_given_what_the_hosts_chain_of_references_gives_it(family):
    cast = pair()
    positive, negative, text = apply(family, cast, sentences="after the prompt", size=512)
    assert text == "in a park\nright: Anna, from image 1.\nleft: Ben, from image 2."
    clip, vae = loaded(family)
    latents = [VAEEncode().encode(vae, portrait(person))[0] for person in cast.people]
    for ours, words in ((positive, text), (negative, "rain")):
        (theirs,) = CLIPTextEncode().encode(clip, words)
        for latent in latents:
            theirs = ReferenceLatent.execute(theirs, latent).args[0]
        same(ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_picture_has_its_size_and_its_owner(family):
    """A cast of which one is left out, two photos, two rooms of odd size with alpha, and the poses."""
    *_, channels, step = FAMILIES[family]
    anna, ben, kim = named("Anna", "Ben", "Kim", slots=group.layout(3, "half", 1, 328, 200).slots, photos=2)
    cast = PlacedCast((anna, replace(ben, weight=0.0), kim), 328, 200)
    rooms = torch.rand(2, 50, 75, 4, generator=torch.Generator().manual_seed(5))
    given = {"size": 144, "photos_per_person": 9, "pose_picture": True, "sentences": "none"}
    positive, negative, text = apply(family, cast, rooms, **given)
    sides = [(144, 144)] * 4 + ([(48, 72)] * 2 + [(200, 328)] if step == 8 else [(48, 80)] * 2 + [(192, 320)])
    for side in (positive, negative):
        assert [one.shape for one in side[0][1][LATENTS]] == [(1, *channels, h // step, w // step) for h, w in sides]
        assert whose(side[0][1]) == (0, 0, 1, 1, None, None, None), "numbers among those who are heard"
        assert side[0][1][REFERENCES].cast is cast
    assert text == "in a park"


def test_rows_of_crop_faces_have_their_own_picture_and_text():
    people = named("Anna", "Ben", slots=group.layout(1, "bust", 1, 128, 128).slots * 2)
    for family in ("Qwen-Image-Edit", "FLUX.2 klein"):
        room = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(5))
        rows = apply(family, RowCast(people, 128, 128), room, pose_picture=True)
        word = "Picture" if family == "Qwen-Image-Edit" else "image"
        assert rows[2] == f"the person from {word} 1.\n{word.capitalize()} 3 shows the poses.\nin a park"
        for n, person in enumerate(people):
            (alone,) = apply(family, RowCast((person,), 128, 128), room, pose_picture=True)[:1]
            latents = zip(rows[0][0][1][LATENTS], alone[0][1][LATENTS], strict=True)
            assert all(torch.equal(ours[min(n, len(ours) - 1)], own[0]) for ours, own in latents)
            assert torch.equal(rows[0][0][0][min(n, len(rows[0][0][0]) - 1)], alone[0][0][0])
        assert [len(one) for one in rows[0][0][1][LATENTS]] == [2, 1, 2]
        assert len(rows[0][0][0]) == (2 if word == "Picture" else 1), "FLUX.2's encoder sees no pictures"
        assert whose(rows[0][0][1]) == (None, None, None)


NO_PORTRAITS = Cast((Person(people_made.identity(1)),))
NO_SKELETON = PlacedCast(named("Anna", slots=[Slot((64, 64))]), 128, 128)


def spoiled():
    return SimpleNamespace(encode=lambda pictures: loaded("Qwen-Image-Edit")[1].encode(pictures) * float("nan"))


def speechless():
    """Of a family that is known, but it says nothing that can be used."""
    said = [[torch.full((1, 3, 8), float("inf")), {}]]
    tokenizer = type("KleinTokenizer", (), {})()
    return SimpleNamespace(
        tokenizer=tokenizer, tokenize=lambda text: text, encode_from_tokens_scheduled=lambda text: said
    )


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"clip": tiny_encoders.sdxl}, errors.WrongBaseModel, "made for SDXL, but the text encoder of Qwen"),
        ({"vae": tiny_vaes.flux2}, errors.WrongBaseModel, "128x128 px become 128x8x8.*Qwen-Image-Edit.*16x1x16x16"),
        ({"clip": object}, errors.BadInput, "clip"),
        ({"vae": tiny_vaes.flux1}, errors.WrongBaseModel, "128x128 px become 16x16x16.*qwen_image_vae"),
        ({"vae": spoiled}, BadPicture, "NaN or infinity.*fp32-vae"),
        ({"family": "FLUX.2 klein", "clip": speechless}, BadPicture, "The text 'right: Anna.*NaN or infinity"),
        ({"cast": lambda: NO_PORTRAITS}, PortraitsMissing, "Cast as References looks at pictures.*person 1"),
        ({"cast": lambda: Cast(named("Anna")), "pose_picture": True}, NotPlaced, "Cast as References.*Anna"),
        ({"cast": lambda: NO_SKELETON, "pose_picture": True}, errors.BadLayout, "no skeleton to draw"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(changed, error, said):
    made = {name: one() if callable(one) else one for name, one in changed.items()}
    with pytest.raises(error, match=said):
        apply(**made)


def test_what_works_but_may_not_be_meant_is_noted(caplog):
    (zoe,), (ida,) = named("Zoe"), named("Ida")
    cast = Cast((*named("Anna", "Anna", "person"), replace(zoe, weight=0.0), replace(ida, weight=0.5)))
    *_, text = apply("FLUX.2 klein", cast, photos_per_person=2, pictures=torch.rand(1, 32, 32, 3))
    assert text.splitlines() == [
        "Anna, from image 1.", "Anna, from image 2.", "a person, from image 3.", "Ida, from image 4.", "in a park",
    ]  # fmt: skip
    for note in ("left out: Zoe", "nothing here: Ida", "alike.*: Anna$", "^5 reference pictures.*FLUX.2 klein.* 4 at"):
        assert re.search(note, caplog.text.replace("WARNING  likeness", ""), re.M), note
