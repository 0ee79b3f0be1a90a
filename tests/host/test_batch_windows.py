"""A batch in windows of some rows: each row has its own person, and a net of ours shows it its own hint."""

from dataclasses import replace
from typing import Any

import other_packs
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from figures import relative
from host_sampling import applied, latent_of, sampled, sigmas_of
from marks import each
from method_rows import OFTEN, Row, has_rows, rows
from pack.core.checks.errors import LikenessError

WITH_A_NET = [row for row in rows() if row.kind in ("LikenessApplyIDPatch", "LikenessApplyInstantID")]
ROWS, WINDOW = 4, 2


@pytest.mark.both_hosts
@pytest.mark.parametrize("pictures", (pytest.param(1, marks=pytest.mark.thorough), ROWS))
@pytest.mark.parametrize("row", each(WITH_A_NET, OFTEN), ids=str)
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


def in_windows_of_the_host(model: Any, length: int, dim: int) -> Any:
    """A MODEL of which the host samples so many at a time: rows of the batch, or cells along another dimension."""
    settings = {"context_schedule": "standard_static", "context_stride": 1, "closed_loop": False}
    made = ContextWindowsManualNode.execute(
        model, context_length=length, context_overlap=0, fuse_method="pyramid", freenoise=False, dim=dim, **settings
    )
    return made.args[0]


HOSTS_OWN = "references, PeopleAsReferences"
"""Without a MODEL the references are ComfyUI's own, so no run knows the window."""
IN_A_RUN = [row for row in rows() if row.runs_here and str(row) != HOSTS_OWN]
KEEP_ROWS = [row for row in IN_A_RUN if has_rows(row)]


@pytest.mark.parametrize("row", each(KEEP_ROWS, OFTEN), ids=str)
def test_people_of_a_row_each_keep_it_in_windows_of_the_host(row: Row) -> None:
    """One row in each window; in the second one the host shows the row before it as well."""
    by_rows = replace(row, variant="a row each")
    sentences = {"sentences": "none"} if "sentences" in row.inputs else {}
    ours = applied(by_rows, by_rows.node(**sentences))
    start, sigmas = latent_of(by_rows, 2), sigmas_of(ours.model, 1)
    windowed = sampled(replace(ours, model=in_windows_of_the_host(ours.model, 1, dim=0)).guider(), start, sigmas)
    assert relative(windowed, sampled(ours.guider(), start, sigmas)) <= 1e-5


@pytest.mark.parametrize("dim", (-2, -1), ids=("over the height", "over the width"))
@pytest.mark.parametrize("row", each(IN_A_RUN, OFTEN), ids=str)
def test_windows_over_a_side_of_the_picture_are_refused_before_anything_is_drawn(row: Row, dim: int) -> None:
    ours = applied(row, row.node())
    start, sigmas = latent_of(row), sigmas_of(ours.model, 1)
    model = in_windows_of_the_host(ours.model, start.shape[dim] // 2, start.dim() + dim)
    calls: list[Any] = []
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", lambda *args, **_: calls.append(args))
    with pytest.raises(LikenessError, match=r"a piece of the picture at a time, and everybody.*Set dim to 0"):
        sampled(replace(ours, model=model).guider(), start, sigmas)
    assert calls == []
