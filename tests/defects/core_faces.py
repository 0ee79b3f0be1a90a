"""Defects of core/faces: tests/support/anchors.py says what each field means."""

from anchors import Defect

DEFECTS = [
    Defect(
        "core/faces/analysis.py::arrange.key",
        breaks="Largest is the smallest face.",
        find="-area($face.box)",
        put="area($face.box)",
        caught_by="tests/faces/test_faces_detection.py::test_orders",
        promise="orders of faces",
    ),
    Defect(
        "core/faces/analysis.py::recognise",
        breaks="A recogniser's NaN travels on.",
        find="why_bad($rows)",
        put="''",
        caught_by="tests/faces/test_faces_detection.py::test_what_is_no_face_of_the_photo_is_refused[NaN]",
        promise="broken recognisers are named",
    ),
    Defect(
        "core/faces/analysis.py::_loose_picture",
        breaks="The loose portrait of a person who lies stays lying.",
        find="upright($face.keypoints)",
        put="0",
        caught_by=(
            "tests/faces/test_faces_detection.py::test_portraits_are_the_face_doubled_and_head_and_shoulders_upright"
        ),
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/analysis.py::_as_rgb_batch",
        breaks="Portraits of a person are kept with red and blue exchanged.",
        find="$picture[None, ..., ::-1]",
        put="$picture[None, ..., :]",
        caught_by=(
            "tests/faces/test_faces_detection.py::test_portraits_are_the_face_doubled_and_head_and_shoulders_upright"
        ),
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/finding.py::_is_doubtful",
        breaks="On photos upside down mouths are taken for eyes.",
        find="$face.score < _SURE or abs($across) > abs($down)",
        put="False",
        caught_by="tests/faces/test_faces_detection.py::test_turned_photo_gives_the_same_person_in_the_same_place",
        promise="turned photos give the same faces",
    ),
    Defect(
        "core/faces/landmarks.py::meshes_of_pictures",
        breaks="Landmarks of another picture are taken for this one's.",
        find="$found != $shown",
        put="False",
        caught_by="tests/faces/test_landmarks.py::test_what_the_node_gives_and_what_it_does_not",
        promise="wrong values are named",
    ),
    Defect(
        "core/faces/model.py::Files.detectors",
        breaks="The smaller of two detectors is loaded.",
        find="sorted($$before, reverse=True)",
        put="sorted($$before)",
        caught_by="tests/faces/test_faces_files.py::test_the_larger_of_two_detectors_is_taken",
        promise="face packs as people have them",
    ),
    Defect(
        "core/faces/model.py::IRSE50Recogniser.embed",
        breaks="IR-SE50 reads pictures a little darker.",
        find="$float / 255",
        put="$float / 256",
        caught_by="tests/unit/test_faces_ir_se50.py::test_embeddings_equal_facexlib",
        promise="embeddings equal facexlib's",
    ),
    Defect(
        "core/faces/model.py::IRSE50Recogniser.embed",
        breaks="IR-SE50 sees faces in RGB.",
        find="$as_tensor.permute",
        put="$as_tensor.flip(-1).permute",
        caught_by="tests/unit/test_faces_ir_se50.py::test_embeddings_equal_facexlib",
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/model.py::ArcFace.embed",
        breaks="ArcFace sees faces in BGR.",
        find="$as_tensor.flip(-1)",
        put="$as_tensor",
        caught_by="tests/faces/test_faces_torch.py::test_every_face_of_every_photo[t1]",
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/onnx_network.py::_step",
        breaks="An attribute that nothing here knows is passed over.",
        find="sorted($keys - $attributes)",
        put="sorted($keys - $keys)",
        caught_by=(
            "tests/faces/test_onnx_network.py::test_what_is_unknown_or_cannot_run_is_told_before_it_runs[attribute]"
        ),
        promise="unknown networks are refused",
    ),
    Defect(
        "core/faces/onnx_network.py::Network._run",
        breaks="A small file takes all memory.",
        find="$total_bytes > ROOM",
        put="False",
        caught_by=(
            "tests/faces/test_onnx_network.py::test_what_is_unknown_or_cannot_run_is_told_before_it_runs[enlarged]"
        ),
        promise="hostile files are refused",
    ),
    Defect(
        "core/faces/onnx_network.py::opened",
        breaks="Outputs of a wrong size reach the detector.",
        find="$sizes != list($output_sizes)",
        put="False",
        caught_by=(
            "tests/faces/test_onnx_network.py::test_what_is_unknown_or_cannot_run_is_told_before_it_runs[outputs]"
        ),
        promise="unknown networks are refused",
    ),
    Defect(
        "core/faces/onnx_operators.py::convolution",
        breaks="Uneven pads lie on the wrong sides.",
        find="functional.pad($x, ($window.left, $window.right, $window.top, $window.bottom))",
        put="functional.pad($x, ($window.top, $window.bottom, $window.left, $window.right))",
        caught_by="tests/faces/test_onnx_network.py::test_operator[Conv, uneven pads]",
        promise="networks in torch equal onnxruntime",
    ),
    Defect(
        "core/faces/onnx_operators.py::batch_normalization",
        breaks="Batch norms forget the mean.",
        find="functional.batch_norm($x, $mean, $$rest, eps=$epsilon)",
        put="functional.batch_norm($x, $mean * 0, $$rest, eps=$epsilon)",
        caught_by="tests/faces/test_onnx_network.py::test_operator[BatchNormalization]",
        promise="networks in torch equal onnxruntime",
    ),
    Defect(
        "core/faces/onnx_operators.py::batch_normalization",
        breaks="IR-SE50's batch norms forget the mean.",
        find="functional.batch_norm($x, $mean, $$rest, eps=$epsilon)",
        put="functional.batch_norm($x, 0 * $mean, $$rest, eps=$epsilon)",
        caught_by="tests/unit/test_faces_ir_se50.py::test_embeddings_equal_facexlib",
        promise="embeddings equal facexlib's",
    ),
    Defect(
        "core/faces/onnx_operators.py::average_pool",
        breaks="Pooling counts what lies outside.",
        find="functional.avg_pool2d($$before, bool($count_include_pad))",
        put="functional.avg_pool2d($$before, True)",
        caught_by="tests/faces/test_onnx_network.py::test_operator[AveragePool]",
        promise="networks in torch equal onnxruntime",
    ),
    Defect(
        "core/faces/onnx_operators.py::resize",
        breaks="An interpolation that is not known is computed as another.",
        find="$mode == 'nearest'",
        put="True",
        caught_by=("tests/faces/test_onnx_network.py::test_what_is_unknown_or_cannot_run_is_told_before_it_runs[mode]"),
        promise="unknown networks are refused",
    ),
    Defect(
        "core/faces/pictures.py::to_picture",
        breaks="Photos of Load Image are read with red and blue exchanged.",
        find="$numpy[..., ::-1]",
        put="$numpy",
        caught_by=(
            "tests/faces/test_faces_detection.py::test_photos_are_kept_to_the_bit_and_transparent_pixels_are_white"
        ),
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/pictures.py::from_file",
        breaks="Photos of a folder are read with red and blue exchanged.",
        find="np.asarray(read_picture($path))[..., ::-1]",
        put="np.asarray(read_picture($path))",
        caught_by="tests/host/test_photos.py::test_a_folder_becomes_people_with_several_photos_each",
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/pictures.py::to_image",
        breaks="The face crop that is seen has red and blue exchanged.",
        find="$picture[..., ::-1].astype",
        put="$picture.astype",
        caught_by=(
            "tests/faces/test_faces_detection.py::test_portraits_are_the_face_doubled_and_head_and_shoulders_upright"
        ),
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/pictures.py::_sampled",
        breaks="A face at the edge is smeared instead of black.",
        find="$share = $abs * $inside",
        put="$share = $abs",
        caught_by="tests/faces/test_faces_torch.py::test_a_face_at_the_edge_is_black_outside_of_the_picture",
        promise="faces in torch equal insightface's",
    ),
    Defect(
        "core/faces/scrfd.py::Scrfd.__call__",
        breaks="The detector sees photos in BGR.",
        find="$pixels.flip(-1)",
        put="$pixels",
        caught_by="tests/faces/test_faces_torch.py::test_every_face_of_every_photo[t1]",
        promise="pictures for networks",
    ),
    Defect(
        "core/faces/scrfd.py::_without_overlaps",
        breaks="One face is found several times.",
        find="_OVERLAP",
        put="2.0",
        caught_by="tests/faces/test_faces_torch.py::test_every_face_of_every_photo",
        promise="faces in torch equal insightface's",
    ),
]
