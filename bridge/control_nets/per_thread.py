"""An attribute of one of the host's objects. For a while, one thread sees another value of it.

A ControlNet finds the net before it, and its network, in its own attributes. While it computes, ours shows it other
objects there. Nothing is written to the object: other threads (MultiGPU CFG Split computes on several cards at once)
see what stands there, and after an exception, or where another pack has put in something of its own meanwhile, nothing
is put back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..sampling.current_forward import current


class PerThread:
    """An attribute that a thread can see replaced, as a data descriptor in the class of the object.

    The value that all other threads see stays in the object's own dictionary, under the attribute's name.
    """

    def __init__(self) -> None:
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The attribute of an object as this thread sees it; None where it was never set."""
        if instance is None:
            return self
        key = id(instance), self._name
        if key in current.attributes:
            return current.attributes[key]
        return vars(instance).get(self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self._name] = value

    def __delete__(self, instance: Any) -> None:
        del vars(instance)[self._name]

    @contextmanager
    def replaced(self, instance: Any, value: Any) -> Iterator[None]:
        """While this context is open, this thread sees `value` as the attribute of this object."""
        replacements = current.attributes
        key = id(instance), self._name  # no other object gets this id: the caller keeps the object alive
        nested = key in replacements  # whether this attribute is replaced in this thread already
        outer_value = replacements.get(key)  # what it is replaced by, to be put back in the end
        replacements[key] = value
        try:
            yield
        finally:
            if nested:
                replacements[key] = outer_value
            else:
                del replacements[key]
