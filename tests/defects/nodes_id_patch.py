"""Defects of nodes/id_patch: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/id_patch/net.py::IDPatchNet.__init__",
        breaks="A file whose patches are of another size is taken.",
        find="($tokens, $values) != (3, PATCH ** 2)",
        put="False",
        caught_by="tests/host/test_id_patch_files.py::test_what_cannot_be_used_is_named[swapped]",
        promise="ID-Patch: wrong file",
    ),
    Defect(
        "nodes/id_patch/net.py::IDPatchNet.patch",
        breaks="The colours of a patch are in another order.",
        find="$patch_proj.unflatten",
        put="$patch_proj.flip(0).unflatten",
        caught_by="tests/parity/test_id_patch_parity.py::test_golden_numbers[resampler-1]",
        promise="ID-Patch: row order",
    ),
    Defect(
        "nodes/id_patch/net.py::participants_of",
        breaks="Somebody off the canvas still speaks in the prompt.",
        find="($person for $person in $with_photos if $condition and not $off_canvas)",
        put="($person for $person in $with_photos if $condition)",
        caught_by="tests/host/test_id_patch_apply.py::test_off_canvas_people_lose_patch_and_tokens_and_are_named",
        promise="ID-Patch: region",
    ),
    Defect(
        "nodes/id_patch/nodes.py::IDPatch.tokens",
        breaks="A person's weight does not reach their ID tokens.",
        find="$run * $person.weight",
        put="$run",
        caught_by="tests/host/test_weights.py::test_id_tokens_of_everybody_are_as_loud_as_that_person",
        promise="ID-Patch: weight",
    ),
    Defect(
        "nodes/id_patch/nodes.py::IDPatch.tokens",
        breaks="ID tokens have everybody's weight squared.",
        find="$person.weight",
        put="$person.weight ** 2",
        caught_by="tests/host/test_weights.py::test_id_tokens_of_everybody_are_as_loud_as_that_person",
        promise="ID-Patch: weight",
    ),
    Defect(
        "nodes/id_patch/nodes.py::IDPatch.patches",
        breaks="A person's weight does not reach their ID patch.",
        find="$run * $person.weight",
        put="$run",
        caught_by="tests/host/test_weights.py::test_the_id_patch_of_everybody_is_as_loud_as_that_person",
        promise="ID-Patch: weight",
    ),
    Defect(
        "nodes/id_patch/nodes.py::IDPatch.patches",
        breaks="Two people's ID patches have the weights of each other.",
        find="[$run * $person.weight for $person in $people]",
        put="[$run * other.weight for $person, other in zip($people, $people[::-1], strict=True)]",
        caught_by="tests/host/test_weights.py::test_the_id_patch_of_everybody_is_as_loud_as_that_person",
        promise="ID-Patch: weight",
    ),
    Defect(
        "nodes/id_patch/nodes.py::ApplyIDPatch.execute",
        breaks="At strength 0 the tokens still go into the prompt.",
        find="if $strength == 0:\n    $$body",
        put="",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[id_patch, ApplyIDPatch]",
        promise="ID-Patch: off",
    ),
    Defect(
        "nodes/id_patch/nodes.py::_by_region",
        breaks="ID tokens of another cast are bound to these people.",
        find="$tokens is not None and $differ",
        put="False",
        caught_by=(
            "tests/host/test_refused.py::test_it_is_refused_in_its_own_words[ID tokens of another Apply ID-Patch]"
        ),
        promise="ID tokens by region: wrong value",
    ),
    Defect(
        "nodes/id_patch/nodes.py::_by_region",
        breaks="The ID tokens of each person are read in the other's region.",
        find="id_tokens_by_region($entries, $regions, $canvas)",
        put="id_tokens_by_region($entries, $regions.flip(0), $canvas)",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[id_patch, ApplyIDPatch, by region]"
        ),
        promise="ID tokens by region: region",
    ),
]
