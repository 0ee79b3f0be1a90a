"""A MODEL on which nobody but the common text reads the common text: people's own words alone reach the picture."""

import torch
from comfy.model_patcher import ModelPatcher
from pack.bridge.networks.attention import with_reading
from pack.core.token_groups import Group, RowSplit, Split
from tiny_dits import FLUX_2, Z_IMAGE


class _Hidden:
    """A reading in which nobody but itself reads the common text of the positive prompt.

    common, picture: of how many tokens each is.
    """

    def __init__(self, common: int, picture: int) -> None:
        self.common = common
        self.picture = picture

    def split(self, queries, keys, options):
        if queries <= self.common + self.picture or keys != queries:
            return None
        common_group = Group(torch.arange(self.common), None)
        others_group = Group(torch.arange(self.common, queries), torch.arange(self.common, keys))
        hidden = Split((common_group, others_group), keys)
        plain = Split((Group(torch.arange(queries), None),), keys)
        of_rows = []
        for side in options["cond_or_uncond"]:
            of_rows += [plain if side else hidden] * len(options["sigmas"])
        return RowSplit(tuple(of_rows))


def without_common(model: ModelPatcher, family: str, length: int, picture: int) -> ModelPatcher:
    """length: tokens of the common text as it is encoded, before the family fills it up. picture: of its tokens."""
    common = length
    if family == FLUX_2:
        common = max(length, 512)
    if family == Z_IMAGE:
        common = -(-length // 8) * 8
    clone = model.clone()
    options = clone.model_options["transformer_options"]
    clone.model_options["transformer_options"] = with_reading(options, _Hidden(common, picture))
    return clone
