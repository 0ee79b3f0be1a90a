"""What a worker's ComfyUI has beside the pack: the people of many rows."""

from collections import OrderedDict
from typing import Any

try:
    from comfy_execution.cache_provider import CacheProvider, register_cache_provider
except ImportError:  # an older one remembers the row before alone
    register_cache_provider = None
    CacheProvider = object

MOST_PEOPLE = 200


class People(CacheProvider):  # pyright: ignore[reportGeneralTypeIssues] - an older ComfyUI has none
    """The last people whom this ComfyUI has made of photos: ComfyUI itself forgets what a prompt does not use."""

    def __init__(self) -> None:
        self._made = OrderedDict[str, Any]()

    def should_cache(self, context: Any, value: Any = None) -> bool:
        return context.class_type == "LikenessPerson"

    async def on_lookup(self, context: Any) -> Any:
        if context.cache_key_hash in self._made:
            self._made.move_to_end(context.cache_key_hash)
        return self._made.get(context.cache_key_hash)

    async def on_store(self, context: Any, value: Any) -> None:
        self._made[context.cache_key_hash] = value
        if len(self._made) > MOST_PEOPLE:
            self._made.popitem(last=False)


if register_cache_provider:
    register_cache_provider(People())


NODE_CLASS_MAPPINGS: dict[str, Any] = {}
