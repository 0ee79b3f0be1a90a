"""In half precision it is the picture of float32, as near as that precision is without the node."""

from attack_graphs import value
from figures import relative
from promised import Row, in_front, latents


def test_in_bfloat16_it_is_the_same_picture_but_for_the_precision(row: Row) -> None:
    half = value("in_half(a)", row.model)
    applied = in_front(row.node(), half) if "model" in row.inputs else row.node()
    graphs = {
        "full": row.sampled(row.node(), steps=1),
        "half": row.sampled(applied, steps=1) if "model" in row.outputs else row.plain(half, steps=1),
        "plain": row.plain(steps=1), "plain half": row.plain(half, steps=1),
    }  # fmt: skip
    if "model" not in row.outputs:
        sides = {"positive": applied, "negative": applied[1], "model": half}
        graphs["half"].inputs.update(sides)
    found = {name: latents(graph) for name, graph in graphs.items()}
    assert all(one.isfinite().all() for one in found.values())
    without = relative(found["plain half"], found["plain"])
    assert relative(found["half"], found["full"]) <= 3 * without + 1e-3
    assert relative(found["half"], found["plain half"]) > 1e-5
