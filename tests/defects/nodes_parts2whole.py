"""Defects of nodes/parts2whole: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/parts2whole/files.py::_sampling",
        breaks="Every Parts2Whole has the release's noise schedule, whatever its file says.",
        find="torch.linspace($start, $end, $$rest)",
        put="torch.linspace(0.00085, 0.012, $$rest)",
        caught_by="tests/host/test_miniature.py::test_parts_are_worn_as_without_a_host",
        promise="Parts2Whole: the noise schedule is the file's own",
    ),
    Defect(
        "nodes/parts2whole/nodes.py::encode",
        breaks="Two parts have the weights of each other.",
        find="($part.weight for $part in $present)",
        put="($part.weight for $part in $present[::-1])",
        caught_by="tests/host/test_weights.py::test_parts_are_as_loud_as_each_of_them_by_parts2whole",
        promise="Parts2Whole: weight",
    ),
    Defect(
        "nodes/parts2whole/nodes.py::put_in",
        breaks="Image tokens of a part have the weight of the next.",
        find="zip($features.embeds, $features.weights, strict=True)",
        put="zip($features.embeds, $features.weights[::-1], strict=True)",
        caught_by="tests/host/test_weights.py::test_parts_are_as_loud_as_each_of_them_by_parts2whole",
        promise="Parts2Whole: weight",
    ),
    Defect(
        "nodes/parts2whole/nodes.py::ApplyParts2Whole.execute",
        breaks="Heat maps never arrive.",
        find="notes.show($node, $heat_maps)",
        put="$heat_maps",
        caught_by=(
            "tests/host/test_workflows.py"
            "::test_one_patched_model_serves_two_nodes_of_parts_and_heat_maps_arrive_while_it_samples"
        ),
        promise="parts: heat maps are shown",
    ),
]
