"""Nothing is left after a run that ends in an error of another pack, is cancelled, or whose MODEL is unloaded."""

import gc
import weakref
from typing import Any

import comfy.model_management
import pytest
import torch
from attack_graphs import node
from graph_run import run
from pack.bridge import runs
from promised import Row, latents, picture

KINDS = ["another pack's error", "cancelled", "unloaded"]


def failing(model: Any, error: type[BaseException]) -> Any:
    """A MODEL with another pack's patch that raises in the second forward."""
    clone, calls = model.clone(), []

    def patch(executor: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise error("theirs")
        return executor(*args, **kwargs)

    clone.add_wrapper_with_key("diffusion_model", "theirs", patch)
    return clone


def forwards(model: Any) -> list[Any]:
    return [module for module in model.model.diffusion_model.modules() if "forward" in vars(module)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_on_the_model(row: Row, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, plain = picture(row), picture(row, "plain")
    base = run(row.model, {})[0]
    before, begun = forwards(base), list[Any]()

    ended = runs.Run.ended
    monkeypatch.setattr(runs.Run, "ended", lambda self: (begun.append(weakref.ref(self)), ended(self))[1])
    graph, made = row.sampled(row.node()), {}
    if kind == "unloaded":
        latents(graph, made)
        comfy.model_management.unload_all_models()
    else:
        stopped = comfy.model_management.InterruptProcessingException
        error = RuntimeError if kind.startswith("another") else stopped
        model = run(graph.inputs["model"], made)[0] if hasattr(graph.inputs["model"], "kind") else None
        if model is None:
            source = graph.inputs["model"]
            model = run(source.node, made)[source.number]
        import attack_values

        attack_values.failing_now = lambda: failing(model, error)  # pyright: ignore[reportAttributeAccessIssue]
        from attack_graphs import value

        broken = node(graph.kind, **{**graph.inputs, "model": value("failing_now()", kind + str(row))})
        with pytest.raises(error):
            latents(broken, made)
        del model
        del attack_values.failing_now  # pyright: ignore[reportAttributeAccessIssue]
    assert forwards(base) == before
    assert torch.equal(latents(row.plain()), plain), "the plain MODEL is as it was"
    assert torch.equal(latents(graph, made), whole), "and so is ours"
