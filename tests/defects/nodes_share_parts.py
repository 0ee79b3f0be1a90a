"""Defects of nodes/share_parts: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/share_parts/nodes.py::SharePartsAttention.execute",
        breaks="Two parts have the weights of each other.",
        find="[$weight for $part in $present]",
        put="[$weight for $part in $present[::-1]]",
        caught_by="tests/host/test_weights.py::test_parts_are_as_loud_as_each_of_them_by_share_parts_attention",
        promise="Share Parts Attention: weight",
    ),
]
