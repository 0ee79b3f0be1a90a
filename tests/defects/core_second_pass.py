"""Defects of core/second_pass: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "core/second_pass/cutting.py::decide",
        breaks="Faces that are left as they are get painted over.",
        find="$box not in $chosen",
        put="$box in $chosen",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_people_without_a_face_are_cut_out_in_their_place_or_left"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::_decision",
        breaks="The feather of a mask is in pixels instead of face sizes.",
        find="$choice.feather * $longer",
        put="$choice.feather",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_a_mask_falls_to_nothing_within_its_square_but_not_where_the_picture_ends"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::paste_mask",
        breaks="A mask does not fall to 0 at the left and upper edge of its square.",
        find="if $left > 0:\n    $$at_left\nif $right < $width:\n    $$at_right\nif $top > 0:\n    $$at_top",
        put="if $left < 0:\n    $$at_left\nif $right < $width:\n    $$at_right\nif $top < 0:\n    $$at_top",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_a_mask_falls_to_nothing_within_its_square_but_not_where_the_picture_ends"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::paste_mask",
        breaks="A square at the edge of a picture has a soft rim there.",
        find="if $left > 0:\n    $$at_left\nif $right < $width:\n    $$at_right\nif $top > 0:\n    $$at_top",
        put="if $left >= 0:\n    $$at_left\nif $right < $width:\n    $$at_right\nif $top >= 0:\n    $$at_top",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_a_mask_falls_to_nothing_within_its_square_but_not_where_the_picture_ends"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::paste_mask",
        breaks="A mask falls to 0 at the edge of the picture.",
        find="if $right < $width:\n    $$at_right\nif $top > 0:\n    $$at_top\nif $below < $height:\n    $$at_bottom",
        put=(
            "if $right <= $width:\n    $$at_right\nif $top > 0:\n    $$at_top\nif $below <= $height:\n    $$at_bottom"
        ),
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_a_mask_falls_to_nothing_within_its_square_but_not_where_the_picture_ends"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::paste_mask",
        breaks="Faces that stay are pasted over.",
        find="1 - $box_region",
        put="1 + $box_region",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_people_without_a_face_are_cut_out_in_their_place_or_left"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::into_crop",
        breaks="A point of a turned crop is mirrored.",
        find="($y, $size - $x)",
        put="($size - $y, $x)",
        caught_by="tests/unit/test_second_pass_geometry.py::test_a_turned_face_stands_upright_in_its_crop[90-1]",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/cutting.py::cast_by_row",
        breaks="Rows of the cast carry the number in the list instead of the place.",
        find="$candidate.number",
        put="0",
        caught_by="tests/unit/test_second_pass_geometry.py::test_the_rows_of_the_batch_keep_the_numbers_of_the_places",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/drawing.py::_draw_frames",
        breaks="Cut out faces have thin frames in the preview, those that stay thick ones.",
        find="None if $crop else 1",
        put="1 if $crop else None",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_the_preview_shows_who_is_cut_out_and_counts_the_others"
        ),
        promise="previews",
    ),
    Defect(
        "core/second_pass/drawing.py::draw_crops",
        breaks="The preview of the second pass counts those left as cut out.",
        find="f'{counted($len, $$rest)} cut out, {$left} left as they are'",
        put="f'{counted($left, $$rest)} cut out, {$len} left as they are'",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_the_preview_shows_who_is_cut_out_and_counts_the_others"
        ),
        promise="previews",
    ),
    Defect(
        "core/second_pass/pasting.py::paste",
        breaks="Of two faces the one listed later lies on top, also where it is smaller.",
        find="sorted($zip, key=lambda $pair: $pair[0].face_side)",
        put="$zip",
        caught_by="tests/unit/test_second_pass_geometry.py::test_the_larger_of_two_faces_lies_on_top[heights1]",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/pasting.py::paste",
        breaks="Of two faces the smaller lies on top.",
        find="$pair.face_side",
        put="-$pair.face_side",
        caught_by="tests/unit/test_second_pass_geometry.py::test_the_larger_of_two_faces_lies_on_top[heights0]",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/pasting.py::_paste_crop",
        breaks="A crop is pasted back turned twice.",
        find="-$crop.turns",
        put="$crop.turns",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_untouched_crops_of_the_same_size_come_back_exactly[90]"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/pasting.py::_paste_crop",
        breaks="The colour of a pasted crop is matched to the crop itself.",
        find="match_colors($new, $original, $mask, $match)",
        put="match_colors($new, $new, $mask, $match)",
        caught_by="tests/unit/test_second_pass_geometry.py::test_colours_follow_what_lies_around_the_face",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/pasting.py::_paste_crop",
        breaks="A pasted picture loses its alpha.",
        find="min($shape, 3)",
        put="min($shape, 4)",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_outside_of_the_mask_nothing_changes_by_a_bit[around "
            "the face-4-kind0]"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/pasting.py::_paste_crop",
        breaks="Outside of the mask a picture changes by rounding.",
        find="torch.where($condition, $mixed, $colors)",
        put="$mixed",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_outside_of_the_mask_nothing_changes_by_a_bit[around "
            "the face-1-kind2]"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/pasting.py::match_colors",
        breaks="Crops keep the colours the sampler gave them.",
        find="AROUND_THE_FACE",
        put="'around'",
        caught_by="tests/unit/test_second_pass_geometry.py::test_colours_follow_what_lies_around_the_face",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/report_text.py::describe",
        breaks="Pictures are numbered from 0 in the words of the second pass.",
        find="$who.picture_index + 1",
        put="$who.picture_index",
        caught_by="tests/unit/test_second_pass_geometry.py::test_pictures_and_places_are_counted_from_one",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/selection.py::need_of",
        breaks="Who is not found is cut out though places are not to be used.",
        find="$choice.use_places",
        put="True",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_people_without_a_face_are_cut_out_in_their_place_or_left"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/selection.py::need_of",
        breaks="The height of a face is measured across.",
        find="$box[3] - $box[1]",
        put="$box[2] - $box[0]",
        caught_by="tests/unit/test_second_pass_geometry.py::test_who_needs_it[small faces-similarities0-expected0]",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/selection.py::need_of",
        breaks="Small faces are those larger than the bound.",
        find="$height < $choice.smaller_than",
        put="$height > $choice.smaller_than",
        caught_by="tests/unit/test_second_pass_geometry.py::test_who_needs_it[small faces-similarities0-expected0]",
        promise="second pass",
    ),
    Defect(
        "core/second_pass/selection.py::need_of",
        breaks="Small or unlike faces asks for both.",
        find="$needed = $small or $unlike",
        put="$needed = $small and $unlike",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_who_needs_it[small or unlike faces-similarities2-expected2]"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/troubles.py::_weakly_pasted_crops",
        breaks="A face whose soft edge leaves nine tenths of it is not said.",
        find="$share < _LEAST_OPACITY",
        put="$share > _LEAST_OPACITY",
        caught_by=(
            "tests/unit/test_second_pass_geometry.py::test_people_without_a_face_are_cut_out_in_their_place_or_left"
        ),
        promise="second pass",
    ),
    Defect(
        "core/second_pass/troubles.py::_weakly_pasted_crops",
        breaks="A soft edge that leaves nothing of the second pass is not said.",
        find="_LEAST_OPACITY",
        put="0",
        caught_by="tests/unit/test_second_pass_geometry.py::test_a_feather_larger_than_its_square_is_told[4.0-True]",
        promise="what may go wrong is said",
    ),
]
