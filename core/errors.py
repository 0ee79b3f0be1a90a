"""Every error a user can meet: what is wrong with both values, then what to do."""

from __future__ import annotations

from collections.abc import Sequence

from .text import plain

_LONGEST = 4000
"""Letters of each half of a message: lists of people and folders fit, a book pasted into a name does not."""


def _listed(items: Sequence[object], nothing: str = "none") -> str:
    return ", ".join(str(item) for item in items) or nothing


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts: 1 place, 2 places."""
    return f"{number} {one if number == 1 else many or one + 's'}"


class LikenessError(Exception):
    """Base of the family. `problem` says what is wrong and where, `advice` what to do about it."""

    # The host puts it before every message; else that would be the path of this file.
    __module__ = "likeness"

    def __init_subclass__(cls) -> None:
        cls.__module__ = LikenessError.__module__

    def __init__(self, problem: str, advice: str) -> None:
        # Whatever a name or a file brings, the host can log it and show it.
        self.problem = plain(problem, _LONGEST)
        self.advice = plain(advice, _LONGEST)
        super().__init__(f"{self.problem} {self.advice}")


class MissingDependency(LikenessError):
    """A Python package that only some nodes need is not installed or does not import."""

    def __init__(self, requirement: str, purpose: str, cause: str) -> None:
        super().__init__(
            f"{purpose} needs the Python package {requirement.split('>')[0]}, which cannot be imported ({cause}).",
            f'Install it into the Python that runs ComfyUI and restart ComfyUI: python -m pip install "{requirement}"',
        )


class ModelMissing(LikenessError):
    """A model file is in none of the folders searched."""

    def __init__(self, what: str, files: Sequence[str], folders: Sequence[str], url: str, size: str) -> None:
        are, several = "is" if len(files) == 1 else "are", len(folders) > 1
        where = f"in none of the folders searched ({_listed(folders)})" if several else f"not in {_listed(folders)}"
        put = "into one of these folders" if several else "there"
        super().__init__(
            f"{what} was not found: {_listed(files)} {are} {where}.",
            f"Download it from {url} ({size}), put it {put} and press R in ComfyUI to refresh.",
        )


class UnsupportedCheckpoint(LikenessError):
    """A file that is not what the loader needs, named for what it is."""

    def __init__(self, path: str, found: str, expected: str, advice: str) -> None:
        super().__init__(f"{path} is {found}; this node needs {expected}.", advice)


class WrongBaseModel(LikenessError):
    """Something made for one model family was given to another."""

    def __init__(self, what: str, found: str, expected: str, advice: str | None = None) -> None:
        super().__init__(
            f"{what} is made for {found}, but {expected} is needed.",
            advice or "Use a checkpoint, text encoder and ControlNet of the same family (SDXL) on every input.",
        )


class FaceNotFound(LikenessError):
    """No face after the whole detection ladder. placeholder: in the picture that comes with ComfyUI."""

    def __init__(self, where: str, width: int, height: int, tried: Sequence[str], placeholder: bool = False) -> None:
        if placeholder:
            super().__init__(
                f"No face found in {where}: it is example.png, the drawing that Load Image shows at first.",
                "Choose a photo in Load Image.",
            )
            return
        advice = "Use a photo, not a drawing, in which the face is larger, sharper and not covered."
        if where.startswith("photo "):  # one of several
            advice += " Or leave such photos out: on_no_face = skip in Identity."
        super().__init__(f"No face found in {where} ({width}x{height} px) after trying {_listed(tried)}.", advice)


class DetectorMissing(LikenessError):
    """A face model that only recognises, where faces are to be found."""

    def __init__(self) -> None:
        super().__init__(
            "The face model has no detector, so no face can be found in a picture: pack in Load Face Model is none.",
            "Choose a pack there, or link face_landmarks from Detect Face Landmarks (MediaPipe): Identity takes them, "
            "and Faces from Landmarks in the place of Detect Faces.",
        )


class RecogniserMissing(LikenessError):
    """An identity lacks the embedding a method was trained on."""

    def __init__(self, method: str, needed: str, identity: str, available: Sequence[str], where: str) -> None:
        super().__init__(
            f"{method} needs {needed}, this identity ({identity}) has {_listed(available, 'no embedding')}.",
            f"Choose {needed} in Load Face Model and make the identity again from the photos. Its file: {where}.",
        )


class BadOrder(LikenessError):
    """A custom order that cannot be followed."""

    def __init__(self, text: str, why: str, people: int, places: int) -> None:
        example = ",".join(str(max(0, person)) for person in range(people, people - places, -1))
        super().__init__(
            f"The order {plain(text, 100)!r} cannot be used: {why}.",
            f"Write one number per place ({places}), e.g. {example}: each person "
            f"({'1' if people == 1 else f'1 to {people}'}) at most once, 0 for an empty place.",
        )


class BadPrompts(LikenessError):
    """A line of Prompt per Person that is about nobody of the cast."""

    def __init__(self, number: int, line: str, why: str, names: Sequence[str]) -> None:
        shown = line if len(line) <= 60 else f"{line[:57]}..."
        numbered = ", ".join(f"{place} {name}" for place, name in enumerate(names, 1))
        super().__init__(
            f"Line {number} of the prompts, {shown!r}, cannot be used: {why}.",
            f"Write one line per person, a name or number, a colon, and what is said of them. There are: {numbered}.",
        )


class NotPlaced(LikenessError):
    """A cast without places where places are needed, or (who is empty) neither a cast nor a layout."""

    def __init__(self, node: str, who: Sequence[str]) -> None:
        why = f"{_listed(who)} {'have' if len(who) > 1 else 'has'} no place"
        why = why if who else "neither a cast nor a layout is connected"
        super().__init__(
            f"{node} needs to know where everybody stands, but {why}.",
            "Put Place Cast between Cast and this node and give it a layout.",
        )


class BadChoice(LikenessError):
    """A word that a combo does not offer, as API calls may send."""

    def __init__(self, name: str, found: str, offered: Sequence[str]) -> None:
        super().__init__(f"{name} is {found!r}, which this node does not know.", f"Choose one of: {_listed(offered)}.")


class BadInput(LikenessError):
    """Something else than an input takes: a number out of its limits, nothing, an object of another kind."""

    def __init__(self, what: str, found: str, expected: str) -> None:
        super().__init__(
            f"{what} is {found}; {expected} is needed.",
            "Look at the node that is linked to it: it may be bypassed, have failed or be the wrong one.",
        )


class BadPicture(LikenessError):
    """An IMAGE or MASK that is no picture."""

    def __init__(self, what: str, why: str, advice: str | None = None) -> None:
        super().__init__(
            f"{what} cannot be used: {why}.",
            advice or "Look at the node before it: it makes something else than Load Image does.",
        )


def unusable_text(what: str) -> BadPicture:
    """Words of which CLIP makes NaN or infinity."""
    return BadPicture(
        what,
        "CLIP makes NaN or infinity of it, and the picture would be black",
        "Look at the weights in the prompt: (smile:1.2) is usual. Where there are none, start ComfyUI with "
        "--fp32-text-enc.",
    )


class BadPoses(LikenessError):
    """A POSE_KEYPOINT that no layout can be made of."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"The pose input cannot be used: {why}.", advice)


class CannotMatch(LikenessError):
    """Order = match faces with nothing to compare."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"People cannot be matched with the faces of the layout: {why}.", advice)


class BadSize(LikenessError):
    """A width and height that cannot be used here. Sizes are (width, height) in pixels."""

    def __init__(self, what: str, found: tuple[int, int], expected: str, advice: str) -> None:
        super().__init__(f"{what} is {found[0]}x{found[1]} px; {expected}.", advice)


class BadEmbedding(LikenessError):
    """NaN, infinity, zeros or a wrong length where a face embedding should be."""

    def __init__(self, identity: str, recogniser: str, why: str, advice: str | None = None) -> None:
        super().__init__(
            f"The {recogniser} embedding of {identity} cannot be used: {why}.",
            advice or "Make the identity again from its photos; if it came from a file, that file is damaged.",
        )


class SequenceUnsupported(LikenessError):
    """Several photos as a sequence for a projection that reads one embedding."""

    def __init__(self, identity: str, photos: int) -> None:
        super().__init__(
            f"{identity} has {photos} photos to be used as a sequence, but this file's projection reads one embedding.",
            "Set photos to mean or normalised mean on both ID-Patch nodes.",
        )


class AdapterMismatch(LikenessError):
    """An adapter whose layers do not fit the MODEL's cross-attention layers."""

    def __init__(self, adapter: str, model: str, theirs: int, ours: int, why: str) -> None:
        super().__init__(
            f"This {adapter} file has {ours} cross-attention layers and does not fit the MODEL ({model}, {theirs} "
            f"layers): {why}.",
            "Use a MODEL with SDXL's own layout (SDXL, Turbo, Lightning, LCM and their fine-tunes), or an adapter "
            "that was trained for this one.",
        )


class BadRegion(LikenessError):
    """A part of the picture that cannot belong to one person."""

    def __init__(self, who: str, why: str, advice: str = "") -> None:
        super().__init__(
            f"The region of {who} cannot be used: {why}.",
            advice or "Give every person a place of their own in Place Cast, or connect one mask per person.",
        )


class NoKeypoints(LikenessError):
    """No face keypoints where InstantID needs them."""

    def __init__(self, node: str, places: Sequence[str]) -> None:
        which = f"places {_listed(places)} have" if len(places) > 1 else f"place {_listed(places)} has"
        where = f"{which} no face keypoints" if places else "there is no face in the keypoints image"
        super().__init__(
            f"{node}: {where}.",
            "Make the layout from faces or masks, or with Group Layout: these know where eyes, nose and mouth are. In "
            "a pose, show more of head and shoulders.",
        )


class ModelNotPatched(LikenessError):
    """The sampler was given conditioning of our apply nodes, and a MODEL that does not come from them."""

    def __init__(self) -> None:
        super().__init__(
            "The sampler's conditioning comes from Apply InstantID (Likeness), Apply Parts, Share Parts Attention, "
            "Prompt per Person or ID Tokens by Region, but its MODEL does not, so faces, parts or words would be lost.",
            "Connect the model output of that node to the sampler (other model nodes may stand between).",
        )


class ConditioningLost(LikenessError):
    """Another pack's function around the MODEL, `module` is where it lives, that does not hand on what ours carries."""

    def __init__(self, module: str, why: str) -> None:
        super().__init__(
            f"A node on this MODEL runs it through a function of its own (its code: {module}), which {why}. So what "
            "Apply InstantID (Likeness), Apply Parts or Share Parts Attention put into the conditioning would be lost.",
            "Bypass that node, or give it a sampler of its own, without the Likeness node.",
        )


class BadRange(LikenessError):
    """A part of the schedule that ends before it starts."""

    def __init__(self, name: str, start: float, end: float) -> None:
        super().__init__(
            f"{name} starts at {start:g} and ends at {end:g} of the schedule, so it would never work.",
            "Set the start below the end.",
        )


class NotAControlNet(LikenessError):
    """Something else where IdentityNet is needed."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The control_net input got {found}, but IdentityNet is a plain SDXL ControlNet.",
            "Load InstantID's ControlNetModel/diffusion_pytorch_model.safetensors with Load ControlNet Model.",
        )


class IdentityNetMissing(LikenessError):
    """IdentityNet is switched on and not all it needs is connected."""

    def __init__(self, missing: Sequence[str], strength: float) -> None:
        super().__init__(
            f"control_strength is {strength:g}, but nothing is connected to {' and '.join(missing)}.",
            "Connect IdentityNet (Load ControlNet Model) to control_net and Face Keypoints Image to image, or set "
            "control_strength to 0 to use the adapter alone.",
        )


class BadPart(LikenessError):
    """A part that the picture could show nothing of."""

    def __init__(self, label: str, why: str, advice: str) -> None:
        super().__init__(f"The part {label!r} cannot be used: {why}.", advice)


class TokensMoved(LikenessError):
    """A node that splits or merges the picture's tokens, where parts are meant for regions of the picture."""

    def __init__(self, tokens: int, width: int, height: int) -> None:
        super().__init__(
            f"Another MODEL node (HyperTile and TomePatchModel do so) has made {tokens} tokens of the "
            f"{width}x{height} of a layer, so nobody can say which of them lie in the target_mask of a part.",
            "Take that node out, or the target_mask of every part.",
        )


class UnsafePath(LikenessError):
    """A file name that points outside its folder."""

    def __init__(self, name: str, folder: str) -> None:
        super().__init__(
            f"The name {name!r} leads outside of {folder}.",
            "Use a plain name; sub-folders of that folder are fine, '..' and absolute paths are not.",
        )


class BadLayout(LikenessError):
    """Places that cannot be made or used: no room, nobody there, no skeleton, off every canvas."""


class BadCast(LikenessError):
    """People who do not fit the places, or who are not there."""


class BadPatches(LikenessError):
    """Another picture where ID-Patch's condition image of this cast is needed."""


class BadParts(LikenessError):
    """Too few or too many parts, or parts twice."""


class BadPhoto(LikenessError):
    """A photo in which nobody can say who is meant."""


class BadScenes(LikenessError):
    """A list of scenes that makes no run."""


class CannotSave(LikenessError):
    """A person who cannot be saved, or is not among the saved; nothing is left of the attempt."""


# What these say


def several_faces(where: str, count: int) -> BadPhoto:
    """More faces than the one that was meant."""
    return BadPhoto(
        f"{where[0].upper()}{where[1:]} shows {count} faces where one person is meant.",
        "Crop the photo to one face. Or set which_face of its Identity node, which may be in a box such as People, to "
        "largest or to a number that it now shows in the photo (all faces, from left to right).",
    )


def face_index_out_of_range(where: str, index: int, count: int) -> BadPhoto:
    """A face number that does not exist."""
    return BadPhoto(
        f"Face {index} was asked for, but {where} has {count}{f' (numbered 1 to {count})' * (count > 1)}.",
        "Choose a number that Identity now shows in the photo: all faces, from left to right.",
    )


def people_places_mismatch(numbers: Sequence[int], absent: Sequence[str], places: int) -> BadCast:
    """The cast and the layout do not have the same number.

    numbers: in the list, of the people who are there; absent: the names of those who are not.
    """
    order = ",".join(map(str, [*numbers[:places], *[0] * (places - len(numbers))]))
    if len(numbers) > places:
        others = f"{'person' if len(numbers) == places + 1 else 'people'} {_listed(numbers[places:])}"
        verb, custom = "more", f"name one person per place: {order!r} leaves out {others}"
    else:
        verb, custom = "fewer", f"write 0 for an empty place: {order!r}"
    people = counted(len(numbers), "person", "people") + (f" (left out: {_listed(absent)})" if absent else "")
    return BadCast(
        f"The cast has {people} and the layout has {counted(places, 'place')}: {verb} people than places.",
        f"Remove or add people or places, or choose order = custom and {custom}.",
    )


def faces_too_small(count: int, largest: float, min_size: int) -> BadPhoto:
    """No face of a picture is as large as asked for. Sizes in pixels."""
    return BadPhoto(
        f"The picture has {counted(count, 'face')}, but the largest is {largest:.0f} px and min_size is {min_size} px.",
        "Lower min_size or use a larger picture.",
    )


def several_pictures(node: str, count: int) -> BadPhoto:
    """A batch where one picture is read."""
    return BadPhoto(
        f"{node} got a batch of {count} pictures; it reads one.",
        f"Pick one with Image From Batch, or use one {node} per picture.",
    )


def no_landmarks(provided: bool) -> BadPhoto:
    """Nothing linked where landmarks are read; provided: whether this ComfyUI has the node that finds them."""
    lacking = "" if provided else " This ComfyUI has no such node: update it (0.22 and later have it)."
    return BadPhoto(
        "Nothing is connected to face_landmarks of Faces from Landmarks.",
        f"Link Detect Face Landmarks (MediaPipe) to it, with the same picture.{lacking} Detect Faces finds faces with "
        "a face pack instead.",
    )


def other_landmarks(found: tuple[int, int, int], pictures: tuple[int, int, int]) -> BadPhoto:
    """Landmarks of another picture. Both are (pictures, width, height) in pixels."""
    theirs, ours = (f"{counted(n, 'picture')} of {width}x{height} px" for n, width, height in (found, pictures))
    return BadPhoto(
        f"face_landmarks was made from {theirs}, the image input has {ours}.",
        "Link one picture to both nodes, with nothing that scales or crops in between.",
    )


def empty_cast(absent: str) -> BadCast:
    """Nobody who could be shown; absent: the names of those without a photo."""
    if absent:
        return BadCast(f"The cast is empty: no photo of {absent} shows a face.", "Choose other photos.")
    return BadCast("The cast is empty: no person is connected.", "Connect at least one Identity or Load Identity.")


def nobody_placed(node: str) -> BadCast:
    """A placed cast in which nobody is left."""
    return BadCast(
        f"Nobody of the cast given to {node} has a place: Place Cast has left everybody out.",
        "Write the number of a person instead of a 0 in its custom_order, or choose another order.",
    )


def too_many_people(names: Sequence[str], most: int) -> BadCast:
    """Inputs beyond those that Cast has, as API calls may send."""
    return BadCast(
        f"Cast takes person_1 to person_{most} and got {_listed(names)} as well, who would be lost.",
        "Connect them to another Cast, and this one to its cast input.",
    )


def rows_missing(node: str, people: int, what: str, rows: int) -> BadCast:
    """A batch that has not one row for everybody of a cast from Crop Faces."""
    return BadCast(
        f"The cast given to {node} comes from Crop Faces and has {counted(people, 'person', 'people')}, one row of the "
        f"batch each, but {what} has {counted(rows, 'row')}.",
        "Encode the crops of the same Crop Faces with VAE Encode, all of them, and draw the images from its cast.",
    )


def together_only(node: str) -> BadCast:
    """A cast from Crop Faces where people stand in one picture."""
    return BadCast(
        f"The cast given to {node} comes from Crop Faces: everybody in it has a picture of their own.",
        "Connect the cast that Crop Faces was given.",
    )


def nothing_in_common(a: str, theirs: str, b: str, others: str) -> BadCast:
    """Two people of different recognisers: name and recognisers of each."""
    return BadCast(
        f"{a} has {theirs} and {b} has {others}: no recogniser in common to blend.",
        "Make both identities with the same Load Face Model.",
    )


def no_recogniser_in_common(loaded: Sequence[str], people: Sequence[tuple[str, Sequence[str]]]) -> BadCast:
    """A face model and people who cannot be compared with what it sees; people: name and recognisers of each."""
    theirs = "; ".join(f"{name} has {_listed(recognisers, 'no embedding')}" for name, recognisers in people)
    return BadCast(
        f"The face model has {_listed(loaded)}, {theirs}: no recogniser that all have, so nothing can be compared.",
        "Make every identity with the Load Face Model that is connected here, or with recognisers = all found.",
    )


def nobody_to_measure(cast: bool) -> BadCast:
    """Nobody to look for; cast: whether one is connected."""
    if cast:
        return BadCast("Nobody of the cast can be looked for: everybody in it has weight 0.", "Raise a weight in Cast.")
    return BadCast(
        "There is nobody to look for: neither a cast nor an identity is connected.",
        "Connect the cast from Place Cast (who stands where is measured too) or from Cast, or one Identity.",
    )


def other_pictures(what: str, found: int, measured: int) -> BadPhoto:
    """A batch of another length than the one that was measured."""
    return BadPhoto(
        f"The report is about {counted(measured, 'picture')}, and {what} has {found}.",
        "Connect the pictures that were measured, and the latents they were decoded from.",
    )


def other_originals(found: int, cut: int) -> BadPhoto:
    """A batch of pictures of another length than the one that was cut."""
    return BadPhoto(
        f"Paste Faces got {counted(found, 'picture')}, and the crops were cut out of {cut}.",
        "Connect the pictures that Crop Faces was given.",
    )


def other_crops(found: int, cut: int) -> BadPhoto:
    """Sampled crops of another number than were cut."""
    return BadPhoto(
        f"Paste Faces got {counted(found, 'sampled crop')}, and Crop Faces cut out {cut}.",
        "Connect all rows of the batch, in their order, decoded from one sampler.",
    )


def not_sampled(count: int) -> BadPhoto:
    """Nothing where the sampled crops should be."""
    return BadPhoto(
        f"Paste Faces has {counted(count, 'crop')} to paste, but nothing is connected to sampled.",
        "Connect the IMAGE of the VAE Decode behind the sampler to sampled.",
    )


def no_such_score(score: str) -> BadPhoto:
    """A score that no picture of the batch has."""
    parts = score == "parts"
    why = "no parts were compared" if parts else "it compares a face with several photos of the person"
    how = (
        "Connect parts and clip_vision to Measure Likeness" if parts else "Give Identity two or more photos of somebody"
    )
    return BadPhoto(f"No picture has the score {score}: {why}.", f"{how}, or choose another score.")


def on_no_canvas(which: str, why: str) -> BadLayout:
    """A place or a face that is on no canvas."""
    return BadLayout(f"{which} {why}.", "Make layouts with the Layout nodes, and faces with Detect Faces.")


def no_faces(size: tuple[int, int]) -> BadLayout:
    """A template photo in which nobody was found. The size is (width, height) in pixels."""
    return BadLayout(
        f"The faces input is empty: Detect Faces kept no face of the {size[0]}x{size[1]} px photo.",
        "Use a photo that shows faces, or lower min_size in Detect Faces.",
    )


def no_room(people: int, framing: str, rows: int, found: tuple[int, int], needed: tuple[int, int]) -> BadLayout:
    """A canvas on which so many people cannot stand without touching faces. Sizes are (width, height) in pixels."""
    who = counted(people, "person", "people")
    return BadLayout(
        f"The canvas is {found[0]}x{found[1]} px; {who} with framing = {framing} in {counted(rows, 'row')} "
        f"need{'s' * (people == 1)} at least {needed[0]}x{needed[1]} px.",
        "Use a larger canvas, fewer people, another framing or another number of rows (0 chooses).",
    )


def no_free_place(
    where: str, face: float, people: int, canvas: tuple[int, int], room: int = 0, wanted: int = 1
) -> BadLayout:
    """A canvas on which not everybody finds a place. face: its size in pixels; canvas: (width, height) in pixels; room:
    how many do of the `wanted`."""
    shown = f"The canvas is {canvas[0]}x{canvas[1]} px and shows {counted(people, 'person', 'people')}"
    if room:
        return BadLayout(
            f"{shown}: with where = {where} there is room for {counted(room, 'face')} of about {face:.0f} px, not for "
            f"{wanted}.",
            "Choose a smaller count, another side, a larger picture or a smaller face_size.",
        )
    return BadLayout(
        f"{shown}: with where = {where} there is no free place for a face of about {face:.0f} px.",
        "Choose another side, a larger picture, a smaller face_size, or where = at x, y.",
    )


def place_taken(x: int, y: int, why: str) -> BadLayout:
    """A place that was asked for and cannot be had. x, y: where the nose should be, in pixels."""
    return BadLayout(
        f"Nobody can be added at ({x}, {y}): {why}.",
        "Choose another x and y (of the nose), a smaller face_size, a larger picture, or where = free place.",
    )


def too_many_rows(rows: int, people: int) -> BadLayout:
    """More rows than people."""
    return BadLayout(
        f"{rows} rows were asked for, but there {'is 1 person' if people == 1 else f'are {people} people'}.",
        "Set rows to 0 to have them chosen, or to no more than the number of people.",
    )


def empty_mask(number: int, size: tuple[int, int]) -> BadLayout:
    """A mask that selects nothing. The size is (width, height) in pixels."""
    return BadLayout(
        f"Mask {number} ({size[0]}x{size[1]} px) is empty: there is no region for a person in it.",
        "Right click Load Image, Open in MaskEditor, paint over the place of that person, Save; or take the mask out "
        "of the batch.",
    )


def no_pose(places: int) -> BadLayout:
    """A layout without a single skeleton where skeletons are needed."""
    return BadLayout(
        f"The layout has {counted(places, 'place')} and no skeleton to draw.",
        "Set body to half in the layout node, or use Layout from Poses or Group Layout.",
    )


def not_in_cast(number: int, names: Sequence[str]) -> BadCast:
    """The number of a person whom a placed cast does not have."""
    listed = ", ".join(f"{n} {name}" for n, name in enumerate(names, 1)) or "nobody"
    return BadCast(
        f"There is no person {number} in the cast; those with a place are {listed}.",
        "Set person to one of these numbers. People whom Place Cast has left out are not counted.",
    )


def no_patches(node: str) -> BadPatches:
    """Another picture where ID-Patch's condition image is needed."""
    return BadPatches(
        f"The image given to {node} holds no ID patches: all its values lie between 0 and 1, those of the patches "
        "do not.",
        "Connect the image output of ID-Patch Condition Image (not its preview), with no other node between.",
    )


def other_patches(node: str, why: str) -> BadPatches:
    """A condition image that was made from another cast."""
    return BadPatches(
        f"The image given to {node} was made from another cast: {why}.",
        "Give ID-Patch Condition Image and this node the same cast, and put no other node between them.",
    )


def parts_unseen(missing: str) -> BadParts:
    """Parts, or what looks at them, without the other."""
    return BadParts(
        f"Measure Likeness cannot compare parts: {missing} is not connected.",
        "Connect parts and clip_vision (a CLIP or DINOv2 vision model, from Load CLIP Vision), or neither.",
    )


def scene_count(count: int, most: int) -> BadScenes:
    """No scene, or more than one run makes."""
    found = counted(count, "scene") if count else "no scene"
    return BadScenes(
        f"The text has {found}; from 1 to {most} can be made in one run.",
        "Write one scene per line, such as: at the beach, in the kitchen." if not count else "Use several runs.",
    )


def cannot_write(path: str, why: str) -> CannotSave:
    """A file that could not be written; nothing is left of the attempt."""
    return CannotSave(
        f"{path} could not be written: {why}.",
        "Choose a shorter or plainer name, and check that the disk has room and the folder may be written to.",
    )


def not_saved(file: str, folders: Sequence[str]) -> CannotSave:
    """A file that is not in the face bank."""
    return CannotSave(
        f"No saved person {file!r} in the folders searched ({_listed(folders)}).",
        "Save one with Save Identity, or copy a file there, and press R in ComfyUI to refresh.",
    )


def nothing_to_save(name: str) -> CannotSave:
    """Somebody without photos."""
    return CannotSave(
        f"{name} has no photo with a face, so there is nothing to save.",
        "Give Identity a photo in which the face is found.",
    )


def saved_twice(who: str, others: Sequence[str], path: str) -> CannotSave:
    """Several people for one file in one run."""
    return CannotSave(
        f"{who} and {_listed(others)} are to be saved to one file, {path}: one of them would be lost.",
        "Give every Save Identity a file name of its own.",
    )


def bad_file_name(name: str, why: str, advice: str) -> CannotSave:
    """A file name that no file can have."""
    return CannotSave(f"The file name {name!r} {why}.", advice)
