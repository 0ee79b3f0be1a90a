"""Defects of nodes/infinite_you: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/infinite_you/net.py::shares_on_tokens",
        breaks="InfuseNet acts in all of a token or in nothing of it where a region covers a part.",
        find="'area'",
        put="'nearest'",
        caught_by="tests/parity/test_infinite_you_parity.py::test_sampling_equals_diffusers[two people, odd sides]",
        promise="InfiniteYou: region",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::_difference_from_infuse_net",
        breaks="A union ControlNet is taken for InfuseNet.",
        find="$network.num_union_modes",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[a union]",
        promise="InfiniteYou: wrong file",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::_difference_from_infuse_net",
        breaks="A ControlNet of other blocks is taken for InfuseNet.",
        find="$blocks != BLOCKS",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[other blocks]",
        promise="InfiniteYou: wrong file",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::check_infuse_net",
        breaks="A VAE of another family is taken.",
        find="$entries != ($channels, 2)",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[another VAE]",
        promise="InfiniteYou: wrong file",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet.get_control",
        breaks="A ControlNet before it in the chain is dropped.",
        find="$before.get_control($$arguments)",
        put="None",
        caught_by="tests/host/test_infinite_you.py::test_other_controlnets_before_and_after_add_up",
        promise="InfiniteYou: other packs",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet.get_control",
        breaks="start_percent and end_percent are ignored.",
        find="not $first >= $sigma[0] >= $last",
        put="False",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyInfiniteYou-end_percent]"
        ),
        promise="InfiniteYou: range",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet._make_passes",
        breaks="Two people have the weights of each other.",
        find="$scope.people",
        put="$scope.people[::-1]",
        caught_by="tests/parity/test_infinite_you_parity.py::test_sampling_equals_diffusers[two people, odd sides]",
        promise="InfiniteYou: weight",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet._make_passes",
        breaks="Two people act in each other's place.",
        find="$scope.regions",
        put="None if $scope.regions is None else $scope.regions.flip(0)",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[infinite_you, ApplyInfiniteYou]"
        ),
        promise="InfiniteYou: region",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet._make_passes",
        breaks="Of several people the first alone is shown to InfuseNet.",
        find="[slice($n, $n + 1) for $n in range($number)]",
        put="[slice(0, 1)]",
        caught_by="tests/parity/test_infinite_you_parity.py::test_sampling_equals_diffusers[two people, odd sides]",
        promise="InfiniteYou: second picture",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet._residuals_of_all",
        breaks="InfuseNet sees the whole picture in every pass.",
        find="$x if $seen is None else $x * $seen",
        put="$x",
        caught_by="tests/parity/test_infinite_you_parity.py::test_sampling_equals_diffusers[two people, odd sides]",
        promise="InfiniteYou: mask",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::InfuseNet._residuals_of_all",
        breaks="InfuseNet acts in the first person's region for everybody.",
        find="$each *= $shares",
        put="$each *= $shares.clamp(min=1)",
        caught_by="tests/parity/test_infinite_you_parity.py::test_sampling_equals_diffusers[two people, odd sides]",
        promise="InfiniteYou: region",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::ApplyInfiniteYou.execute",
        breaks="At strength 0 the net stands in the conditioning.",
        find="scopes.acting_cast(cls, $cast, $strength, $$rest, more=$more, **$where)",
        put="scopes.acting_cast(cls, $cast, 1.0, $$rest, more=$more, **$where)",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[infinite_you, ApplyInfiniteYou]",
        promise="InfiniteYou: off",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::_hint",
        breaks="Keypoints = off still shows the face keypoints.",
        find="$keypoints and $slot",
        put="$slot",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyInfiniteYou-keypoints]"
        ),
        promise="InfiniteYou: off",
    ),
    Defect(
        "nodes/infinite_you/nodes.py::_hint",
        breaks="InfuseNet is shown the keypoints of the first person for everybody.",
        find="for $face in $faces:\n    $shown = [] if $face is None else [$face]\n    $$body",
        put="for $face in $faces:\n    $shown = [] if $faces[0] is None else [$faces[0]]\n    $$body",
        caught_by="tests/parity/test_infinite_you_parity.py::test_sampling_equals_diffusers[two people, odd sides]",
        promise="InfiniteYou: second picture",
    ),
]
