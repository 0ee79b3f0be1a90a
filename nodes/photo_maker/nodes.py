"""PhotoMaker: load the file, and put people into the class words of a prompt, each read in a part of the picture."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import starmap
from typing import Any

import comfy.clip_vision
import comfy.lora
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ...bridge import notes, schema, scopes
from ...bridge.carried import put
from ...bridge.conditioning import Conditioning, changed_at, check_conditioning
from ...bridge.control_nets.rows import Side
from ...bridge.cross_attention.regional_text import inline_text, without_people
from ...bridge.cross_attention.regional_text_run import RegionalTextRun
from ...bridge.encode import TEXT_WIDTH, check_family, vision_of
from ...bridge.load import FileLoader, Loaded, Published
from ...bridge.lora import with_lora
from ...bridge.presence import NamedRange, marked, of_people, on_model
from ...bridge.remarks import tell_of_checkpoint
from ...bridge.runs import patched
from ...bridge.schedule import WHOLE_SCHEDULE, ScheduleRange
from ...bridge.unet import text_width
from ...core.errors import WrongBaseModel, listed
from ...core.identities import embeddings, portraits
from ...core.inputs import unusable_text
from ...core.methods import method
from ...core.models.tensors import below
from ...core.people import Person
from ...core.places import regions
from ...core.prompts import check_text
from ...core.text import plain
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .class_words import TRIGGER, lay_out_class_words
from .net import PhotoMakerNet

METHOD = method("photo_maker")
APPLY = "Apply PhotoMaker"
WITHOUT_PEOPLE = "No people are added, and neither is the LoRA. The text is read without its trigger words"
FILE = Published.of(METHOD, "PhotoMaker adapter")


class PhotoMaker(Loaded[PhotoMakerNet]):
    """A loaded PhotoMaker file. lora: for the attention of an SDXL UNet, by the names that the host's loader knows."""

    def tokens(self, person: Person) -> Tensor:
        """(n, width) float32 on the CPU, per photo. Raises BadCast, BadEmbedding."""
        pixels = comfy.clip_vision.clip_preprocess(portraits(person.identity, METHOD.title).loose / 255)
        v2 = self.net.qformer_perceiver is not None
        faces = self.beside(embeddings(person, METHOD, "sequence")) if v2 else None
        return self.net.tokens(self.beside(pixels), faces).flatten(0, 1).cpu()

    def fused(self, text: Tensor, place: int, tokens: Tensor, weight: float) -> Tensor:
        """A text (1, T, width) whose class words from `place` on are fused with as many tokens."""
        here = slice(place, place + len(tokens))
        word, seen = map(self.beside, (text[0, here], tokens))
        fused = text.clone()
        fused[0, here] = word.lerp(self.net.fuse_module(word, seen), weight).to(text)
        return fused


PhotoMakerSocket = adapter_socket(METHOD.title, PhotoMaker)


def load_photo_maker(path: str) -> PhotoMaker:
    """Read photomaker-v1.bin, photomaker-v2.bin or a safetensors copy of one. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    encoder, lora = (below(part, state) for part in ("id_encoder.", "lora_weights."))
    encoder.pop("vision_model.embeddings.position_ids", None)  # some versions of transformers save this count
    named = {key.replace("qformer_perceiver.token_", "qformer_perceiver."): one for key, one in encoder.items()}
    patcher = FILE.build(path, partial(PhotoMakerNet, vision=vision_of), {**named, **lora})
    return PhotoMaker(patcher, lora)


SAME_CLIP = "Use the CLIP of an SDXL checkpoint."


def prompt(
    loaded: PhotoMaker, clip: CLIP, text: str, trigger: str, people: Sequence[Person]
) -> tuple[Conditioning, Conditioning, list[tuple[int, int]]]:
    """The plain words of a prompt, and the same with class words fused; where in these those of people above weight
    0 stand, and how many. The class words of `people` stand in the text in their order, a trigger behind each.

    Those at weight 0 have plain words. Raises BadTrigger, BadCast, WrongBaseModel, BadPicture for weights that no
    text can have, BadText, and what `PhotoMaker.tokens` raises.
    """
    for each in (text, trigger):
        check_text(f"The text {plain(each, 60)!r}", each)
    read, mark, nothing = (clip.tokenize(each, return_word_ids=True) for each in (text, trigger, ""))
    if read.keys() != {"g", "l"}:
        found = f"another family (text encoders {listed(sorted(read))})"
        raise WrongBaseModel("The CLIP", found, "SDXL's (text encoders g, l)", SAME_CLIP)
    names = [person.identity.name for person in people]
    single = lay_out_class_words(read, mark, nothing, trigger, names, [1] * len(people))
    said = {n: loaded.tokens(person) for n, person in enumerate(people) if person.weight > 0}
    copies = [len(said[n]) if n in said else 1 for n in range(len(people))]
    copied = lay_out_class_words(read, mark, nothing, trigger, names, copies)
    places = copied.places
    before, after = (clip.encode_from_tokens_scheduled(layout.prompt) for layout in (single, copied))
    # The SDXL refiner's CLIP has SDXL's tokenizer and one of its two encoders.
    for context, _ in before:
        check_family("The clip input", TEXT_WIDTH, context.shape[-1], loaded.net.width, SAME_CLIP)
    if not all(x.isfinite().all() for context, options in before for x in (context, options["pooled_output"])):
        raise unusable_text(f"The text {plain(text, 60)!r}")
    for n, tokens in said.items():
        after = [[loaded.fused(context, places[n], tokens, people[n].weight), options] for context, options in after]
    return before, after, [(places[n], copies[n]) for n in said]


def _control_nets_read(words: Conditioning, side: Conditioning) -> Conditioning:
    """A side whose ControlNets read these texts instead, except where another node has given them others."""
    pairs = zip(words, side, strict=True)
    return [[text, {"cross_attn_controlnet": read, **options}] for (read, _), (text, options) in pairs]


class ApplyPhotoMaker(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LikenessApplyPhotoMaker",
            category=IN_OTHER_METHODS,
            inputs=[
                io.Model.Input("model"),
                io.Clip.Input("clip"),
                io.Conditioning.Input("negative"),
                PhotoMakerSocket.Input("photo_maker"),
                CastOrPersonSocket.Input("cast"),
                io.String.Input("text", multiline=True, dynamic_prompts=True, default=f"photo of a man {TRIGGER}"),
                schema.advanced(io.String.Input("trigger", default=TRIGGER)),
                io.Float.Input("weight", default=1.0, min=0.0, max=2.0, step=0.01),
                io.Float.Input("lora_weight", default=1.0, min=0.0, max=2.0, step=0.01),
                schema.percent_input("start_percent", 0.22),
                *map(schema.advanced, schema.region_inputs()),
                io.Mask.Input("mask", optional=True),
            ],
            outputs=schema.applied_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        clip: CLIP,
        negative: Conditioning,
        photo_maker: PhotoMaker,
        cast: Any,  # a Cast or an Identity
        text: str,
        trigger: str,
        weight: float,
        lora_weight: float,
        start_percent: float,
        **region: Any,
    ) -> io.NodeOutput:
        cast = regions.as_cast(cast)
        cast = replace(cast, people=tuple(replace(one, weight=one.weight * weight) for one in cast.people))
        without = [] if regions.present(cast).people else [WITHOUT_PEOPLE]
        drawn = regions.for_photos(cast)
        acting = scopes.acting(cls, cast, weight, more=without, **region)
        check_family("The model input", TEXT_WIDTH, text_width(model), photo_maker.net.width, SAME_CLIP)
        check_conditioning(negative, photo_maker.net.width, APPLY)
        words, fused, stand = prompt(photo_maker, clip, text, trigger, drawn.people)
        if acting is None:
            return io.NodeOutput(model, words, negative)
        present = regions.present(drawn).people
        scope = scopes.of_bodies(cast, APPLY, WHOLE_SCHEDULE, present, node_id=notes.node_of(cls), **region)
        # ControlNets read the plain words at every step, as in the released photomaker/pipeline_controlnet.py.
        before, after, negative = starmap(_control_nets_read, ((words, words), (words, fused), (negative, negative)))
        areas = scope.regions
        if areas is None:  # else its run looks at the MODEL that samples
            tell_of_checkpoint(scope.canvas, model.get_model_object("latent_format"))
        for (place, count), area in zip(stand, () if areas is None else areas, strict=areas is not None):
            bound = replace(inline_text(place, count, area, scope.canvas), trained=scope.canvas)
            quiet = without_people(bound)
            before, after, negative = put(before, quiet), put(after, bound), put(negative, quiet)
        ranges = [NamedRange("the photos", ScheduleRange(start_percent, 1.0), "start_percent")]
        presence = of_people(regions.names(present), APPLY, notes.node_of(cls), ranges)
        after = marked(after, presence, Side.POSITIVE)
        negative = marked(negative, presence, Side.NEGATIVE)
        positive = [entry for pair in zip(before, after, strict=True) for entry in changed_at(*pair, start_percent)]
        names = comfy.lora.model_lora_keys_unet(model.model, {})
        changed = with_lora(model, photo_maker.lora, lora_weight, notes.node_of(cls), names)
        changed = changed if areas is None else patched(changed, RegionalTextRun)
        changed = on_model(presence, changed, positive)
        return io.NodeOutput(changed, positive, negative, ui=scope.preview(cls))


LOADER = FileLoader(FILE, load_photo_maker)
NODES = [ApplyPhotoMaker]
