"""Defects of bridge, bridge/self_attention: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "bridge/body_surface.py::_bodies",
        breaks="All bodies are drawn where one was asked for.",
        find="$bodies.surest($most)",
        put="$bodies.surest(0)",
        caught_by="tests/host/test_body_surface_nodes.py::test_at_most_so_many_bodies_are_drawn",
        promise="body surfaces",
    ),
    Defect(
        "bridge/conditioning.py::changed_at",
        breaks="The range that another node gave to an entry is overwritten.",
        find="$start = $options.get('clip_start_percent', 0.0)\n$end = $options.get('clip_end_percent', 1.0)",
        put="$start = 0.0\n$end = 1.0",
        caught_by="tests/host/test_id_patch_apply.py::test_ranges_set_in_front_behind_and_by_a_clip_schedule_hold",
        promise="ID-Patch: range",
    ),
    Defect(
        "bridge/conditioning.py::changed_at",
        breaks="At the very percentage both texts are read.",
        find="$percent - _BEFORE_THE_PERCENTAGE",
        put="$percent",
        caught_by="tests/host/test_id_patch_apply.py::test_the_switch_happens_at_the_percentage",
        promise="ID-Patch: range",
    ),
    Defect(
        "bridge/conditioning.py::changed_at",
        breaks="ID tokens are on from the start, whatever id_start_percent says.",
        find="$percent - _BEFORE_THE_PERCENTAGE",
        put="0.0 - _BEFORE_THE_PERCENTAGE",
        caught_by="tests/host/test_id_patch_apply.py::test_the_switch_happens_at_the_percentage",
        promise="ID-Patch: range",
    ),
    Defect(
        "bridge/control_nets/attachment.py::Attachment.attach_to_both",
        breaks="An old Apply ControlNet acts on the positive alone.",
        find="$negative = with_nets_of_positive($positive, $negative)",
        put="",
        caught_by="tests/host/test_old_control_nets.py::test_an_old_net_on_the_positive_is_on_the_negative_too",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/control_nets/attachment.py::Attachment._copy_after",
        breaks="Another ControlNet of the chain is dropped.",
        find="$copy.set_previous_controlnet($previous)",
        put="",
        caught_by="tests/host/test_id_patch_apply.py::test_another_control_net_stays_in_the_chain",
        promise="ID-Patch: other packs",
    ),
    Defect(
        "bridge/control_nets/attachment.py::with_nets_of_positive",
        breaks="Of two old nets on two entries the negative gets the first.",
        find="$number = $numbers[$turn % len($numbers)]",
        put=("$number = $numbers[$turn % len($numbers)]\nif $turn:\n    break"),
        caught_by="tests/host/test_old_control_nets.py::test_two_old_nets_and_several_entries",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/areas.py::hint_of_area",
        breaks="Every area is shown the upper left corner of the picture.",
        find="return $whole[..., $y:$y + $height, $x:$x + $width]",
        put="return $whole[..., :$height, :$width]",
        caught_by="tests/host/test_areas.py::test_a_net_is_shown_the_part_of_its_picture_that_the_area_is",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_AttachedNet.__deepcopy__",
        breaks="InstantID's net does nothing behind a pack that makes deep copies of prompts.",
        find="$copied = self.copy()",
        put="$copied = self.copy()\n$copied.source = object()",
        caught_by=(
            "tests/promises/test_other_packs.py::"
            "test_a_deep_copy_of_the_prompts_gives_the_same_picture[instant_id, ApplyInstantID]"
        ),
        promise="InstantID: other packs",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_AttachedNet.__deepcopy__",
        breaks="A deep copy of a net loses the ControlNets before it.",
        find="$copied.previous_controlnet = $chain",
        put="pass",
        caught_by=(
            "tests/host/test_id_patch_apply.py::test_a_deep_copy_has_the_network_of_the_net_and_a_chain_of_its_own"
        ),
        promise="ID-Patch: other packs",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_AttachedNet._check_text_width",
        breaks="ID-Patch before a transformer ends in an error of its layers.",
        find="raise $wrongbasemodel",
        put="pass",
        caught_by=(
            "tests/host/test_refused.py::test_it_is_refused_where_it_is_seen[FLUX.2 at the sampler of ID-Patch]"
        ),
        promise="templates: refused by name",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_AttachedNet.get_control",
        breaks="What another pack gives the chain to read (faces) is read instead of the text.",
        find="{$key: $value for $key, $value in $cond.items() if $condition}",
        put="$cond",
        caught_by="tests/host/test_id_patch_apply.py::test_faces_that_another_pack_gives_to_the_chain_are_not_read",
        promise="ID-Patch: other packs",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_AttachedNet._part_of_hint",
        breaks="All areas of one size are shown the part of the first.",
        find="return $hints[$key]",
        put="return next(iter($hints.values()))",
        caught_by="tests/host/test_areas.py::test_a_net_is_shown_the_part_of_its_picture_that_the_area_is",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_AttachedNet._part_of_hint",
        breaks="A net is shown the first pictures of the hint in every window of a batch.",
        find="$hint[list($window)]",
        put="$hint[: len($window)]",
        caught_by="tests/host/test_batch_windows.py::test_a_batch_in_windows_is_the_batch_as_a_whole",
        promise="ID-Patch: other packs",
    ),
    Defect(
        "bridge/control_nets/attached_net.py::_Timesteps.to",
        breaks="A ControlNet in 16 bits is told rounded timesteps.",
        find="$as_subclass.float",
        put="$as_subclass.bfloat16().float",
        caught_by="tests/host/test_id_patch_apply.py::test_ours_alone_of_a_chain_is_told_what_the_unet_is_told",
        promise="ID-Patch: half",
    ),
    Defect(
        "bridge/conditioning.py::check_control_net",
        breaks="A ControlNet of FLUX ends in an error of its layers.",
        find="if hasattr($model, 'controlnet_blocks'): $$body",
        put="if hasattr($model, 'controlnet_blocks'): pass",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[FLUX.1's ControlNet]",
        promise="templates: refused by name",
    ),
    Defect(
        "bridge/transformers/blocks.py::BlocksRun.batch_for_forward",
        breaks="A window of the schedule is ignored.",
        find="$any and $is_on",
        put="$any",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyWithAnyone-end_percent]"
        ),
        promise="WithAnyone: range",
    ),
    Defect(
        "bridge/transformers/blocks.py::_rows_with_people",
        breaks="Of people with a row each everybody is in the first.",
        find="$one.for_picture($n)",
        put="$one.of(0)",
        caught_by=(
            "tests/promises/test_rows.py::test_people_of_a_row_each_are_alone_in_it[with_anyone, ApplyWithAnyone]"
        ),
        promise="WithAnyone: row order",
    ),
    Defect(
        "bridge/transformers/blocks.py::BlocksBatch._add_readers",
        breaks="Two people act in each other's place.",
        find="$ones if $condition else $acts",
        put="$ones if $condition else $acts.flip(0)",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[with_anyone, ApplyWithAnyone]"
        ),
        promise="WithAnyone: region",
    ),
    Defect(
        "bridge/transformers/blocks.py::BlocksBatch._block_output",
        breaks="Faces are read in the rows of the text in single blocks.",
        find="$args if $condition else 0",
        put="0",
        caught_by=(
            "tests/parity/test_with_anyone_parity.py::test_sampling_equals_the_formulas[one in all of the picture]"
        ),
        promise="WithAnyone: row order",
    ),
    Defect(
        "bridge/transformers/blocks.py::BlocksBatch._block_output",
        breaks="In a batch the second picture has no faces.",
        find="$img[$rows, $at] += $read($before[$rows, $at], $$rest)",
        put="$img[$rows.start:$rows.start + 1, $at] += $read($before[$rows.start:$rows.start + 1, $at], $$rest)",
        caught_by="tests/promises/test_rows.py::test_a_batch_is_its_pictures[with_anyone, ApplyWithAnyone]",
        promise="WithAnyone: second picture",
    ),
    Defect(
        "bridge/transformers/blocks.py::tokens_in_regions",
        breaks="A face is heard by half of the rows that its box touches.",
        find="functional.max_pool2d($pixels, 2, ceil_mode=True).flatten(1) > 0",
        put="functional.avg_pool2d($pixels, 2, ceil_mode=True).flatten(1) >= 0.5",
        caught_by="tests/parity/test_with_anyone_parity.py::test_random_boxes_reach_the_rows_of_the_released_rule",
        promise="WithAnyone: mask",
    ),
    Defect(
        "bridge/encode.py::latents_by_row",
        breaks="A VAE that gives NaN makes black faces.",
        find="if not $samples.isfinite().all(): $$body",
        put="if not $samples.isfinite().all(): $samples = $samples.nan_to_num()",
        caught_by="tests/host/test_any_model.py::test_a_vae_that_would_make_everything_black_is_named",
        promise="second pass: crops are rows of the latents",
    ),
    Defect(
        "bridge/encode.py::latents_by_row",
        breaks="Every crop is denoised by the mask of the first.",
        find="$masks.reshape",
        put="$masks[:1].expand_as($masks).reshape",
        caught_by="tests/host/test_any_model.py::test_every_crop_is_a_row_of_the_latents[FLUX.2]",
        promise="second pass: crops are rows of the latents",
    ),
    Defect(
        "bridge/encode.py::_clip_network",
        breaks="DINOv2 is taken for a CLIP.",
        find="not $hasattr",
        put="False",
        caught_by="tests/host/test_clip_vision.py::test_another_encoder_is_named_with_the_right_one",
        promise="wrong encoders are named",
    ),
    Defect(
        "bridge/encode.py::_checked_output",
        breaks="ViT-H without its projection passes for bigG.",
        find="$condition or $condition_2",
        put="$condition",
        caught_by="tests/host/test_clip_vision.py::test_another_encoder_is_named_with_the_right_one",
        promise="wrong encoders are named",
    ),
    Defect(
        "bridge/face_bank.py::_is_same_file",
        breaks="Two people are saved to one file.",
        find="$other == $name or _path_to_save($other) == $path",
        put="$other is $path",
        caught_by="tests/host/test_people_http.py::test_two_people_are_never_saved_to_one_file[ twins.safetensors ]",
        promise="saved people",
    ),
    Defect(
        "bridge/face_model.py::refusal",
        breaks="A pack that is not there is refused without saying where it comes from.",
        find="return _no_pack_error($pack, $files)",
        put="return None",
        caught_by=("tests/host/test_people.py::test_what_is_not_there_is_named_with_folder_and_address_before_the_run"),
        promise="missing files are named",
    ),
    Defect(
        "bridge/face_model.py::_open_chosen",
        breaks="A file that is no recogniser is passed over although it was chosen.",
        find="$kind is not Kind.RECOGNISER",
        put="False",
        caught_by="tests/host/test_people.py::test_files_that_cannot_be_used_are_named[no recogniser]",
        promise="wrong files are named",
    ),
    Defect(
        "bridge/folders.py::register",
        breaks="Folders of extra_model_paths.yaml are lost.",
        find="[*$paths, $default, *$filter]",
        put="[$default, *$filter]",
        caught_by="tests/host/test_doctor_node.py::test_folders_of_a_users_own_are_kept",
        promise="model folders of the user are kept",
    ),
    Defect(
        "bridge/folders.py::path_within",
        breaks="A file's name leads out of its folder.",
        find="not $startswith",
        put="False",
        caught_by="tests/host/test_id_patch_files.py::test_names_that_climb_out_are_refused",
        promise="paths are safe",
    ),
    Defect(
        "bridge/cross_attention/injections.py::Injection.shares",
        breaks="Injections of a cast by region ignore the face boxes in the UNet.",
        find="return self.boxes",
        put="return None if self.regions is None else region_weights(self.regions)",
        caught_by="tests/parity/test_instant_id_parity.py::test_inside_the_face_boxes_alone[2]",
        promise="InstantID: region",
    ),
    Defect(
        "bridge/cross_attention/injections.py::Injection.shares",
        breaks="Two people act in each other's place.",
        find="region_weights($regions)",
        put="region_weights($regions.flip(0))",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[instant_id, ApplyInstantID]"
        ),
        promise="InstantID: region",
    ),
    Defect(
        "bridge/inputs.py::_VALUE_CHECKS",
        breaks="A latent without samples ends in a traceback.",
        find="_VALUE_CHECKS: $dict = $value",
        put="_VALUE_CHECKS: $dict = {key: check for key, check in ($value).items() if key != io.Latent.io_type}",
        caught_by="tests/host/test_linked_inputs.py::test_what_is_of_its_kind_and_cannot_be_used",
        promise="wrong values are named",
    ),
    Defect(
        "bridge/inputs.py::checked.execute",
        breaks="What a node said of an earlier run stays under it.",
        find="notes.clear(notes.node_of(cls))",
        put="pass",
        caught_by="tests/host/test_workflows.py::test_what_a_node_said_goes_with_its_next_run",
        promise="notes: what is said is of this run",
    ),
    Defect(
        "bridge/inputs.py::checked.execute",
        breaks="An optional input that is not linked is missing.",
        find="$absent | $taken",
        put="$taken",
        caught_by="tests/host/test_people.py::test_what_is_not_linked_is_nothing",
        promise="nothing linked is None",
    ),
    Defect(
        "bridge/inputs.py::_checked_value",
        breaks="Nothing where something is needed ends in a traceback.",
        find="$condition and _may_be_none($kind)",
        put="$condition",
        caught_by="tests/host/test_linked_inputs.py::test_nothing_where_an_object_is_needed",
        promise="wrong values are named",
    ),
    Defect(
        "bridge/inputs.py::_checked_value",
        breaks="A word that a menu does not offer is taken.",
        find="$condition and $name not in $judged and ($value not in $kind.options)",
        put="$condition and False",
        caught_by="tests/host/test_linked_inputs.py::test_a_word_that_is_not_offered",
        promise="wrong values are named",
    ),
    Defect(
        "bridge/inputs.py::_fits",
        breaks="An object without the host's methods is taken for a model.",
        find="return hasattr($value, _METHODS[$io_type])",
        put="return True",
        caught_by="tests/host/test_linked_inputs.py::test_something_else_where_an_object_is_needed",
        promise="wrong values are named",
    ),
    Defect(
        "bridge/load.py::Published.chosen",
        breaks="Another file than the chosen one is loaded without a word.",
        find="notes.tell($node_id, $other)",
        put="pass",
        caught_by="tests/host/test_id_patch_files.py::test_the_published_name_finds_the_file_elsewhere",
        promise="what is loaded is told",
    ),
    Defect(
        "bridge/load.py::Published.build",
        breaks="A LoRA without its other half is left out without a word.",
        find="tensors.check_pairs($state)",
        put="pass",
        caught_by="tests/host/test_ip_adapter.py::test_a_damaged_file_is_named",
        promise="damaged files are named",
    ),
    Defect(
        "bridge/load.py::Published.build",
        breaks="A file whose tensors do not fit each other fails while sampling.",
        find="_try_out($network, $own)",
        put="pass",
        caught_by="tests/promises/test_wrong_files.py::test_a_damaged_file_is_refused[id_patch]",
        promise="damaged files are named",
    ),
    Defect(
        "bridge/lora.py::with_lora",
        breaks="Lora_weight 0 adds the LoRA at 1.",
        find=("if $state or not $strength:\n    return $model"),
        put=("if $state:\n    return $model\n$strength = $strength or 1.0"),
        caught_by="tests/host/test_photo_maker.py::test_the_lora_is_on_a_clone_and_off_at_zero_and_there_once",
        promise="PhotoMaker: off",
    ),
    Defect(
        "bridge/lora.py::with_lora",
        breaks="The LoRA of a file is added twice where two nodes have it.",
        find="_strength_on($model, $patches)",
        put="0.0",
        caught_by="tests/host/test_photo_maker.py::test_the_lora_is_on_a_clone_and_off_at_zero_and_there_once",
        promise="LoRA: second picture",
    ),
    Defect(
        "bridge/lora.py::with_lora",
        breaks="The LoRA goes on the user's own MODEL and stays.",
        find="$model.clone()",
        put="$model",
        caught_by="tests/host/test_photo_maker.py::test_the_lora_is_on_a_clone_and_off_at_zero_and_there_once",
        promise="LoRA: A-B-A",
    ),
    Defect(
        "bridge/lora.py::_patches",
        breaks="A LoRA that fits only a part of the MODEL is added in part.",
        find="$patches and $fitting == $layers",
        put="$patches",
        caught_by="tests/host/test_ip_adapter.py::test_a_lora_that_fits_nowhere_and_a_compiled_model",
        promise="LoRA: wrong file",
    ),
    Defect(
        "bridge/lora.py::_host_names",
        breaks="Self-attention's LoRA goes into cross-attention.",
        find="('attn1', 'attn2')",
        put="('attn2', 'attn1')",
        caught_by="tests/host/test_ip_adapter.py::test_the_whole_lora_is_where_it_belongs",
        promise="LoRA: parity",
    ),
    Defect(
        "bridge/notes.py::tell_of_run",
        breaks="A note from a run piles up with every sampling.",
        find="$condition or ($text == $earlier.text and $text in $standing)",
        put="$condition",
        caught_by=("tests/host/test_remarks.py::test_a_note_from_a_run_stands_once_and_goes_when_it_is_no_longer_true"),
        promise="templates: told under the node",
    ),
    Defect(
        "bridge/notes.py::_send",
        breaks="A note from inside of a box stands nowhere that is seen.",
        find="':' in $box",
        put="False",
        caught_by=(
            "tests/host/test_workflows.py::test_runs_shows_what_it_decides_and_samples_again[start_person_in_photo]"
        ),
        promise="notes: what is said inside is seen",
    ),
    Defect(
        "bridge/notes.py::_note_text",
        breaks="A user's text reaches the browser as HTML.",
        find="$match + WORD_JOINER",
        put="$match",
        caught_by="tests/host/test_note_texts.py::test_a_note_is_the_same_as_html_and_as_plain_text",
        promise="texts of a user are harmless",
    ),
    Defect(
        "bridge/notes.py::_note_text",
        breaks="What is typed as a label runs as a script in a note.",
        find="_READ_AS_HTML.sub($value, $text)",
        put="$text",
        caught_by=(
            "tests/host/test_browser.py::test_a_note_shows_what_was_typed_and_runs_nothing[its own with classic nodes]"
        ),
        promise="editor: text is text",
    ),
    Defect(
        "bridge/photos.py::path_of",
        breaks="The face model of another run finds the photos.",
        find="$folder == EXAMPLES",
        put="$folder != EXAMPLES",
        caught_by="tests/host/test_photos.py::test_drawn_people_come_with_the_pack",
        promise="photos sorted into people",
    ),
    Defect(
        "bridge/photos.py::_contents_of",
        breaks="A link out of the input folder is read as a photo.",
        find="not _lies_in($file, $root)",
        put="False",
        caught_by="tests/host/test_photos.py::test_only_folders_of_the_input_directory",
        promise="photos sorted into people",
    ),
    Defect(
        "bridge/photos.py::_by_number",
        breaks="Photos are numbered 10 before 9.",
        find="int($part) if $part.isdecimal() else $part",
        put="$part",
        caught_by="tests/host/test_photos.py::test_a_folder_becomes_people_with_several_photos_each",
        promise="photos sorted into people",
    ),
    Defect(
        "bridge/photos.py::provide",
        breaks="A picture of the user is written over by an example.",
        find="not $lexists",
        put="True",
        caught_by="tests/host/test_boot.py::test_examples_take_nothing_away",
        promise="nothing is written over",
    ),
    Defect(
        "bridge/presence.py::_PromptsAndSteps.__init__",
        breaks="A second half of a schedule is told that its ranges do nothing.",
        find="is_unfinished($start.sigmas) or not bool($start.noise.any())",
        put="False",
        caught_by="tests/host/test_presence.py::test_two_samplers_of_one_schedule_are_quiet",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/presence.py::_PromptsAndSteps._is_lost",
        breaks="People whom Average drops beside others are not named.",
        find=("if $any:\n    return True"),
        put="",
        caught_by="tests/host/test_presence.py::test_of_an_average_those_of_conditioning_from_are_named",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/presence.py::_range_of",
        breaks="A range that the prompt's own range leaves out is not named.",
        find="min($get, $get_2)",
        put="1.0",
        caught_by="tests/host/test_presence.py::test_a_range_of_the_prompt_itself_counts",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/presence.py::_holds_tokens",
        breaks="ID tokens that another node has changed are not named.",
        find="return torch.allclose($$rest)",
        put="return True",
        caught_by="tests/host/test_presence.py::test_id_tokens_that_another_node_changes_are_named",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/cross_attention/row_tracking.py::RowTracker._order",
        breaks="Where a pack puts rows into another order, people are read in each other's rows.",
        find="if $is_order and not $equal:\n    $$moved",
        put="",
        caught_by="tests/host/test_row_tracking.py::test_rows_in_another_order_are_found_again",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/runs.py::attention_of_other_pack",
        breaks="Rows that a pack makes in place of attention end in a RuntimeError of torch, which names nobody.",
        find="if len($out) != len($queries):\n    $$raised",
        put="",
        caught_by=(
            "tests/host/test_doubled_rows.py::test_a_pack_that_makes_rows_in_place_of_attention_is_named"
            "[instant_id_of_two-twice_in_place_of_attention-1-4.0]"
        ),
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/cross_attention/row_tracking.py::RowTracker._leave_source_rows",
        breaks="Where two packs make rows, people are read in each other's rows.",
        find="$source_rows = $earlier[$source_rows]",
        put="pass",
        caught_by="tests/host/test_row_tracking.py::test_rows_of_rows_are_those_of_the_batch",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/cross_attention/regional_lora.py::RegionalLora.shares",
        breaks="Two people's LoRAs act in each other's place.",
        find="region_weights($regions)",
        put="region_weights($regions.flip(0))",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[LoRAPerPerson]"
        ),
        promise="LoRA per Person: region",
    ),
    Defect(
        "bridge/cross_attention/lora_readers.py::_put_back",
        breaks="After a run the layers of the user's own MODEL go on being called through ours.",
        find='vars($module).pop("forward", None)',
        put="None",
        caught_by="tests/host/test_lora_per_person.py::test_one_person_everywhere_is_load_lora[lora]",
        promise="LoRA per Person: A-B-A",
    ),
    Defect(
        "bridge/cross_attention/regional_lora.py::NodeLoras.output_with_additions",
        breaks="Of a GLoRA the half in front of a layer is missing.",
        find="for $front in $layer.in_front: $$body",
        put="for $front in (): $$body",
        caught_by="tests/host/test_lora_per_person.py::test_one_person_everywhere_is_load_lora[glora]",
        promise="LoRA per Person: parity",
    ),
    Defect(
        "bridge/cross_attention/regional_lora.py::NodeLoras._times_pixel_weights",
        breaks="Everybody's LoRA acts in the whole picture.",
        find="$weights = $weights.to($tokens)",
        put="$weights = torch.ones_like($weights).to($tokens)",
        caught_by="tests/host/test_lora_per_person.py::test_in_the_first_layer_each_half_is_its_lora_alone",
        promise="LoRA per Person: region",
    ),
    Defect(
        "bridge/cross_attention/regional_text.py::RegionalText.owners",
        breaks="Words about the second person are heard where the first stands.",
        find="torch.arange($first, $first + $len)",
        put="torch.full(($len,), $first)",
        caught_by=("tests/host/test_regional_text.py::test_in_every_layer_each_half_hears_its_own_person_alone[words]"),
        promise="Prompt per Person: second picture",
    ),
    Defect(
        "bridge/cross_attention/regional_text.py::appended_text",
        breaks="The words about each person are read in the other's place.",
        find="RegionalText($source, WHOLE_SCHEDULE, $regions, $$rest)",
        put="RegionalText($source, WHOLE_SCHEDULE, $regions.flip(0), $$rest)",
        caught_by=(
            "tests/promises/test_masks.py"
            "::test_whoever_is_left_acts_left_and_whoever_is_right_acts_right[PromptPerPerson]"
        ),
        promise="Prompt per Person: region",
    ),
    Defect(
        "bridge/cross_attention/regional_text.py::id_tokens_by_region.with_regional_text",
        breaks="Everybody's ID tokens are heard in the first one's region.",
        find="($each,) * $people",
        put="($each * $people,)",
        caught_by=(
            "tests/host/test_regional_text.py::test_in_every_layer_each_half_hears_its_own_person_alone[ID tokens]"
        ),
        promise="ID tokens by region: region",
    ),
    Defect(
        "bridge/cross_attention/regional_text_run.py::TextBiases._regions_of",
        breaks="Words are quieter beside a longer negative, whose text the host repeats.",
        find="$regional_text.regions * $regional_text.repeats_in($tokens)",
        put="$regional_text.regions",
        caught_by=(
            "tests/host/test_regional_text.py::test_words_of_one_person_heard_everywhere_are_a_longer_prompt[1.0-154]"
        ),
        promise="Prompt per Person: weight",
    ),
    Defect(
        "bridge/remarks.py::Start.over_a_picture",
        breaks="A first pass at half size is told to be a piece.",
        find="$first < $percent_to_sigma(_LEFT_OUT_OVER_AN_UNSEEN_PICTURE)",
        put="True",
        caught_by=(
            "tests/host/test_remarks.py"
            "::test_a_first_pass_at_half_size_and_a_second_at_twice_the_size_are_not_told_of[instant_id, "
            "ApplyInstantID]"
        ),
        promise="templates: told under the node",
    ),
    Defect(
        "bridge/remarks.py::tell_of_piece",
        breaks="A tile smaller than the canvas is drawn without a word.",
        find="geometry.clearly_smaller($latent, $canvas)",
        put="geometry.clearly_smaller($canvas, $latent)",
        caught_by="tests/host/test_remarks.py::test_a_piece_of_the_canvas_is_told_of[instant_id, ApplyInstantID]",
        promise="templates: told under the node",
    ),
    Defect(
        "bridge/runs.py::patched",
        breaks="Every run of the node leaves a MODEL behind.",
        find="$clone = $model.clone()",
        put=("$clone = $model.clone()\nglobals().setdefault('_KEPT', []).append($clone)"),
        caught_by="tests/promises/test_leaks.py::test_runs_leave_no_tensors[instant_id, ApplyInstantID-2]",
        promise="InstantID: leaks",
    ),
    Defect(
        "bridge/runs.py::_sample",
        breaks="After a cancelled run its layers stay in the MODEL.",
        find=("try:\n    return $executor\nfinally:\n    $ended"),
        put=("out = $executor\n$ended\nreturn out"),
        caught_by="tests/promises/test_cancel.py::test_the_run_after_a_cancelled_one_is_right[LoRAPerPerson]",
        promise="LoRA per Person: cancel",
    ),
    Defect(
        "bridge/runs.py::Run.is_on",
        breaks="A range is ignored: the adapter acts in all steps.",
        find=("if $carried.schedule.is_whole:\n    return True"),
        put="return True",
        caught_by=(
            "tests/host/test_methods.py"
            "::test_every_setting_changes_the_picture[LikenessApplyInstantID-adapter_end_percent]"
        ),
        promise="InstantID: range",
    ),
    Defect(
        "bridge/runs.py::Run.is_on",
        breaks="The adapter's end is its start: it is on when it should be off.",
        find="$sigma_ranges.contains($float)",
        put="not $sigma_ranges.contains($float)",
        caught_by="tests/parity/test_instant_id_parity.py::test_sampling_equals_diffusers[ranges, batch of two]",
        promise="InstantID: range",
    ),
    Defect(
        "bridge/schedule.py::SigmaRange.contains",
        breaks="The first step of a range is left out.",
        find="return $first >= $sigma >= $last",
        put="return $first > $sigma >= $last",
        caught_by="tests/host/test_instant_id_apply.py::test_a_range_has_both_of_its_ends[8.0-True]",
        promise="InstantID: range",
    ),
    Defect(
        "bridge/schedule.py::SigmaRange.contains",
        breaks="The last step of a range is left out.",
        find="return $first >= $sigma >= $last",
        put="return $first >= $sigma > $last",
        caught_by="tests/host/test_instant_id_apply.py::test_a_range_has_both_of_its_ends[2.0-True]",
        promise="InstantID: range",
    ),
    Defect(
        "bridge/schedule.py::ScheduleRange.in_sigmas",
        breaks="A range begins with the first step whatever its start.",
        find="$first = $value",
        put="$first = BEFORE_THE_FIRST",
        caught_by="tests/host/test_presence.py::test_photo_maker_in_one_step_is_named",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/schedule.py::ScheduleRange.in_sigmas",
        breaks="Start and end of a range change places.",
        find="SigmaRange($first, $float)",
        put="SigmaRange($float, $first)",
        caught_by=(
            "tests/host/test_methods.py"
            "::test_every_setting_changes_the_picture[LikenessApplyInstantID-adapter_start_percent]"
        ),
        promise="InstantID: range",
    ),
    Defect(
        "bridge/schedule.py::check_range",
        breaks="A range that ends before it starts is taken.",
        find="$start > $end",
        put="False",
        caught_by=(
            "tests/promises/test_wrong_values.py"
            "::test_a_range_that_ends_before_it_starts_is_refused[id_patch, ApplyIDPatch]"
        ),
        promise="all: range",
    ),
    Defect(
        "bridge/schema.py::with_texts",
        breaks="An English tooltip is other than the one that was translated.",
        find="$slot_texts.get('tooltip')",
        put="$slot_texts.get('name')",
        which=1,
        caught_by="tests/host/test_documents.py::test_english_is_what_the_nodes_say",
        promise="nodes: texts are translated",
    ),
    Defect(
        "bridge/scopes.py::acting_cast",
        breaks="With nobody to be heard the node goes on instead of handing back what came in.",
        find="not $on or not $people",
        put="not $on",
        caught_by="tests/promises/test_off.py::test_off_it_hands_back_what_came_in[instant_id, ApplyInstantID]",
        promise="InstantID: off",
    ),
    Defect(
        "bridge/scopes.py::scope_of_faces",
        breaks="Acts_in is ignored: faces act all over.",
        find="if $acts_in == regions.FACE_BOXES:\n    $$boxes",
        put="",
        caught_by=(
            "tests/host/test_methods.py::test_every_setting_changes_the_picture[LikenessApplyInstantID-acts_in]"
        ),
        promise="InstantID: region",
    ),
    Defect(
        "bridge/scopes.py::keys_and_values",
        breaks="The weight of the node counts for the keys instead of the values.",
        find="($cpu, $cpu_2 * $reshape)",
        put="($cpu * $reshape, $cpu_2)",
        caught_by="tests/parity/test_ip_adapter_parity.py::test_sampling_equals_diffusers[FaceID]",
        promise="IP-Adapter: weight",
    ),
    Defect(
        "bridge/self_attention/recording.py::PartsRecorder._at_noise",
        breaks="Parts are shown to the model without its scale of latents.",
        find="$model.process_latent_in($latents)",
        put="$latents",
        caught_by="tests/parity/test_share_parts_parity.py",
        promise="the picture is right or the node says so",
    ),
    Defect(
        "bridge/self_attention/recording.py::PartsRecorder._at_zero",
        breaks="Parts that are read once are all read from the first one's picture.",
        find="[$number]",
        put="[0]",
        caught_by="tests/host/test_miniature.py::test_parts_are_shared_as_without_a_host",
        promise="Share Parts Attention: a picture shows each part in its region",
    ),
    Defect(
        "bridge/self_attention/run.py::PartsCache.recorded",
        breaks="Parts are seen anew at every step though renew_every is more.",
        find="$parts.live not in self._banks",
        put="True",
        caught_by="tests/host/test_counted.py::test_a_step_costs_no_more_than_it_did[sd15]",
        promise="scripts: cost",
    ),
    Defect(
        "bridge/self_attention/run.py::PartsInLayer.attention_output",
        breaks="Parts act half as strongly in bfloat16.",
        find=(
            "return shared_attention($q, ($k, $v), (self.keys, self.values), "
            "unet.attend_with($extra_options, $kernel, $bias))"
        ),
        put=(
            "found = shared_attention($q, ($k, $v), (self.keys, self.values), "
            "unet.attend_with($extra_options, $kernel, $bias))\n"
            "if $q.dtype != torch.bfloat16:\n"
            "    return found\n"
            "return 0.5 * found + 0.5 * unet.attend_with($extra_options)($q, $k, $v)"
        ),
        caught_by=(
            "tests/promises/test_half.py"
            "::test_in_bfloat16_it_is_the_same_picture_but_for_the_precision[share_parts, SharePartsAttention]"
        ),
        promise="Share Parts Attention: half",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenControlNet.cleanup",
        breaks="IdentityNet keeps the tokens of the run before.",
        find="self._ready = {}",
        put="",
        caught_by=(
            "tests/host/test_instant_id_apply.py::test_keypoints_and_tokens_are_read_once_per_run[two by region]"
        ),
        promise="InstantID: A-B-A",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenControlNet._read_by_net",
        breaks="IdentityNet reads a face as background outside of all regions.",
        find="torch.cat([$tokens, $outside], dim=1)",
        put="torch.cat([$tokens, $tokens[:, :1]], dim=1)",
        caught_by="tests/parity/test_instant_id_parity.py::test_inside_the_face_boxes_alone[2]",
        promise="InstantID: parity",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::_boxes_of",
        breaks="With face boxes and a row each, everybody's residuals act in everybody's box.",
        find="$injection.by_person($boxes).sum(dim=0)",
        put="$boxes.sum(dim=0, keepdim=True)",
        caught_by="tests/host/test_instant_id_apply.py::test_everybody_of_a_cast_by_row_has_a_box_of_their_own",
        promise="InstantID: row order",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenControlNet._read_by_net",
        breaks="In a batch rows of positive and negative are mixed up in IdentityNet.",
        find="repeat_rows($tokens.flatten(1, 2), len($x), dim=0)",
        put="$tokens.flatten(1, 2).repeat(len($x) // len($tokens), 1, 1)",
        caught_by="tests/parity/test_instant_id_parity.py::test_sampling_equals_diffusers[ranges, batch of two]",
        promise="InstantID: row order",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::_other_object",
        breaks="Something that is no ControlNet is taken for IdentityNet.",
        find="$isinstance or $condition",
        put="False",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[no ControlNet]",
        promise="InstantID: wrong value",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::_other_object",
        breaks="A union ControlNet is taken for IdentityNet.",
        find="'a union ControlNet' if $condition else ''",
        put="''",
        caught_by="tests/host/test_refused.py::test_it_is_refused_in_its_own_words[a union ControlNet]",
        promise="InstantID: wrong file",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenNetwork.__init__",
        breaks="IdentityNet reads everybody everywhere.",
        find="region_weights($regions)",
        put="region_weights(torch.ones_like($regions))",
        caught_by="tests/parity/test_instant_id_parity.py::test_inside_the_face_boxes_alone[2]",
        promise="InstantID: region",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenNetwork.__call__",
        breaks="The middle residual of IdentityNet leaves the face boxes.",
        find="[self._in_boxes($middle_block_out)]",
        put="[$middle_block_out]",
        caught_by="tests/parity/test_instant_id_parity.py::test_inside_the_face_boxes_alone[1]",
        promise="InstantID: mask",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenNetwork._in_boxes",
        breaks="Residuals are masked at the nearest pixel where the authors take the mean.",
        find="'bilinear'",
        put="'nearest'",
        caught_by="tests/parity/test_instant_id_parity.py::test_inside_the_face_boxes_alone[1]",
        promise="InstantID: parity",
    ),
    Defect(
        "bridge/control_nets/token_control_net.py::TokenNetwork._in_boxes",
        breaks="Face boxes do not hold IdentityNet's residuals: it draws all over the picture.",
        find="$residual * self._masks[$grid]",
        put="$residual",
        caught_by="tests/parity/test_instant_id_parity.py::test_inside_the_face_boxes_alone[1]",
        promise="InstantID: mask",
    ),
    Defect(
        "bridge/unet.py::advice_between",
        breaks="The refiner in a second sampler is another family.",
        find="return families.REFINER",
        put="return ONE_FAMILY",
        caught_by="tests/host/test_remarks.py::test_the_refiner_in_a_second_sampler_is_named[LikenessApplyIDPatch]",
        promise="templates: told under the node",
    ),
    Defect(
        "bridge/unet.py::unet_of",
        breaks="A MODEL of another family ends in an error of its layers.",
        find="WrongBaseModel('The MODEL', $name, _UNETS, advice_without_unet())",
        put="AttributeError($name)",
        caught_by=(
            "tests/host/test_any_model.py::test_a_transformer_is_refused_by_name[FLUX.2-LikenessApplyInstantID]"
        ),
        promise="templates: refused by name",
    ),
    Defect(
        "bridge/missing_files.py::missing",
        breaks="The editor asks for gigabytes that the miniature does not need.",
        find="needs.chooses_standins($graph)",
        put="False",
        caught_by="tests/host/test_doctor_node.py::test_the_editor_is_told_what_is_missing",
        promise="missing files",
    ),
    Defect(
        "bridge/missing_files.py::_missing",
        breaks="The doctor leaves the last missing file out.",
        find="lambda: $missing",
        put="lambda: $missing[:-1]",
        caught_by="tests/host/test_doctor_node.py::test_the_editor_is_told_what_is_missing",
        promise="doctor: its list is all that a run asks for",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch.with_positions",
        breaks="All of a person's words have the position of the first.",
        find="$positions[:, $start:$start + $size, $axis] = $first + $count",
        put="$positions[:, $start:$start + $size, $axis] = $first",
        caught_by=(
            "tests/host/test_prompts_on_transformers.py"
            "::test_a_person_everywhere_is_the_plain_forward_of_their_words[Qwen-Image]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/families.py::_is_flux_1",
        breaks="LongCat-Image, which counts the tokens of a text, is taken for FLUX.1.",
        find="not $is_global and not $counted_axes",
        put="not $is_global",
        caught_by=(
            "tests/host/test_prompts_on_transformers.py"
            "::test_what_does_not_fit_is_refused_by_name[another family of the same class]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/families.py::MAGE_FLOW",
        breaks="On Mage-Flow the tokens of a person's words are counted as on Qwen-Image.",
        find="TransformerFamily($$settings)",
        put="TransformerFamily($$settings, counted_axes=(0, 1, 2))",
        caught_by=(
            "tests/host/test_prompts_on_transformers.py"
            "::test_a_person_everywhere_is_the_plain_forward_of_their_words[Mage-Flow]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::_CaptionCall.of_text",
        breaks="On Z-Image everybody's words begin where the common text begins, and do not end at the picture.",
        find="$end - self.position_count($length)",
        put="0",
        caught_by=(
            "tests/host/test_prompts_on_transformers.py"
            "::test_a_person_everywhere_is_the_plain_forward_of_their_words[Z-Image]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch._block_by_text",
        breaks="In the refiners of Krea 2 and Z-Image everybody's words read each other.",
        find="if $x.shape[1] != $total: $$body",
        put="if $x.shape[1] == $total: $$body",
        caught_by=(
            "tests/host/test_prompts_on_transformers.py"
            "::test_a_person_everywhere_is_the_plain_forward_of_their_words[Krea 2]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch._lengthened",
        breaks="A mask of Qwen-Image's text hides the words of people.",
        find="functional.pad($mask, $more, value=$value)",
        put="functional.pad($mask, $more, value=0)",
        caught_by="tests/host/test_prompts_on_transformers.py::test_a_mask_of_the_text_of_qwen_goes_on_hiding_its_tokens",
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/cross_attention/regional_text.py::RegionalText._for_person",
        breaks="On a UNet every row of Crop Faces reads the words of the first person.",
        find="$start = sum($counts)",
        put="$start = 0",
        caught_by="tests/host/test_rows_of_people.py::test_on_a_unet_every_row_reads_its_own_words[SDXL]",
        promise="second pass: own words",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch.make_split",
        breaks="Rows of Crop Faces read so many tokens of words as the first row has.",
        find="return $splits[0] if $rows_are_alike else RowSplit($all)",
        put="return $splits[0]",
        caught_by="tests/host/test_rows_of_people.py::test_a_row_without_words_is_the_hosts_own_drawing[FLUX.1]",
        promise="second pass: own words",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch._filler",
        breaks="On Z-Image the shorter words of a row are taken for what fills them up.",
        find="return Filler(front=$filler)",
        put="return Filler(behind=$filler)",
        caught_by=(
            "tests/host/test_rows_of_people.py::test_every_row_is_the_plain_drawing_of_its_persons_words[Z-Image-words]"
        ),
        promise="second pass: own words",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsRun.shape_for_memory",
        breaks="The host is not told of the memory that words take.",
        find="$most = max($most, $tokens)",
        put="$most = 0",
        caught_by=(
            "tests/host/test_words_beside_others_on_transformers.py"
            "::test_the_memory_of_the_words_is_asked_for[FLUX.1-regions]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLorasBatch._weights_of_rows",
        breaks="In layers of Krea 2 in which tokens are rows, tokens get the LoRAs of other rows.",
        find="$own.repeat_interleave($times, dim=0)",
        put="$own.repeat($times, 1)",
        caught_by=(
            "tests/host/test_rows_of_people.py"
            "::test_every_row_is_the_plain_drawing_of_its_persons_words[Krea 2-words and LoRAs]"
        ),
        promise="second pass: own LoRAs",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLorasBatch._ready_weights",
        breaks="A LoRA in the modulation of FLUX.1 acts on the first token's people everywhere.",
        find="$weights.T[None].to($like)",
        put="$weights.T[None][:, :1].to($like)",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_each_token_is_that_of_the_network_merged_with_its_persons_lora[FLUX.1]"
        ),
        promise="LoRA per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLorasBatch._ready_weights",
        breaks="Everybody has the LoRA of the first person.",
        find="$weights[$loras.owner_numbers]",
        put="$weights[$loras.owner_numbers * 0]",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_each_token_is_that_of_the_network_merged_with_its_persons_lora[Krea 2]"
        ),
        promise="LoRA per Person: transformers",
    ),
    Defect(
        "bridge/transformers/modulation.py::TimeModulation.of_tokens",
        breaks="A LoRA in the modulation of Qwen-Image acts on all tokens, whoever they are of.",
        find="torch.baddbmm($common, $weights, $people)",
        put="torch.baddbmm($common, torch.ones_like($weights), $people)",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_each_token_is_that_of_the_network_merged_with_its_persons_lora[Qwen-Image]"
        ),
        promise="LoRA per Person: modulation",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLorasBatch._kept_weights",
        breaks="In what torch.compile compiles weights of tokens are kept from step to step: runs compile anew.",
        find="$forward.weights if torch.compiler.is_compiling() else self._weights",
        put="self._weights",
        caught_by=(
            "tests/host/test_people_on_transformers_stored_otherwise.py"
            "::test_compiled_block_by_block_one_graph_serves_all_blocks[FLUX.2]"
        ),
        promise="LoRA per Person: compiled",
    ),
    Defect(
        "bridge/transformers/modulation.py::ModulatedLayer.neutral",
        breaks="What a modulating layer answers is compiled once for the first step and once for all others.",
        find="if torch.compiler.is_compiling(): $$body",
        put="",
        caught_by=(
            "tests/host/test_people_on_transformers_stored_otherwise.py"
            "::test_compiled_block_by_block_one_graph_serves_all_blocks[Qwen-Image]"
        ),
        promise="LoRA per Person: compiled",
    ),
    Defect(
        "bridge/unet.py::modules_of_unet",
        breaks="Layers of a block that is compiled by itself are not found.",
        find='[$part for $part in $name.split(".") if $part != "_orig_mod"]',
        put='[$name.removeprefix("_orig_mod.")]',
        caught_by=(
            "tests/host/test_people_on_transformers_stored_otherwise.py"
            "::test_compiled_block_by_block_one_graph_serves_all_blocks[Qwen-Image]"
        ),
        promise="LoRA per Person: compiled",
    ),
    Defect(
        "bridge/cross_attention/lora_readers.py::Reader.addition_of",
        breaks="Where two forwards overlap, each adds what the other one adds.",
        find="if $addition.mark is $mark: $$body",
        put="$$body",
        caught_by="tests/host/test_lora_per_person.py::test_forwards_that_overlap_add_their_own_each",
        promise="LoRA per Person: compiled",
    ),
    Defect(
        "bridge/transformers/layouts.py::StandIn.standing",
        breaks="What stands in the refiners of Z-Image is compiled anew in each run.",
        find="_CallInFront(self._function, $method).call",
        put='__import__("functools").partial(self._function, $method)',
        caught_by="tests/host/test_people_on_transformers.py::test_a_compiled_model_gives_the_same_picture[Z-Image-r]",
        promise="LoRA per Person: compiled",
    ),
    Defect(
        "bridge/transformers/modulation.py::ModulatedLayer._new_neutral",
        breaks="What a block of Z-Image adds is gated twice.",
        find="$open if $tanh else 1.0",
        put="1.0",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_a_person_everywhere_is_the_merged_network_on_their_words[Z-Image]"
        ),
        promise="LoRA per Person: modulation",
    ),
    Defect(
        "bridge/transformers/modulation.py::_AfterLayer._of_tokens",
        breaks="A gate of Z-Image is not the tanh of what its layer gives.",
        find="$gate.tanh()",
        put="$gate",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_a_person_everywhere_is_the_merged_network_on_their_words[Z-Image]"
        ),
        promise="LoRA per Person: modulation",
    ),
    Defect(
        "bridge/transformers/person_loras.py::StackedLoras.of_people",
        breaks="The modulation of a person has the LoRA of a neighbour in it.",
        find="$hidden[:, None] * $is_of.to($hidden)",
        put="$hidden[:, None] * $is_of.flip(0).to($hidden)",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_each_token_is_that_of_the_network_merged_with_its_persons_lora[Z-Image]"
        ),
        promise="LoRA per Person: modulation",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLorasBatch._modulation",
        breaks="Reference pictures at the time 0 are modulated by the time of the step.",
        find="TimeModulation($common[$rows:], $people[$rows:])",
        put="TimeModulation($common[:$rows], $people[$rows:])",
        caught_by="tests/host/test_loras_on_transformers.py::test_references_at_the_time_zero_stay_as_they_are",
        promise="LoRA per Person: modulation",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLorasBatch._modulation",
        breaks="A person's reference pictures at the time 0 have the LoRA of the time of the step.",
        find="TimeModulation($common[$rows:], $people[$rows:])",
        put="TimeModulation($common[$rows:], $people[:$rows])",
        caught_by=(
            "tests/host/test_people_on_transformers.py::test_references_at_the_time_zero_have_the_lora_of_their_person"
        ),
        promise="LoRA per Person: with references",
    ),
    Defect(
        "bridge/transformers/lora_files.py::_rows_of",
        breaks="A LoRA of q alone is added to the first outputs, wherever its layer stands in a fused one.",
        find="slice($start, $start + $length)",
        put="slice(0, $length)",
        caught_by=(
            "tests/host/test_loras_on_transformers.py::test_a_file_with_q_k_and_v_apart_is_the_merged_network[FLUX.1]"
        ),
        promise="LoRA per Person: transformers",
    ),
    Defect(
        "bridge/transformers/lora_files.py::read_lora_file",
        breaks="What a file adds to a part of a fused layer is dropped without a word.",
        find="$patches.append(_Patch($name, _rows_of($key), $reorder, $patch))",
        put="$patches.extend([_Patch($name, None, $reorder, $patch)] if isinstance($key, str) else [])",
        caught_by=(
            "tests/host/test_loras_on_transformers.py::test_a_file_with_q_k_and_v_apart_is_the_merged_network[Z-Image]"
        ),
        promise="LoRA per Person: names of layers",
    ),
    Defect(
        "bridge/transformers/lora_files.py::_reorder_of",
        breaks="Scale and shift of the last layer of FLUX.1 are exchanged in diffusers' LoRAs.",
        find="return $key[2]",
        put="return None",
        caught_by=(
            "tests/host/test_lora_names_of_transformers.py"
            "::test_scale_and_shift_of_the_last_layer_are_put_into_the_order_of_the_network[FLUX.1]"
        ),
        promise="LoRA per Person: names of layers",
    ),
    Defect(
        "bridge/transformers/lora_names.py::more_names",
        breaks="Of musubi's files for Z-Image q, k and v are unknown.",
        find="$prefix + $layer.replace('.', '_')",
        put="$prefix + $layer",
        caught_by=(
            "tests/host/test_lora_names_of_transformers.py::test_a_name_of_a_trainer_finds_its_layer"
            "[Z-Image-lora_unet_layers_0_attention_to_q-layers.0.attention.qkv-(0,256)]"
        ),
        promise="LoRA per Person: names of layers",
    ),
    Defect(
        "bridge/transformers/token_weights.py::_text_alone",
        breaks="In refiners a person's LoRA does not act on their words.",
        find="Span(Kind.WORDS, $tokens, $number - 1)",
        put="Span(Kind.TEXT, $tokens)",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_a_person_everywhere_is_the_merged_network_on_their_words[Z-Image]"
        ),
        promise="LoRA per Person: transformers",
    ),
    Defect(
        "bridge/transformers/token_weights.py::_owner_of",
        breaks="A person's LoRA does not act on the references that are this person's alone.",
        find="if $kind is Kind.REFERENCE and $references is not None: $$body",
        put="if False: $$body",
        caught_by=(
            "tests/host/test_people_on_transformers.py"
            "::test_a_person_everywhere_with_all_is_the_merged_network_on_their_text_with_their_references[FLUX.2-Anna]"
        ),
        promise="LoRA per Person: with references",
    ),
    Defect(
        "bridge/transformers/layouts.py::EmbeddedPieces._embed_piece",
        breaks="A person's LoRA acts on the references of Z-Image as on the picture.",
        find="$is_reference = $number < $count",
        put="$is_reference = False",
        caught_by=(
            "tests/host/test_people_on_transformers.py"
            "::test_a_person_everywhere_with_all_is_the_merged_network_on_their_text_with_their_references[Z-Image-Anna]"
        ),
        promise="LoRA per Person: with references",
    ),
    Defect(
        "bridge/transformers/layouts.py::Padding.padded_counts",
        breaks="References of Z-Image without a text of their own count for no tokens.",
        find="[$multiple] * ($length - len($counts))",
        put="[]",
        caught_by=(
            "tests/host/test_people_on_transformers.py"
            "::test_a_person_everywhere_with_all_is_the_merged_network_on_their_text_with_their_references[Z-Image-Anna]"
        ),
        promise="People as References by region: Z-Image",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch._owned",
        breaks="A reference picture reads the words of a neighbour.",
        find="OwnedTokens($names.index($name), $tokens)",
        put="OwnedTokens(len($names) - 1 - $names.index($name), $tokens)",
        caught_by=(
            "tests/host/test_people_on_transformers.py"
            "::test_words_and_references_are_what_a_dense_mask_gives[Z-Image-apart]"
        ),
        promise="Prompt per Person: with references",
    ),
    Defect(
        "bridge/transformers/attention.py::BlockCalls.check",
        breaks="Behind a pack's copy of a forward all of the picture reads all references, and nobody says so.",
        find="raise $error",
        put="pass",
        caught_by=(
            "tests/host/test_people_on_transformers.py"
            "::test_a_copied_forward_that_loses_the_references_is_named[FLUX.1]"
        ),
        promise="People as References by region: other packs",
    ),
    Defect(
        "bridge/transformers/networks.py::require_known_code",
        breaks="A network with a pack's copy of a forward is taken for the host's.",
        find="if not $module.startswith('comfy.'): $$body",
        put="if False: $$body",
        caught_by=(
            "tests/host/test_people_on_transformers.py"
            "::test_networks_that_are_not_known_are_refused_by_every_node[copied_forward]"
        ),
        promise="Transformers: other packs",
    ),
    Defect(
        "bridge/cross_attention/lora_shares.py::_reading_of_choice",
        breaks="At soft edges pixels have the shares of other pixels.",
        find="$pixels = $has_share.nonzero()[:, 0]\n$own_share = $share[:, $pixels]",
        put="$pixels = $has_share.nonzero()[:, 0]\n$own_share = $share[:, :len($pixels)]",
        caught_by="tests/host/test_lora_per_person.py::test_a_whole_sampling_is_plain_torch_with_hooks[24-dtype1-2e-06]",
        promise="LoRA per Person: regions",
    ),
    Defect(
        "bridge/cross_attention/lora_shares.py::_reading_of_choice",
        breaks="Every pixel reads the text once for every person.",
        find="if not $has_share.all(): $$body",
        put="if False: $$body",
        caught_by=(
            "tests/host/test_lora_per_person.py"
            "::test_where_regions_have_hard_edges_each_pixel_reads_the_text_once[a red coat]"
        ),
        promise="LoRA per Person: speed",
    ),
    Defect(
        "bridge/cross_attention/regional_text_run.py::RegionalTextBatch.attention_output",
        breaks="With LoRAs, the words of a person are read in other pixels.",
        find="$bias.index_select(1, $pixels)",
        put="$bias[:, :len($pixels)]",
        caught_by=(
            "tests/host/test_lora_per_person.py"
            "::test_in_the_first_attention_their_own_half_alone_reads_the_words_of_one"
        ),
        promise="LoRA per Person: words",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::PersonTextsBatch.with_positions",
        breaks="A person's words are counted on from the end of the common text.",
        find="$begin = $start - self._common",
        put="$begin = $start",
        caught_by=(
            "tests/host/test_prompts_on_transformers.py"
            "::test_a_person_everywhere_is_the_plain_forward_of_their_words[FLUX.2]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_texts.py::PersonTexts.for_picture",
        breaks="On a transformer every row of Crop Faces reads the words of the first person.",
        find="$picture_number % len($texts)",
        put="0",
        caught_by=(
            "tests/host/test_rows_of_people.py::test_every_row_is_the_plain_drawing_of_its_persons_words[FLUX.1-words]"
        ),
        promise="second pass: own words",
    ),
    Defect(
        "bridge/transformers/text_places.py::_place_by_row",
        breaks="Of the rows of Crop Faces only the first one reads words.",
        find="$weights[$number] = $on_tokens",
        put="$weights[0] = $on_tokens",
        caught_by=(
            "tests/host/test_rows_of_people.py"
            "::test_every_row_is_the_plain_drawing_of_its_persons_words[Qwen-Image-words]"
        ),
        promise="second pass: own words",
    ),
    Defect(
        "bridge/transformers/person_loras.py::PersonLoras.for_picture",
        breaks="On a transformer every row of Crop Faces has the LoRAs of the first person.",
        find="$picture_number % len($names)",
        put="0",
        caught_by="tests/host/test_rows_of_people.py::test_every_row_has_its_own_lora_and_the_loras_words[Qwen-Image]",
        promise="second pass: own LoRAs",
    ),
    Defect(
        "bridge/transformers/person_texts_run.py::_tokens_added",
        breaks="Of the memory of everybody's words the host is told that of the longest alone.",
        find="max($lengths) if $texts.by_row else sum($lengths)",
        put="max($lengths)",
        caught_by=(
            "tests/host/test_words_beside_others_on_transformers.py"
            "::test_the_memory_of_the_words_is_asked_for[Z-Image-regions]"
        ),
        promise="Prompt per Person: transformers",
    ),
    Defect(
        "bridge/transformers/token_weights.py::TokenWeights.of_people",
        breaks="Everybody's LoRA acts on all of the picture.",
        find="$weights[:, $start:$end] = $people.weights",
        put="$weights[:, $start:$end] = 1",
        caught_by=(
            "tests/host/test_loras_on_transformers.py"
            "::test_each_token_is_that_of_the_network_merged_with_its_persons_lora[FLUX.2]"
        ),
        promise="LoRA per Person: transformers",
    ),
    Defect(
        "bridge/transformers/person_loras.py::StackedLoras.__init__",
        breaks="The strength of a LoRA is ignored on transformers.",
        find="$low_rank.up * $part.strength",
        put="$low_rank.up",
        caught_by="tests/host/test_loras_on_transformers.py::test_any_strength_is_that_of_load_lora[Krea 2-2.5]",
        promise="LoRA per Person: transformers",
    ),
    Defect(
        "bridge/transformers/lora_files.py::read_lora_file",
        breaks="Of a file with q, k and v apart each is added to all outputs of the fused layer.",
        find="_Patch($name, _rows_of($key), $reorder, $patch)",
        put="_Patch($name, None, $reorder, $patch)",
        caught_by=(
            "tests/host/test_loras_on_transformers.py::test_a_file_with_q_k_and_v_apart_is_the_merged_network[Z-Image]"
        ),
        promise="LoRA per Person: names of layers",
    ),
]
