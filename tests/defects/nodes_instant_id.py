"""Defects of nodes/instant_id: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/instant_id/net.py::unconditional",
        breaks="Noise in the negative is the same for every seed.",
        find="$generator.manual_seed($seed)",
        put="$generator.manual_seed(0)",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyInstantID-noise_seed]"
        ),
        promise="InstantID: second picture",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_injections",
        breaks="The embedding is brought to length 1, which InstantID's is not.",
        find="$embeddings[None]",
        put="torch.nn.functional.normalize($embeddings, dim=-1)[None]",
        caught_by="tests/parity/test_instant_id_parity.py::test_sampling_equals_diffusers[one picture]",
        promise="InstantID: parity",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_injections",
        breaks="The weight of the first person is everybody's.",
        find="[$weight * $person.weight for $person in $people]",
        put="[$weight * $people[0].weight for $person in $people]",
        caught_by="tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyInstantID-cast]",
        promise="InstantID: weight",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_injections",
        breaks="The weights of people are ignored.",
        find="$weight * $person.weight",
        put="$weight",
        caught_by="tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyInstantID-cast]",
        promise="InstantID: weight",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_injections",
        breaks="Two people have the weights of each other.",
        find="[$weight * $person.weight for $person in $people]",
        put="[$weight * $person.weight for $person in $people[::-1]]",
        caught_by=(
            "tests/host/test_weights.py::test_values_of_everybody_are_as_loud_as_that_person[LikenessApplyInstantID]"
        ),
        promise="InstantID: weight",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_injections",
        breaks="The negative has the faces too: CFG leads nowhere.",
        find="($faces, $no_faces)",
        put="($faces, $faces)",
        caught_by="tests/parity/test_instant_id_parity.py::test_sampling_equals_diffusers[one picture]",
        promise="InstantID: parity",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_injections",
        breaks="The negative reads the faces, the positive nobody.",
        find="($faces, $no_faces)",
        put="($no_faces, $faces)",
        caught_by="tests/parity/test_instant_id_parity.py::test_sampling_equals_diffusers[one picture]",
        promise="InstantID: row order",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_hint",
        breaks="A keypoints image of another canvas is taken and stretched.",
        find="geometry.check_canvas('The keypoints image', $image, $cast, $advice)",
        put="pass",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[another canvas]",
        promise="InstantID: wrong value",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_hint",
        breaks="An image of keypoints that is all black is taken.",
        find=("if not $drawing.any():\n    raise NoKeypoints(APPLY, [])"),
        put="",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[a black image]",
        promise="InstantID: wrong value",
    ),
    Defect(
        "nodes/instant_id/nodes.py::_hint",
        breaks="The rows of a batch of crops need not be those of the keypoints image.",
        find="$cast.by_row and $condition",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[keypoints of other rows]",
        promise="InstantID: row order",
    ),
]
