"""Defects of nodes/ip_adapter: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/ip_adapter/net.py::IPAdapterNet.tokens",
        breaks="Of photos as a sequence only the first is read.",
        find="$each.flatten",
        put="$each[:1].flatten",
        caught_by="tests/host/test_ip_adapter.py::test_numbers_of_photos_need_not_be_equal",
        promise="IP-Adapter: second picture",
    ),
    Defect(
        "nodes/ip_adapter/net.py::with_equal_counts",
        breaks="Somebody with fewer photos is heard less than the others.",
        find="$tokens.repeat(1, $length // $count, 1)",
        put="torch.nn.functional.pad($tokens, (0, 0, 0, $length - $count))",
        caught_by="tests/host/test_ip_adapter.py::test_numbers_of_photos_need_not_be_equal",
        promise="IP-Adapter: weight",
    ),
    Defect(
        "nodes/ip_adapter/net.py::_BLOCKS_BY_CHOICE",
        breaks="Style and layout change places.",
        find="{_SDXL: $value, _SD15: $value_2}",
        put="{_SDXL: {LAYOUT: _block_numbers(output=(1,)), STYLE: _block_numbers(input=(8,))}, _SD15: $value_2}",
        caught_by="tests/unit/test_styles.py::test_layers_are_those_of_the_published_keys",
        promise="Style per Person: region",
    ),
    Defect(
        "nodes/ip_adapter/net.py::chosen_layers",
        breaks="On a UNet of unknown blocks another layer is taken for the style's.",
        find="_BLOCKS_BY_CHOICE.get($$before)",
        put="_BLOCKS_BY_CHOICE.get($$before, _BLOCKS_BY_CHOICE[_SDXL])",
        caught_by="tests/unit/test_styles.py::test_a_unet_with_other_blocks_has_all_or_nothing",
        promise="Style per Person: wrong value",
    ),
    Defect(
        "nodes/ip_adapter/net.py::fitted",
        breaks="The bars beside a picture are black, of which CLIP sees something.",
        find="torch.tensor(CLIP_MEAN).expand($len, $side, $side, 3).clone()",
        put="torch.zeros($len, $side, $side, 3)",
        caught_by="tests/unit/test_styles.py::test_pictures_become_squares_with_bars_of_what_clip_sees_as_nothing",
        promise="Style per Person: parity",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::ApplyIPAdapter.execute",
        breaks="At weight 0 the LoRA still changes the picture.",
        find="scopes.acting_cast(cls, $cast, $weight, $$rest)",
        put="scopes.acting_cast(cls, $cast, 1.0, $$rest)",
        caught_by="tests/host/test_ip_adapter.py::test_the_lora_has_no_range_and_is_off_with_everything_else",
        promise="IP-Adapter: off",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_injections",
        breaks="Two people have the weights of each other.",
        find="[$weight * $person.weight for $person in $people]",
        put="[$weight * $person.weight for $person in $people[::-1]]",
        caught_by=(
            "tests/host/test_weights.py::test_values_of_everybody_are_as_loud_as_that_person[LikenessApplyIPAdapter]"
        ),
        promise="IP-Adapter: weight",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_injections",
        breaks="Weights of people are ignored.",
        find="$weight * $person.weight",
        put="$weight",
        caught_by="tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyIPAdapter-cast]",
        promise="IP-Adapter: weight",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_injections",
        breaks="The negative reads the faces.",
        find="injections($loaded, $scope, $entries, $scales)",
        put="injections($loaded, $scope, $entries[::-1], $scales)",
        caught_by="tests/parity/test_ip_adapter_parity.py::test_sampling_equals_diffusers[FaceID]",
        promise="IP-Adapter: row order",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_face_inputs",
        breaks="Of FaceID the embedding has not the length 1.",
        find="normalize($rows, dim=-1)",
        put="$rows",
        caught_by="tests/parity/test_ip_adapter_parity.py::test_sampling_equals_diffusers[FaceID]",
        promise="IP-Adapter: parity",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_features_of_photos",
        breaks="CLIP is shown the wide cut instead of the aligned face.",
        find="if $condition:\n    $cut = $photos.loose",
        put="$cut = $photos.loose",
        caught_by="tests/parity/test_ip_adapter_parity.py::test_sampling_equals_diffusers[FaceID Plus v2 for SDXL]",
        promise="IP-Adapter: parity",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_features_of_photos",
        breaks="CLIP sees a face in the order of colours that the file was not made with.",
        find="if $condition:\n    $cut = $cut.flip(-1)",
        put="",
        caught_by=(
            "tests/parity/test_ip_adapter_parity.py"
            "::test_sampling_equals_diffusers[FaceID Plus v2 as the authors' notebook]"
        ),
        promise="IP-Adapter: pictures for networks",
    ),
    Defect(
        "nodes/ip_adapter/nodes.py::_features_of_photos",
        breaks="Of several photos CLIP is shown the first alone.",
        find="$seen.mean(dim=0, keepdim=True)",
        put="$seen[:1]",
        caught_by="tests/parity/test_ip_adapter_parity.py::test_sampling_equals_diffusers[FaceID Plus v2 for SDXL]",
        promise="IP-Adapter: second picture",
    ),
]
