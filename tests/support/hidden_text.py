"""A MODEL on which nobody but the common text reads the common text: people's own words alone reach the picture."""

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from families import RECORDS
from pack.bridge.networks.attention import with_reading
from pack.core.attention.token_groups import Group, RowSplit, Split


class _Hidden:
    """A reading in which nobody but itself reads the common text of the positive prompt.

    common, picture: of how many tokens each is. is_reader: whether the picture reads texts in an attention of its own.
    """

    def __init__(self, common: int, picture: int, is_reader: bool) -> None:
        self.is_reader = is_reader
        self.common = common
        self.picture = picture

    def split(self, queries, keys, options):
        if self.is_reader and queries != keys and keys > self.common:
            hidden = Split((Group(torch.arange(queries), torch.arange(self.common, keys)),), keys)
            return self._of_rows(hidden, Split((Group(torch.arange(queries), None),), keys), options)
        if queries <= self.common + self.picture or keys != queries:
            return None
        common = torch.arange(self.common)
        others = torch.arange(self.common, keys)
        hidden = Split((Group(common, None), Group(others, others)), keys)
        return self._of_rows(hidden, Split((Group(torch.arange(queries), None),), keys), options)

    def _of_rows(self, hidden, plain, options):
        of_rows = []
        for side in options["cond_or_uncond"]:
            of_rows += [plain if side else hidden] * len(options["sigmas"])
        return RowSplit(tuple(of_rows))


def without_common(model: ModelPatcher, family: str, text: list[Any], picture: int) -> ModelPatcher:
    """text: the common one as it is encoded, before the family fills it up. picture: of its tokens."""
    tokens, options = text[0]  # all parts of a schedule are equally long
    record = RECORDS[family]
    common = record.filled_up(tokens.shape[1])
    if "t5xxl_ids" in options:
        common = max(len(options["t5xxl_ids"]), 512)
    clone = model.clone()
    before = clone.model_options["transformer_options"]
    hidden = _Hidden(common, picture, record.reads_apart)
    clone.model_options["transformer_options"] = with_reading(before, hidden)
    return clone
