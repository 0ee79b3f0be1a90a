"""How StoryMaker's background and people are joined: one softmax each, mixed by shares."""

import torch
from pack.core.attention import decoupled
from pack.nodes.story_maker.net import apart, together, with_background


def attend(q, k, v):
    return torch.softmax(q @ k.mT, dim=-1) @ v


def test_every_pixel_shares_one_softmax_with_the_background():
    generator = torch.Generator().manual_seed(1)
    background, people = (torch.randn(n, 20, 8, generator=generator) for n in (1, 2))
    anna, ben = people[:1], people[1:]
    # Anna's alone, nobody's, half Anna's, both people's, a soft edge between them.
    regions = torch.tensor([[[1.0, 0.0, 0.5, 1.0, 0.75]], [[0.0, 0.0, 0.0, 1.0, 0.5]]])
    shares = with_background(regions)
    assert torch.allclose(shares.sum(0), torch.ones(1, 5)) and (shares >= 0).all()

    q, keys = torch.randn(1, 5, 8, generator=generator), apart(background, people)
    found = decoupled(q, keys[:, None], keys[:, None], shares.flatten(1)[:, None, :, None], attend)
    seen = (background, *(torch.cat([background, one], dim=1) for one in (anna, ben)))
    nobody, as_anna, as_ben = (attend(q, x, x) for x in seen)
    mixed = [
        as_anna[0, 0], nobody[0, 1], (as_anna + nobody)[0, 2] / 2, (as_anna + as_ben)[0, 3] / 2,
        as_anna[0, 4] * 0.6 + as_ben[0, 4] * 0.4,
    ]  # fmt: skip
    assert torch.allclose(found[0], torch.stack(mixed), atol=1e-6)


def test_the_whole_picture_is_one_row_of_all_tokens():
    background, people = torch.zeros(1, 20, 3), torch.arange(2.0)[:, None, None].expand(-1, 20, 3) + 1
    assert together(background, people)[0, :, 0].tolist() == [0.0] * 20 + [1.0] * 20 + [2.0] * 20
