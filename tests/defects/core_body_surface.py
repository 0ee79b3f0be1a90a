"""Defects of core/body_surface: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "core/body_surface/iuv.py::network_size",
        breaks="A photo is looked at with its longer side at 800 px.",
        find="min(SHORTER / $shorter, LONGEST / $longer)",
        put="SHORTER / $longer",
        caught_by="tests/unit/test_body_surface.py::test_photos_are_looked_at_in_detectrons_size",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/iuv.py::Surface.draw_body",
        breaks="A body that is less sure hides the surer one.",
        find="torch.where($shown, $cut, self.iuv[:, $rows, $columns])",
        put="torch.where(self.iuv[2:, $rows, $columns] > 0, self.iuv[:, $rows, $columns], $cut)",
        caught_by="tests/unit/test_body_surface.py::test_pictures_are_drawn_as_published[two overlap]",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/iuv.py::Surface.image",
        breaks="U and V of every pose are exchanged where the picture leaves the node.",
        find="$iuv.movedim",
        put="$iuv[[1, 0, 2]].movedim",
        caught_by="tests/unit/test_body_surface.py::test_pictures_are_drawn_as_published[one]",
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/iuv.py::_mean_column",
        breaks="People's masks are in the order of the network, not from left to right.",
        find="$nonzero[:, 1].float",
        put="$nonzero[:, 0].float",
        caught_by="tests/unit/test_body_surface.py::test_people_are_told_from_left_to_right",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/iuv.py::draw",
        breaks="What is no body is drawn as one.",
        find="_largest($$before) * $on_body",
        put="_largest($$before)",
        caught_by="tests/unit/test_body_surface.py::test_pictures_are_drawn_as_published[one]",
        promise="body surfaces",
    ),
    Defect(
        "core/body_surface/iuv.py::_coordinate_in_pixels",
        breaks="U and V below zero are cut, unlike in published pictures.",
        find="$scaled.clamp(_LEAST_COORDINATE, 255)",
        put="$scaled.clamp(0, 255)",
        caught_by="tests/unit/test_body_surface.py::test_pictures_are_drawn_as_published[one]",
        promise="body surfaces",
    ),
    Defect(
        "core/body_surface/part_masks.py::GROUPS",
        breaks="Upper arms and forearms are exchanged in masks.",
        find="GROUPS: $dict = $value",
        put=(
            "GROUPS: $dict = {**$value, 'upper_arms': PartNumbers((20, 22), (19, 21)), "
            "'forearms': PartNumbers((16, 18), (15, 17))}"
        ),
        caught_by="tests/unit/test_body_surface.py::test_parts_have_the_numbers_of_densepose[upper_arms left]",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/part_masks.py::GROUPS",
        breaks="Left and right of the shins are exchanged in masks.",
        find="PartNumbers((11, 13), (12, 14))",
        put="PartNumbers((12, 14), (11, 13))",
        caught_by="tests/unit/test_body_surface.py::test_parts_have_the_numbers_of_densepose[lower_legs right]",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/part_masks.py::GROUPS",
        breaks="Left and right of the feet are exchanged in masks.",
        find="PartNumbers((6,), (5,))",
        put="PartNumbers((5,), (6,))",
        caught_by="tests/unit/test_body_surface.py::test_parts_have_the_numbers_of_densepose[feet left]",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/part_masks.py::_numbers",
        breaks="Masks of the right side show the left.",
        find="if $side != 'left': $$right\nif $side != 'right': $$left",
        put="if $side != 'right': $$right\nif $side != 'left': $$left",
        caught_by="tests/unit/test_body_surface.py::test_masks_are_the_parts_that_were_chosen_of_each_person",
        promise="body surfaces",
    ),
    Defect(
        "core/body_surface/part_masks.py::part_masks",
        breaks="The mask of each person's jacket is that of another person.",
        find="$shown * $surface.person_masks",
        put="$shown * $surface.person_masks.flip(0)",
        caught_by="tests/unit/test_body_surface.py::test_masks_are_the_parts_that_were_chosen_of_each_person",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/iuv.py::over_photos",
        breaks="Bodies are shown over a stretched photo.",
        find="_placed($$before, $fit)",
        put="_placed($$before, 'stretch')",
        caught_by=(
            "tests/host/test_body_surface_nodes.py"
            "::test_a_photo_becomes_the_picture_of_its_bodies_at_the_size_of_the_canvas"
        ),
        promise="previews",
    ),
    Defect(
        "core/body_surface/iuv.py::over_photos",
        breaks="A photo shows through where the body is, and the surface beside it.",
        find="$surfaces > 0",
        put="$surfaces <= 0",
        caught_by="tests/unit/test_body_surface.py::test_a_surface_lies_over_the_photo_it_was_found_in",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/iuv.py::_placed",
        breaks="The surface over a photo is fitted the other way.",
        find="-$onto.shift_x",
        put="$onto.shift_x",
        caught_by="tests/unit/test_body_surface.py::test_a_surface_lies_over_the_photo_it_was_found_in",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/mannequin.py::_LEFT_OF",
        breaks="A mannequin's left arm has the parts of its inner side outside.",
        find="_LEFT_OF = $value",
        put="_LEFT_OF = {3: 4, 6: 5, 7: 8, 9: 10, 11: 12, 13: 14, 16: 17, 18: 15, 20: 19, 22: 21}",
        caught_by=(
            "tests/unit/test_body_surface.py::test_a_mannequin_is_a_densepose_picture_of_a_person_who_looks_at_us"
        ),
        promise="body surfaces",
    ),
    Defect(
        "core/body_surface/mannequin.py::_FOREARM",
        breaks="Forearms of a mannequin run from the wrist to the elbow.",
        find="(136, 97, 0)",
        put="(136, -97, 0)",
        caught_by=(
            "tests/unit/test_body_surface.py::test_a_mannequin_has_the_colours_of_published_poses[pose of Parts2Whole]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_HAND",
        breaks="Left hand of a mannequin has the colours of the right one.",
        find="_Chart(4, (185, 10, -18), (110, 95, 40))",
        put="_Chart(4, (60, -17, 16), (102, 74, 40))",
        caught_by=(
            "tests/unit/test_body_surface.py"
            "::test_a_mannequin_has_the_colours_of_published_poses[DensePose, from the front]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_THIGH",
        breaks="U and V of a mannequin's thighs are exchanged.",
        find="_both_sides($chart)",
        put="_both_sides(_Chart(9, (140, -40, -75), (133, -103, 0)))",
        caught_by=(
            "tests/unit/test_body_surface.py"
            "::test_a_mannequin_has_the_colours_of_published_poses[DensePose, from the front]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_SHIN",
        breaks="Shins of a mannequin have their inner side outside.",
        find="70",
        put="-70",
        caught_by=(
            "tests/unit/test_body_surface.py"
            "::test_a_mannequin_has_the_colours_of_published_poses[DensePose, from the front]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_SHIN",
        breaks="Shins of a mannequin run from the ankle up.",
        find="115",
        put="-115",
        caught_by=(
            "tests/unit/test_body_surface.py"
            "::test_a_mannequin_has_the_colours_of_published_poses[DensePose, from the front]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_FOOT",
        breaks="Feet of a mannequin are turned about: heels where the toes are.",
        find="(130, 55, 12)",
        put="(130, -55, 12)",
        caught_by=(
            "tests/unit/test_body_surface.py"
            "::test_a_mannequin_has_the_colours_of_published_poses[DensePose, from the front]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_TORSO_BEHIND",
        breaks="Torso of a mannequin seen from behind is mirrored.",
        find="-106",
        put="106",
        caught_by=(
            "tests/unit/test_body_surface.py"
            "::test_a_mannequin_has_the_colours_of_published_poses[DensePose, from behind]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::draw_layout",
        breaks="A front row is drawn behind the others.",
        find="$place[1].center[1]",
        put="-$place[1].center[1]",
        caught_by="tests/unit/test_body_surface.py::test_the_front_row_is_drawn_over_the_others",
        promise="body surfaces",
    ),
    Defect(
        "core/body_surface/mannequin.py::_Figure._limb",
        breaks="Limbs of a mannequin that is seen from behind have the charts of the front.",
        find="$limb.front if self.front else $limb.behind",
        put="$limb.behind if self.front else $limb.front",
        caught_by=(
            "tests/unit/test_body_surface.py::test_a_mannequin_has_the_colours_of_published_poses[pose of Parts2Whole]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/mannequin.py::_HAND_FROM_WRIST",
        breaks="A hand of a mannequin points back along the arm.",
        find="(0.1, 0.42)",
        put="(-0.1, -0.42)",
        caught_by=(
            "tests/unit/test_body_surface.py::test_a_mannequin_has_the_colours_of_published_poses[pose of Parts2Whole]"
        ),
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/mannequin.py::_Figure._foot",
        breaks="Toes of a mannequin point inwards.",
        find="($ankle + $side, $ankle_2)",
        put="($ankle - $side, $ankle_2)",
        caught_by="tests/unit/test_body_surface.py::test_the_toes_of_a_mannequin_point_outwards",
        promise="Parts2Whole: body surfaces",
    ),
    Defect(
        "core/body_surface/mannequin.py::_head_charts",
        breaks="Right and left half of a mannequin's face are exchanged.",
        find=(
            "(_Chart(23, ($across - $right * $seam, $$right_rest), $$right_more), _Chart(24, ($$left), $$left_more))"
        ),
        put=("(_Chart(24, ($across - $right * $seam, $$right_rest), $$right_more), _Chart(23, ($$left), $$left_more))"),
        caught_by=(
            "tests/unit/test_body_surface.py::test_a_mannequin_has_the_colours_of_published_poses[pose of Parts2Whole]"
        ),
        promise="Parts2Whole: poses are as the pose guider was trained",
    ),
    Defect(
        "core/body_surface/network.py::_levels_of",
        breaks="A body is cut out of another level of the pyramid than detectron2 cuts it out of.",
        find="(4 + $log2).floor",
        put="(5 + $log2).floor",
        caught_by=(
            "tests/parity/test_densepose_parity.py::test_bodies_and_their_surface_are_those_of_a_port_of_detectron2"
        ),
        promise="parity",
    ),
    Defect(
        "core/body_surface/network.py::DensePose.forward",
        breaks="DensePose sees red and blue exchanged.",
        find="$float.flip(0)",
        put="$float",
        caught_by=(
            "tests/parity/test_densepose_parity.py::test_bodies_and_their_surface_are_those_of_a_port_of_detectron2"
        ),
        promise="parity",
    ),
]
