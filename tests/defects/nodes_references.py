"""Defects of nodes/references: tests/support/anchors.py says what each field means."""

from anchors import Defect

PARITY = "tests/parity/test_references_parity.py"
TOGETHER = "tests/host/test_people_on_transformers.py"
ALL = TOGETHER + "::test_a_person_everywhere_with_all_is_the_merged_network_on_their_text_with_their_references"
DEFECTS = [
    Defect(
        "nodes/references/by_region.py::PaddedReferencesBatch.prepared",
        breaks="In the refiner of Z-Image's texts the text beside a person's reference is read by all.",
        find="$stack.enter_context($name.standing())",
        put="pass",
        caught_by=PARITY + "::test_split_is_masked[two-Z-Image]",
        promise="People as References by region: Z-Image",
    ),
    Defect(
        "nodes/references/by_region.py::PaddedReferencesBatch.split",
        breaks="In the refiner of Z-Image's pictures all of the picture reads all references.",
        find="if $place == LAYERS and $queries == $pictures:\n    $place = _PICTURES",
        put="",
        caught_by=PARITY + "::test_split_is_masked[two-Z-Image]",
        promise="People as References by region: Z-Image",
    ),
    Defect(
        "nodes/references/by_region.py::RegionalReferencesBatch._begin",
        breaks="A person's words and LoRA do not act on the person's references.",
        find="begin_references($people)",
        put="",
        caught_by=ALL + "[Krea 2-Anna]",
        promise="People as References by region: with words and LoRAs",
    ),
    Defect(
        "nodes/references/by_region.py::RegionalReferencesRun._make_batch",
        breaks="On Z-Image tokens that fill the picture up shift the regions of the picture.",
        find="functional.pad($regions, (0, $fill))",
        put="functional.pad($regions, ($fill, 0))",
        caught_by=PARITY + "::test_split_is_masked[two-Z-Image]",
        promise="People as References by region: Z-Image",
    ),
    Defect(
        "nodes/references/frame_texts.py::_with_one_row_of_positions",
        breaks="A batch of Z-Image with references stops with an error of torch.",
        find="{**$options, 'bsz': 1}",
        put="$options",
        caught_by=PARITY + "::test_split_is_masked[two-Z-Image]",
        promise="People as References: rows of Z-Image",
    ),
    Defect(
        "nodes/references/encoding.py::_encoded_row",
        breaks="A prompt of Mage-Flow without pictures has the template of one with pictures.",
        find="if $family.numbers_pictures: $$body",
        put="",
        caught_by="tests/host/test_cast_references.py::test_mage_flow_is_given_what_the_hosts_own_node_gives_it",
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/encoding.py::_shown_size",
        breaks="The text encoder of Mage-Flow is shown pictures as large as that of Qwen-Image.",
        find="not $family.longest_shown",
        put="True",
        caught_by="tests/host/test_cast_references.py::test_the_encoder_of_mage_flow_is_shown_pictures_as_large_as_by_the_hosts_own_node",
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/nodes.py::PeopleAsReferences.execute",
        breaks="Without a negative prompt Mage-Flow is given another text than by its own node in the host.",
        find="$negative_prompt or $family.empty_negative",
        put="$negative_prompt",
        caught_by="tests/host/test_cast_references.py::test_mage_flow_is_given_what_the_hosts_own_node_gives_it",
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/encoding.py::_scaled",
        breaks="Reference pictures of Mage-Flow are scaled as those of Qwen-Image are.",
        find="common_upscale($pictures, $width, $height, upscale_method=$scaling, crop='disabled')",
        put="common_upscale($pictures, $width, $height, upscale_method='area', crop='disabled')",
        caught_by="tests/host/test_cast_references.py::test_mage_flow_is_given_what_the_hosts_own_node_gives_it",
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/encoding.py::_method_of",
        breaks="Krea 2 does not read its references, and says nothing.",
        find="return $family.reference_method",
        put="return ''",
        caught_by=(
            "tests/host/test_cast_references.py"
            "::test_krea_2_is_given_what_the_hosts_chain_of_references_and_their_method_gives_it"
        ),
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/encoding.py::_frame_texts",
        breaks="Z-Image is not given the text behind the prompt.",
        find="$templates.append(_FRAME_BEHIND)",
        put="pass",
        caught_by="tests/host/test_cast_references.py::test_z_image_is_given_what_the_hosts_own_node_gives_it",
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/net.py::on_tokens",
        breaks="At the right edge of odd sizes tokens belong to nobody.",
        find="functional.pad($$before, mode='replicate')",
        put="functional.pad($$before)",
        caught_by="tests/unit/test_split_attention.py::test_a_token_belongs_to_whom_at_least_half_of_it_is",
        promise="People as References by region: region",
    ),
    Defect(
        "nodes/references/net.py::on_tokens",
        breaks="A token of which a person has a tenth is theirs.",
        find="return $shares >= 0.5",
        put="return $shares >= 0.1",
        caught_by="tests/unit/test_split_attention.py::test_a_token_belongs_to_whom_at_least_half_of_it_is",
        promise="People as References by region: region",
    ),
    Defect(
        "nodes/references/net.py::groups",
        breaks="Outside = everybody is ignored.",
        find=("if $everybody:\n    $allowed = $allowed_2"),
        put="",
        caught_by="tests/unit/test_split_attention.py::test_split_is_masked_with_and_without_queries_of_references",
        promise="People as References by region: off",
    ),
    Defect(
        "nodes/references/net.py::groups",
        breaks="Text reads the references of people.",
        find="torch.zeros",
        put="torch.ones",
        caught_by="tests/unit/test_split_attention.py::test_split_is_masked_with_and_without_queries_of_references",
        promise="People as References by region: mask",
    ),
    Defect(
        "nodes/references/net.py::groups",
        breaks="References of people read each other.",
        find="$same = $owners == _number($$owner)",
        put="$same = $owners >= 0",
        caught_by="tests/unit/test_split_attention.py::test_split_is_masked_with_and_without_queries_of_references",
        promise="People as References by region: mask",
    ),
    Defect(
        "nodes/references/net.py::groups",
        breaks="What belongs to nobody (a room, a pose) is heard by nobody.",
        find="$asking | ($owners == $nobody)",
        put="$asking",
        caught_by="tests/unit/test_split_attention.py::test_split_is_masked_with_and_without_queries_of_references",
        promise="People as References by region: mask",
    ),
    Defect(
        "core/token_groups.py::split_attention",
        breaks="The answers of a group stand in the places of another.",
        find="$out.index_copy_($token_dim, $group.queries, $part)",
        put="$out.index_copy_($token_dim, $group.queries.flip(0), $part)",
        caught_by="tests/unit/test_split_attention.py::test_split_is_masked_with_and_without_queries_of_references",
        promise="People as References by region: row order",
    ),
    Defect(
        "nodes/references/by_region.py::RegionalReferences.on_tokens",
        breaks="Two people's references are read in each other's place.",
        find="on_tokens($regions, $$rest)",
        put="on_tokens($regions.flip(0), $$rest)",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right"
            "[references, PeopleAsReferences, by region]"
        ),
        promise="People as References by region: region",
    ),
    Defect(
        "nodes/references/pictures.py::_portraits",
        breaks="References have red and blue exchanged.",
        find="$loose.float",
        put="$loose.flip(-1).float",
        caught_by="tests/host/test_cast_references.py::test_qwen_is_given_what_the_hosts_own_node_gives_it",
        promise="People as References: pictures for networks",
    ),
    Defect(
        "nodes/references/pictures.py::_portraits",
        breaks="The last photos of a person become references instead of the first.",
        find="$loose[:$photos, None]",
        put="$loose[-$photos:, None]",
        caught_by=(
            "tests/unit/test_references.py::test_the_first_photos_of_everybody_become_references_in_their_order"
        ),
        promise="People as References: pictures for networks",
    ),
    Defect(
        "nodes/references/pictures.py::resized",
        breaks="Reference pictures have a side that the host's nodes would not give them.",
        find="$across = round($width)\n$down = round($height)",
        put="$across = int($width)\n$down = int($height)",
        caught_by="tests/unit/test_references.py::test_pictures_are_resized_as_the_hosts_nodes_do",
        promise="People as References: parity",
    ),
    Defect(
        "nodes/references/pictures.py::_place_names",
        breaks="Who stands behind others is told to stand in front.",
        find="('back', 'front')",
        put="('front', 'back')",
        caught_by="tests/unit/test_references.py::test_places_are_told_as_a_viewer_sees_them",
        promise="People as References: region",
    ),
    Defect(
        "nodes/references/pictures.py::_place_names",
        breaks="Left and right are told as the people see them, not as a viewer does.",
        find="sorted($$before)",
        put="sorted($$before, reverse=True)",
        caught_by="tests/unit/test_references.py::test_places_are_told_as_a_viewer_sees_them",
        promise="People as References: row order",
    ),
    Defect(
        "nodes/references/pictures.py::_place_names",
        breaks="Left and right are exchanged in the sentences of references.",
        find="('left', 'right')",
        put="('right', 'left')",
        caught_by="tests/unit/test_references.py::test_places_are_told_as_a_viewer_sees_them[slots1-said1]",
        promise="People as References: pictures for networks",
    ),
]
