"""The network that all clones of a MODEL share, as one of them gives it.

A node may give a clone of a MODEL object patches: other objects, functions or classes in the place of parts of the
network. The host puts them on the network when it loads that clone, and they stay there until it loads another one.
Meanwhile whoever looks at the network sees what another MODEL gives. Here copies are made that have the right parts;
what is shared is never changed.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import comfy.utils
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import nn

_COMPILED = "_orig_mod"
"""Where torch.compile keeps the module that it has compiled."""


def model_of(patcher: ModelPatcher) -> BaseModel:
    """The model of a MODEL with this MODEL's object patches and without those of any other clone.

    It is for looking only. Where nothing is patched it is the shared model itself, else a copy with the same weights.
    """
    model = patcher.model
    for path, value in _patched_objects(patcher).items():
        # torch.compile around what stands in the model anyway changes nothing that is looked for.
        compiled = getattr(value, _COMPILED, None)  # the module inside, None for a value that is not compiled
        if compiled is None or compiled is not network_within(comfy.utils.get_attr(patcher.model, path)):
            # The copy has the module inside wherever torch.compile stands around one, so its paths lack that part.
            names = [name for name in path.split(".") if name != _COMPILED]
            model = _with_attribute(model, names, value)
    return model


def _patched_objects(patcher: ModelPatcher) -> dict[str, Any]:
    """What this MODEL has at each path where it, or the clone that is loaded, is patched.

    At a path that this MODEL patches it is the patch. At another path it is what the loaded clone's patch has replaced:
    the host keeps that in object_patches_backup, which all clones share.
    """
    return {**patcher.object_patches_backup, **patcher.object_patches}


def object_of(patcher: ModelPatcher, path: str) -> Any:
    """What stands at a path of a MODEL, such as "diffusion_model.txt_in", with this MODEL's object patches.

    It is what `model_of` has there, without a copy of the model. Raises AttributeError where nothing stands there.
    """
    patched_objects = _patched_objects(patcher)
    names = path.split(".")
    # The object itself may be patched, or a part of the model around it: the innermost patch is looked for first.
    for count in range(len(names), 0, -1):
        patched = patched_objects.get(".".join(names[:count]))
        if patched is not None:
            deeper = names[count:]
            return comfy.utils.get_attr(patched, ".".join(deeper)) if deeper else patched
    return comfy.utils.get_attr(patcher.model, path)


def network_within(module: Any) -> Any:
    """A module itself, under what torch.compile may have put around it."""
    return getattr(module, _COMPILED, module)


def without_replaced_methods(network: nn.Module) -> nn.Module:
    """A network that runs the methods of its own class, and none that other packs have put onto the object.

    Where there are none of these it is `network` itself, also compiled. Otherwise it is a copy, which is not compiled.
    """
    own = network_within(network)
    # An attribute of the object itself that has the name of a method of its class hides that method.
    replaced = [name for name in vars(own) if callable(getattr(type(own), name, None))]
    if not replaced:
        return network
    own = _copy_of(own)
    for name in replaced:
        delattr(own, name)
    return own


def _with_attribute(shared: Any, names: Sequence[str], value: Any) -> Any:
    """A copy of `shared` in which the attribute at the end of a path is `value`. names: the path, at least one name.

    Every object on the path is copied too, so that nothing shared is changed.
    """
    own = _copy_of(network_within(shared))
    name, *deeper = names
    own_value = _with_attribute(getattr(own, name), deeper, value) if deeper else value
    comfy.utils.set_attr(own, name, own_value)
    return own


def _copy_of(shared: Any) -> Any:
    """A copy of an object whose attributes, parts and weights can be replaced without changing the object."""
    if not isinstance(shared, nn.Module):
        return copy(shared)
    own = object.__new__(type(shared))
    vars(own).update(vars(shared))
    # torch keeps the parts of a module in these dictionaries. Without copies of them, both objects would share them.
    for name in ("_modules", "_parameters", "_buffers"):
        vars(own)[name] = dict(vars(shared)[name])
    return own
