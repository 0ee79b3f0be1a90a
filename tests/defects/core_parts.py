"""Defects of core/parts: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "core/parts/bank.py::token_mask",
        breaks="A mask at a layer's grid is not widened by a token.",
        find="functional.conv2d($small, $$rest, padding=1).clamp(0, 1)",
        put="$small",
        caught_by="tests/parity/test_parts2whole_parity.py::test_the_bank_equals_the_authors",
        promise="Parts2Whole: parity",
    ),
    Defect(
        "core/parts/bank.py::_in_cells",
        breaks="A part lies outside of the piece of its latent.",
        find="($left, $top, $ceil, math.ceil($below / $units))",
        put="($left, $top, $ceil, $below // $units)",
        caught_by="tests/unit/test_parts.py::test_all_of_a_part_that_counts_lies_in_its_window[sd15-(1032, 776)]",
        promise="parts",
    ),
    Defect(
        "core/parts/bank.py::window",
        breaks="The window around a mask cuts off what counts of a part.",
        find=(
            "(min($lefts) * $cell, min($tops) * $cell, min(max($rights) * $cell, $width), min(max($belows) "
            "* $cell, $height))"
        ),
        put=(
            "(max($lefts) * $cell, max($tops) * $cell, min(min($rights) * $cell, $width), min(min($belows) "
            "* $cell, $height))"
        ),
        caught_by="tests/unit/test_parts.py::test_all_of_a_part_that_counts_lies_in_its_window",
        promise="Share Parts Attention: region",
    ),
    Defect(
        "core/parts/bank.py::Inside.of",
        breaks="What a mask takes away of a part still counts.",
        find="$states * self.weights",
        put="$states",
        caught_by="tests/unit/test_parts.py::test_the_sink_equals_dense_zeros",
        promise="Parts2Whole: mask",
    ),
    Defect(
        "core/parts/bank.py::key_bias",
        breaks="The target mask of a part is ignored.",
        find="$weights[:, None] * $regions",
        put="$weights[:, None] * torch.ones_like($regions)",
        caught_by="tests/unit/test_parts.py::test_in_half_precision_the_sinks_weigh_as_much_as_what_they_stand_for",
        promise="Parts2Whole: mask",
    ),
    Defect(
        "core/parts/bank.py::key_bias",
        breaks="Dropped tokens take no share of the softmax.",
        find="_sinks($sum, $dtype)",
        put="_sinks($sum * 0 + 1, $dtype)",
        caught_by="tests/unit/test_parts.py::test_the_sink_equals_dense_zeros",
        promise="Parts2Whole: parity",
    ),
    Defect(
        "core/parts/bank.py::key_bias",
        breaks="The weight of a part does not scale its dropped tokens.",
        find="($weights * $dropped).sum",
        put="($weights.clamp(min=1) * $dropped).sum",
        caught_by="tests/unit/test_parts.py::test_the_sink_equals_dense_zeros",
        promise="Parts2Whole: weight",
    ),
    Defect(
        "core/parts/bank.py::_sinks",
        breaks="In bfloat16 the sinks are off by up to three percent.",
        find="torch.finfo($dtype).bits >= 32",
        put="True",
        caught_by="tests/unit/test_parts.py::test_in_half_precision_the_sinks_weigh_as_much_as_what_they_stand_for",
        promise="Parts2Whole: half",
    ),
    Defect(
        "core/parts/bank.py::_sinks",
        breaks="In half precision dropped tokens weigh too much.",
        find="(16 * $log).floor() / 16",
        put="$log",
        caught_by=(
            "tests/unit/test_parts.py::test_in_half_precision_the_sinks_weigh_as_much_as_what_they_stand_for[60-dtype0]"
        ),
        promise="parts",
    ),
    Defect(
        "core/parts/parts.py::make_part",
        breaks="A part of which the mask leaves nothing vanishes in silence.",
        find="$weight > 0 and $channel is not None and (not $channel.any())",
        put="False",
        caught_by="tests/unit/test_parts.py::test_a_part_that_would_vanish_is_refused",
        promise="Parts2Whole: wrong value",
    ),
    Defect(
        "core/parts/parts.py::_together",
        breaks="Two masks of one part (two shoes): the first alone counts.",
        find="$as_masks.amax(0)",
        put="$as_masks[0]",
        caught_by="tests/unit/test_parts.py::test_several_masks_are_one_part_in_pieces",
        promise="Parts2Whole: second picture",
    ),
    Defect(
        "core/parts/remarks.py::of_part",
        breaks="A mask of the background is not said.",
        find="$share > _INVERTED or $condition",
        put="$share > 2 and $condition",
        caught_by="tests/unit/test_parts.py::test_what_works_but_may_not_be_meant_is_said",
        promise="what may go wrong is said",
    ),
    Defect(
        "core/parts/remarks.py::stretched",
        breaks="A part that keeps its shape is said to be stretched.",
        find="$shape * $height / $width",
        put="$shape * $width / $height",
        caught_by="tests/unit/test_parts.py::test_what_works_but_may_not_be_meant_is_said",
        promise="parts",
    ),
    Defect(
        "core/parts/resizing.py::resized",
        breaks="A part is cut out with all that lies beside it, as if no mask were given.",
        find="$alpha if $part.mask is None else $resized",
        put="$alpha",
        caught_by="tests/host/test_miniature.py::test_every_part_is_worn_in_its_region[3 parts-2]",
        promise="Parts2Whole: a picture shows each part in its region",
    ),
    Defect(
        "core/parts/resizing.py::pose_picture",
        breaks="Pose pictures are fitted with sides exchanged.",
        find="($height, $width)",
        put="($width, $height)",
        caught_by="tests/unit/test_parts.py::test_pose_pictures_of_the_right_size_stay_bit_for_bit",
        promise="parts",
    ),
    Defect(
        "core/parts/remarks.py::pose_hint",
        breaks="The right pose picture is said to be no IUV.",
        find="(..., 2)",
        put="(..., 0)",
        caught_by=(
            "tests/unit/test_body_surface.py::test_a_mannequin_is_a_densepose_picture_of_a_person_who_looks_at_us"
        ),
        promise="parts",
    ),
    Defect(
        "core/parts/resizing.py::targets",
        breaks="A part without a target is seen nowhere.",
        find="torch.ones(1, 1)",
        put="torch.zeros(1, 1)",
        caught_by="tests/unit/test_parts.py::test_targets_are_everywhere_where_none_is_given",
        promise="parts",
    ),
    Defect(
        "core/parts/cut_outs.py::cut",
        breaks="A part is cut out on black.",
        find="$kept + (1 - $share)",
        put="$kept",
        caught_by="tests/unit/test_parts.py::test_a_part_is_cut_out_on_white_in_the_middle_of_a_square",
        promise="parts",
    ),
    Defect(
        "core/parts/cut_outs.py::cut",
        breaks="A part is cut out to the upper left of its square.",
        find="$above = ($side - $height) // 2\n$beside = ($side - $width) // 2",
        put="$above = 0\n$beside = 0",
        caught_by="tests/unit/test_parts.py::test_a_part_is_cut_out_on_white_in_the_middle_of_a_square",
        promise="parts",
    ),
    Defect(
        "core/parts/cut_outs.py::cut",
        breaks="A garment is compared in the corner of its picture.",
        find="(0, 0, $left, $side - $left, $top, $side_2 - $top)",
        put="(0, 0, 0, $side, 0, $side_2)",
        caught_by="tests/host/test_measure_nodes.py::test_garments_are_compared_with_their_regions[clip_vision]",
        promise="measuring",
    ),
    Defect(
        "core/parts/drawing.py::sheet",
        breaks="What does not count of a part is seen as bright as what counts.",
        find="$mask[..., None]",
        put="torch.ones_like($mask[..., None])",
        caught_by="tests/unit/test_parts.py::test_what_does_not_count_is_dim_in_the_sheet",
        promise="parts",
    ),
]
