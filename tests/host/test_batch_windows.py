"""A batch that AnimateDiff-Evolved samples in windows: nets of ours show each row its own picture of the hint."""

from dataclasses import replace

import other_packs
import pytest
import torch
from figures import relative
from host_sampling import applied, latent_of, sampled, sigmas_of
from method_rows import Row, rows

WITH_A_NET = [row for row in rows() if row.kind in ("LikenessApplyIDPatch", "LikenessApplyInstantID")]
ROWS, WINDOW = 4, 2


@pytest.mark.both_hosts
@pytest.mark.parametrize("pictures", (1, ROWS))
@pytest.mark.parametrize("row", WITH_A_NET, ids=str)
def test_a_batch_in_windows_is_the_batch_as_a_whole(row: Row, pictures: int) -> None:
    """pictures: of the hint: one for all rows, or one for each."""
    drawn = applied(row, row.node()).positive[0][1]["control"].cond_hint_original
    grain = torch.rand(pictures, *drawn.shape[1:], generator=torch.Generator().manual_seed(1)) / 10
    ours = applied(row, row.node(image=(drawn[:1] + grain).movedim(1, -1)))
    start, sigmas = latent_of(row, ROWS), sigmas_of(ours.model, 2)
    whole = sampled(ours.guider(), start, sigmas)
    windowed = replace(ours, model=other_packs.in_windows(ours.model, WINDOW))
    assert relative(sampled(windowed.guider(), start, sigmas), whole) <= 1e-5
    # A run without windows after one with them shows the net the whole hint again.
    assert torch.equal(sampled(ours.guider(), start, sigmas), whole)
