"""Defects of nodes/with_anyone: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/with_anyone/net.py::BlockAttention.read_by_picture",
        breaks="The logits are not divided by the root of the head's width.",
        find="HEAD_DIM ** 0.5",
        put="HEAD_DIM",
        caught_by=(
            "tests/parity/test_with_anyone_parity.py::test_sampling_equals_the_formulas[one in all of the picture]"
        ),
        promise="WithAnyone: parity",
    ),
    Defect(
        "nodes/with_anyone/net.py::BlockAttention.read_by_picture",
        breaks="The bias of the norm before the queries is left out.",
        find="BlockTokens(keys=$keys, offset=$offset, values=$values)",
        put="BlockTokens(keys=$keys, offset=torch.zeros_like($offset), values=$values)",
        caught_by=(
            "tests/parity/test_with_anyone_parity.py::test_sampling_equals_the_formulas[one in all of the picture]"
        ),
        promise="WithAnyone: parity",
    ),
    Defect(
        "nodes/with_anyone/net.py::_side_by_side",
        breaks="Where boxes overlap the first person alone is heard.",
        find="[$by_person[$person] for $person in $people]",
        put="[$by_person[$person] for $person in $people[:1]]",
        caught_by=(
            "tests/parity/test_with_anyone_parity.py::test_sampling_equals_the_formulas[three, boxes that overlap]"
        ),
        promise="WithAnyone: second picture",
    ),
    Defect(
        "nodes/with_anyone/net.py::read_tokens",
        breaks="Rows are not normalised before they ask.",
        find="functional.layer_norm($rows, $rows.shape[-1:])",
        put="$rows",
        caught_by=(
            "tests/parity/test_with_anyone_parity.py::test_sampling_equals_the_formulas[one in all of the picture]"
        ),
        promise="WithAnyone: parity",
    ),
    Defect(
        "nodes/with_anyone/nodes.py::ApplyWithAnyone.execute",
        breaks="At weight 0 the model is patched.",
        find="scopes.acting_cast(cls, $cast, $weight, $$rest)",
        put="scopes.acting_cast(cls, $cast, 1.0, $$rest)",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[with_anyone, ApplyWithAnyone]",
        promise="WithAnyone: off",
    ),
    Defect(
        "nodes/with_anyone/nodes.py::ApplyWithAnyone.execute",
        breaks="The negative has the faces, the positive none.",
        find="$scope.applied(cls, $model, $sides, ($faces, $without_faces), $$rest)",
        put="$scope.applied(cls, $model, $sides, ($without_faces, $faces), $$rest)",
        caught_by=(
            "tests/parity/test_with_anyone_parity.py::test_sampling_equals_the_formulas[one in all of the picture]"
        ),
        promise="WithAnyone: row order",
    ),
    Defect(
        "nodes/with_anyone/nodes.py::_check_layout",
        breaks="A MODEL of other blocks is taken.",
        find="($blocks, $width) != ($attentions, $$net)",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[fewer blocks]",
        promise="WithAnyone: wrong file",
    ),
    Defect(
        "nodes/with_anyone/nodes.py::_injection",
        breaks="The weights of people are ignored.",
        find="$weight * $person.weight",
        put="$weight",
        caught_by="tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyWithAnyone-cast]",
        promise="WithAnyone: weight",
    ),
    Defect(
        "nodes/with_anyone/nodes.py::_injection",
        breaks="Two people have the weights of each other.",
        find="[$weight * $person.weight for $person in $people]",
        put="[$weight * $person.weight for $person in $people[::-1]]",
        caught_by=(
            "tests/host/test_weights.py::test_values_of_everybody_are_as_loud_as_that_person[LikenessApplyWithAnyone]"
        ),
        promise="WithAnyone: weight",
    ),
    Defect(
        "nodes/with_anyone/nodes.py::_injection",
        breaks="The weight of the node is ignored.",
        find="$weights.to($values)",
        put="($weights / $weights.amax()).to($values)",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyWithAnyone-weight]"
        ),
        promise="WithAnyone: weight",
    ),
]
