"""What a case is: a graph and the message that it must end with. The decorators put it into a table.

    @refused_by_the_node("a black image", NoKeypoints, "no face in the keypoints image")
    def a_black_image() -> Node:
        return ours("LikenessApplyInstantID", image=0 * image())

The graph is the node with the inputs that matter; all others are its defaults (graphs.py). Values for inputs are
in sample_values.py. Nothing is made before the case runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from graphs import Node
from pack.core.errors import LikenessError

Factory = TypeVar("Factory", bound=Callable[[], Any])


@dataclass(frozen=True)
class Sampled:
    """A node and the sampler behind it.

    latent_image: another than the default. model: another MODEL for the sampler. pack: what another pack makes of the
    sampler's MODEL, as a node between ours and the sampler.
    """

    node: Node
    latent_image: dict[str, Any] | None = None
    model: Any = None
    pack: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Refused:
    """error: the class of the error, none below it. says: a regular expression that is in its message."""

    error: type[LikenessError]
    says: str
    graph: Callable[[], Node]


@dataclass(frozen=True)
class RefusedBySampler:
    """As `Refused`; the node itself runs."""

    error: type[LikenessError]
    says: str
    graph: Callable[[], Sampled]


@dataclass(frozen=True)
class Remark:
    """says: a regular expression for every remark in the log, in their order."""

    says: tuple[str, ...]
    graph: Callable[[], Node]


BY_THE_NODE: dict[str, Refused] = {}
BY_THE_SAMPLER: dict[str, RefusedBySampler] = {}
REMARKS: dict[str, Remark] = {}
"""By the name of the case."""


def refused_by_the_node(name: str, error: type[LikenessError], says: str) -> Callable[[Factory], Factory]:
    """The graph that the function makes ends with this error when the node runs. name: of the test's case."""

    def register(graph: Factory) -> Factory:
        _add(BY_THE_NODE, name, Refused(error, says, graph))
        return graph

    return register


def refused_by_the_sampler(name: str, error: type[LikenessError], says: str) -> Callable[[Factory], Factory]:
    """The node runs, and the sampler behind it ends with this error."""

    def register(graph: Factory) -> Factory:
        _add(BY_THE_SAMPLER, name, RefusedBySampler(error, says, graph))
        return graph

    return register


def remarks(name: str, *says: str) -> Callable[[Factory], Factory]:
    """The node runs, and says this and no more."""

    def register(graph: Factory) -> Factory:
        _add(REMARKS, name, Remark(says, graph))
        return graph

    return register


def _add(table: dict[str, Any], name: str, case: Any) -> None:
    if name in table:
        raise ValueError(f"two cases are called {name!r}: give one of them another name")
    table[name] = case
