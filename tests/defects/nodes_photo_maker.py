"""Defects of nodes/photo_maker: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "nodes/photo_maker/net.py::Fuse.forward",
        breaks="Class word and tokens change places where they are fused.",
        find="[$words, $tokens]",
        put="[$tokens, $words]",
        caught_by=(
            "tests/parity/test_photo_maker_parity.py::test_tokens_and_fused_words_equal_the_released_modules[1]"
        ),
        promise="PhotoMaker: parity",
    ),
    Defect(
        "nodes/photo_maker/net.py::PhotoMakerNet.tokens",
        breaks="Of v2 the tokens miss what the face's embedding says.",
        find="self.qformer_perceiver($$before)",
        put="self.qformer_perceiver($$before, None)",
        caught_by=(
            "tests/parity/test_photo_maker_parity.py::test_tokens_and_fused_words_equal_the_released_modules[2]"
        ),
        promise="PhotoMaker: parity",
    ),
    Defect(
        "nodes/photo_maker/net.py::PhotoMakerNet.tokens",
        breaks="The two projections of a photo change places.",
        find="[$visual_projection, $visual_projection_2]",
        put="[$visual_projection_2, $visual_projection]",
        caught_by=(
            "tests/parity/test_photo_maker_parity.py::test_tokens_and_fused_words_equal_the_released_modules[1]"
        ),
        promise="PhotoMaker: parity",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_check_class_words",
        breaks="A prompt with fewer triggers than people is taken.",
        find="len($here) != len($people)",
        put="False",
        caught_by="tests/unit/test_class_words.py::test_triggers_that_are_not_those_of_the_people",
        promise="PhotoMaker: wrong value",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_check_class_words",
        breaks="A trigger without a word before it is taken.",
        find="min($places, default=0) < 0",
        put="False",
        caught_by="tests/unit/test_class_words.py::test_triggers_that_are_not_those_of_the_people",
        promise="PhotoMaker: wrong value",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_check_class_words",
        breaks="One word with two triggers is taken for two people.",
        find="$at_start or len(set($places)) < len($places)",
        put="$at_start",
        caught_by="tests/unit/test_class_words.py::test_triggers_that_are_not_those_of_the_people",
        promise="PhotoMaker: wrong value",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_without_triggers",
        breaks="The trigger word stays in the prompt.",
        find="[$one for $n, $one in enumerate($tokens) if $any]",
        put="$tokens",
        caught_by="tests/unit/test_class_words.py::test_class_words_stand_once_for_each_token",
        promise="PhotoMaker: parity",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_in_chunks",
        breaks="More photos than a text holds are taken.",
        find="if $most > $room:\n    raise $error",
        put="",
        caught_by="tests/unit/test_class_words.py::test_what_cannot_be_laid_out_is_refused",
        promise="PhotoMaker: wrong value",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_in_chunks",
        breaks="Of two class words only the first is repeated for the photos.",
        find=(
            "for $n, $token in enumerate($tokens):\n"
            "    $run = [$token] * $copies.get($n, 1)\n"
            "    $$between\n"
            "    if $n in $copies:\n"
            "        $$before\n"
            "        $places.append($place)\n"
            "    $$after"
        ),
        put=(
            "for $n, $token in enumerate($tokens):\n"
            "    $run = [$token] * ($copies.get($n, 1) if not $places else 1)\n"
            "    $$between\n"
            "    if $n in $copies:\n"
            "        $$before\n"
            "        $places.append($place)\n"
            "    $$after"
        ),
        caught_by="tests/unit/test_class_words.py::test_class_words_stand_once_for_each_token",
        promise="PhotoMaker: second picture",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_in_chunks",
        breaks="A class word is torn in two at the end of a chunk.",
        find="$len + len($run) > $room",
        put="$len >= $room",
        caught_by="tests/unit/test_class_words.py::test_class_words_stand_once_for_each_token",
        promise="PhotoMaker: parity",
    ),
    Defect(
        "nodes/photo_maker/class_words.py::_in_chunks",
        breaks="The class word stands a token too far.",
        find="$len + 1",
        put="$len",
        caught_by="tests/unit/test_class_words.py::test_class_words_stand_once_for_each_token",
        promise="PhotoMaker: parity",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::PhotoMaker.tokens",
        breaks="PhotoMaker sees photos with red and blue exchanged.",
        find="$loose / 255",
        put="$loose.flip(-1) / 255",
        caught_by=(
            "tests/parity/test_photo_maker_parity.py::test_tokens_and_fused_words_equal_the_released_modules[1]"
        ),
        promise="PhotoMaker: pictures for networks",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::PhotoMaker.fused",
        breaks="The weight of a person is ignored.",
        find="$word.lerp($fuse_module, $weight)",
        put="$fuse_module",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyPhotoMaker-weight]"
        ),
        promise="PhotoMaker: weight",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::encode_prompt",
        breaks="Everybody has the first person's weight.",
        find="$people[$n].weight",
        put="$people[0].weight",
        caught_by="tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyPhotoMaker-cast]",
        promise="PhotoMaker: weight",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::encode_prompt",
        breaks="The fused token of the second person is put where the first stands.",
        find="$loaded.fused($context, $places[$n], $tokens, $weight)",
        put="$loaded.fused($context, $places[0], $tokens, $weight)",
        caught_by="tests/host/test_photo_maker.py::test_each_class_word_becomes_its_own_person",
        promise="PhotoMaker: second picture",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::encode_prompt",
        breaks="Two people have the weights of each other.",
        find="$people[$n].weight",
        put="$people[-1 - $n].weight",
        caught_by=(
            "tests/host/test_weights.py"
            "::test_class_words_of_everybody_are_as_far_from_plain_words_as_that_person_is_loud"
        ),
        promise="PhotoMaker: weight",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::_limited_to_regions",
        breaks="The second person's words are heard in the first one's region.",
        find=(
            "for $word, $region in zip($class_words, $regions, $$strict):\n"
            "    $bound = replace(inline_text($place, $copies, $region, $canvas), $$trained)\n"
            "    $$body"
        ),
        put=(
            "for $word, $region in zip($class_words, $regions, $$strict):\n"
            "    $bound = replace(inline_text($place, $copies, $regions[0], $canvas), $$trained)\n"
            "    $$body"
        ),
        caught_by=(
            "tests/parity/test_photo_maker_parity.py"
            "::test_sampling_equals_a_plain_loop[two people by masks, ControlNet]"
        ),
        promise="PhotoMaker: region",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::_limited_to_regions",
        breaks="The words of each person are read in the other's region.",
        find="zip($class_words, $regions, strict=True)",
        put="zip($class_words, $regions.flip(0), strict=True)",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[photo_maker, ApplyPhotoMaker]"
        ),
        promise="PhotoMaker: region",
    ),
    Defect(
        "nodes/photo_maker/nodes.py::ApplyPhotoMaker.execute",
        breaks="The person is in the words from the start, whatever start_percent says.",
        find="changed_at($before, $after, $start_percent)",
        put="changed_at($before, $after, 0.0)",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyPhotoMaker-start_percent]"
        ),
        promise="PhotoMaker: range",
    ),
]
