"""How StoryMaker's background and people are joined: one softmax each, mixed by shares."""

import torch
from pack.core.attention.cross_attention import decoupled
from pack.nodes.story_maker.net import apart, together, with_background


def attend(q, k, v):
    return torch.softmax(q @ k.mT, dim=-1) @ v


def test_every_pixel_shares_one_softmax_with_the_background():
    generator = torch.Generator().manual_seed(1)
    background = torch.randn(1, 20, 8, generator=generator)
    people = torch.randn(2, 20, 8, generator=generator)
    anna = people[:1]
    ben = people[1:]
    # Anna's alone, nobody's, half Anna's, both people's, a soft edge between them.
    regions = torch.tensor([[[1.0, 0.0, 0.5, 1.0, 0.75]], [[0.0, 0.0, 0.0, 1.0, 0.5]]])
    shares = with_background(regions)
    assert torch.allclose(shares.sum(0), torch.ones(1, 5))
    assert (shares >= 0).all()

    q = torch.randn(1, 5, 8, generator=generator)
    keys = apart(background, people)
    attended = decoupled(q, keys[:, None], keys[:, None], shares.flatten(1)[:, None, :, None], attend)
    with_anna = torch.cat([background, anna], dim=1)
    with_ben = torch.cat([background, ben], dim=1)
    nobody = attend(q, background, background)
    as_anna = attend(q, with_anna, with_anna)
    as_ben = attend(q, with_ben, with_ben)
    expected = [
        as_anna[0, 0], nobody[0, 1], (as_anna + nobody)[0, 2] / 2, (as_anna + as_ben)[0, 3] / 2,
        as_anna[0, 4] * 0.6 + as_ben[0, 4] * 0.4,
    ]  # fmt: skip
    assert torch.allclose(attended[0], torch.stack(expected), atol=1e-6)


def test_the_whole_picture_is_one_row_of_all_tokens():
    background = torch.zeros(1, 20, 3)
    people = torch.arange(2.0)[:, None, None].expand(-1, 20, 3) + 1
    assert together(background, people)[0, :, 0].tolist() == [0.0] * 20 + [1.0] * 20 + [2.0] * 20
