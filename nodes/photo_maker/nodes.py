"""PhotoMaker: load the file, and put people into the class words of a prompt, each read in a part of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import comfy.clip_model
import comfy.clip_vision
import comfy.lora
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ...bridge.apply.acting_people import ActingPeople
from ...bridge.apply.begin import OnBodies, begin_acting
from ...bridge.host import schema
from ...bridge.host.load import FileLoader, Loaded, Published
from ...bridge.host.schedule import WHOLE_SCHEDULE, ScheduleRange
from ...bridge.host.shared_network import model_of
from ...bridge.host.unet import check_text_width, text_width
from ...bridge.loras.adapter_files import with_lora
from ...bridge.sampling.carried import carry
from ...bridge.sampling.conditioning import Conditioning, SamplerInputs, changed_in_turn, check_conditioning
from ...bridge.sampling.missing_people import NamedRange
from ...bridge.sampling.node_of_run import Canvas
from ...bridge.words.unet.run import UNET_WORDS
from ...bridge.words.unet.words import UnetWords
from ...core import taking_part
from ...core.attention.projections import HEAD_DIM
from ...core.cast import Cast, Member, Person
from ...core.checks.errors import WrongBaseModel, listed
from ...core.checks.prompts import check_text
from ...core.checks.text import plain
from ...core.checks.value_checks import unusable_text
from ...core.methods import method
from ...core.models.tensors import State, below
from ...core.persons.combining import embeddings, portraits
from ..categories import IN_OTHER_METHODS
from ..sockets import CastOrPersonSocket, adapter_socket
from .class_words import TRIGGER, TriggeredPrompt
from .net import PhotoMakerNet

METHOD = method("photo_maker")
APPLY = "Apply PhotoMaker"
WITHOUT_PEOPLE = "No people are added, and neither is the LoRA. The text is read without its trigger words"
FILE = Published.of_method(METHOD, "PhotoMaker adapter")


class PhotoMaker(Loaded[PhotoMakerNet]):
    """A loaded PhotoMaker file.

    lora: the tensors of the LoRA that the file brings for an SDXL UNet, under names that the host's loader knows.
    """

    method_title = METHOD.title

    def check_fits(self, given: SamplerInputs, node_name: str) -> None:
        """Raise WrongBaseModel for a MODEL or a negative prompt of another text width than the file's."""
        assert given.model is not None
        check_text_width("The model input", text_width(given.model), self.width, SAME_CLIP)
        check_conditioning(given.texts, self.width, node_name)

    def tokens(self, member: Member) -> Tensor:
        """The tokens of a person's photos, one photo after the other: (n, width) float32 on the CPU.

        n is one token for each photo in version 1, and two in version 2. Raises BadCast, BadEmbedding.
        """
        photos = portraits(member.person, METHOD.title).loose.float() / 255  # (photos, H, W, 3), 0..1
        pixels = comfy.clip_vision.clip_preprocess(photos)  # (photos, 3, 224, 224)
        faces: Tensor | None = None
        if self.net.qformer_perceiver is not None:  # version 2
            faces = self.on_device(embeddings(member, METHOD, "sequence"))  # (photos, 512): none are joined
        return self.net.tokens(self.on_device(pixels), faces).flatten(0, 1).cpu()

    def fused(self, text_tokens: Tensor, position: int, tokens: Tensor, weight: float) -> Tensor:
        """A text in which a class word is fused with the tokens of a person's photos: (1, T, width).

        text_tokens: the text, (1, T, width), in which the class word stands n times, from the index `position` on.
        tokens: (n, width), from `tokens`. weight: 0 leaves the word as it is, 1 is what was trained.
        """
        copies = slice(position, position + len(tokens))
        words = self.on_device(text_tokens[0, copies])  # (n, width)
        fused_words = self.net.fuse_module(words, self.on_device(tokens))  # (n, width)
        fused = text_tokens.clone()
        fused[0, copies] = words.lerp(fused_words, weight).to(text_tokens)  # words + weight * (fused_words - words)
        return fused


PhotoMakerSocket = adapter_socket(PhotoMaker)


def load_photo_maker(path: str) -> PhotoMaker:
    """Read photomaker-v1.bin, photomaker-v2.bin or a safetensors copy of one. Raises UnsupportedCheckpoint."""
    state = FILE.read(path)
    encoder = below("id_encoder.", state)
    lora = below("lora_weights.", state)
    # Some versions of transformers save the numbers 0, 1, ... of the positions, which are no weights.
    encoder.pop("vision_model.embeddings.position_ids", None)
    network_state: dict[str, Tensor] = {}
    for key, tensor in encoder.items():
        # In version 2 two layers are called token_proj and token_norm; FacePlusProjection calls them proj and norm.
        network_state[key.replace("qformer_perceiver.token_", "qformer_perceiver.")] = tensor
    all_tensors = {**network_state, **lora}  # `build` checks those of the LoRA, too
    patcher = FILE.build(path, partial(PhotoMakerNet, vision=_vision_of), all_tensors)
    return PhotoMaker(patcher, lora)


def _vision_of(state: State, *, ops: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The host's CLIP vision transformer in the sizes of a file's tensors. The weights are not loaded into it.

    state: the tensors by their names, as transformers' CLIPVisionModel has them. ops, device, dtype: the host's.
    """
    # (width, channels, patch, patch)
    width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
    cells = len(state["embeddings.position_embedding.weight"]) - 1  # patches of a picture: one token is the class token
    layer_count = sum(key.endswith("mlp.fc1.bias") for key in state)
    config = {
        "model_type": "clip_vision_model",
        "hidden_act": "quick_gelu",
        "num_channels": 3,
        "hidden_size": width,
        "num_attention_heads": width // HEAD_DIM,
        "patch_size": patch,
        "image_size": patch * round(cells**0.5),  # of the sides of a square
        "intermediate_size": len(state["encoder.layers.0.mlp.fc1.bias"]),
        "num_hidden_layers": layer_count,
    }
    return comfy.clip_model.CLIPVision(config, dtype, device, ops)


SAME_CLIP = "Use the CLIP of an SDXL checkpoint."


@dataclass(frozen=True)
class ClassWord:
    """The class word of one person in a text.

    position: the index of its first copy among all tokens of the text. copies: how many copies there are, one after the
    other.
    """

    position: int
    copies: int


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt as SDXL's text encoders read it, without its trigger words.

    plain: with each class word once. fused: with the class words of people of weight above 0 repeated, and fused with
    the photos of these people. class_words: where the class words of these people stand in `fused`, in their order.
    """

    plain: Conditioning
    fused: Conditioning
    class_words: list[ClassWord]


def encode_prompt(loaded: PhotoMaker, clip: CLIP, text: str, trigger: str, people: Sequence[Member]) -> EncodedPrompt:
    """A prompt encoded twice: plainly, and with people in its class words.

    text: has a class word for each of `people` in their order, each followed by the trigger word. The class words of
    people of weight 0 stay plain. Raises BadTrigger, BadCast, WrongBaseModel, BadPicture for weights that no text can
    have, BadText, and what `PhotoMaker.tokens` raises.
    """
    for user_text in (text, trigger):
        check_text(f"The text {plain(user_text, 60)!r}", user_text)
    names = [member.name for member in people]  # also of people of weight 0, who have a trigger in the text, too
    text_tokens = clip.tokenize(text, return_word_ids=True)
    trigger_tokens = clip.tokenize(trigger, return_word_ids=True)
    empty_tokens = clip.tokenize("", return_word_ids=True)
    encoders = text_tokens.keys()
    if encoders != {"g", "l"}:
        family = f"another family (text encoders {listed(sorted(encoders))})"
        raise WrongBaseModel("The CLIP", family, "SDXL's (text encoders g, l)", SAME_CLIP)

    prompt = TriggeredPrompt(text_tokens, trigger_tokens, empty_tokens, trigger, names)
    plain_layout = prompt.laid_out([1] * len(people))
    photo_tokens: dict[int, Tensor] = {}  # number of a person of weight above 0 -> (n, width)
    for number, member in enumerate(people):
        if member.is_present:
            photo_tokens[number] = loaded.tokens(member)
    # One copy of a class word for each token; the word of a person of weight 0 stands once.
    copies = [len(photo_tokens[number]) if number in photo_tokens else 1 for number in range(len(people))]
    fused_layout = prompt.laid_out(copies)
    class_words = {number: ClassWord(fused_layout.positions[number], copies[number]) for number in photo_tokens}

    plain_text: Conditioning = clip.encode_from_tokens_scheduled(plain_layout.prompt)
    repeated_text: Conditioning = clip.encode_from_tokens_scheduled(fused_layout.prompt)
    _check_text_encoding(plain_text, text, loaded.net.width)
    fused_text: Conditioning = []
    for context, options in repeated_text:
        # One person after the other: each changes only their own class word.
        fused = context
        for number, tokens in photo_tokens.items():
            fused = loaded.fused(fused, class_words[number].position, tokens, people[number].weight)
        fused_text.append([fused, options])
    return EncodedPrompt(plain_text, fused_text, [*class_words.values()])


def _check_text_encoding(encoded: Conditioning, text: str, width: int) -> None:
    """Raise WrongBaseModel for an encoded text of another width, and BadPicture for one with NaN or infinity.

    text: what was encoded, for messages.
    """
    # The SDXL refiner's CLIP has SDXL's tokenizer and one of its two encoders.
    for context, _ in encoded:
        check_text_width("The clip input", context.shape[-1], width, SAME_CLIP)
    for context, options in encoded:
        pooled = options["pooled_output"]
        if not context.isfinite().all() or not pooled.isfinite().all():
            raise unusable_text(f"The text {plain(text, 60)!r}")


def _read_by_control_nets(texts: Conditioning, side: Conditioning) -> Conditioning:
    """A side of the conditioning whose ControlNets read other texts than the UNet.

    texts: conditioning with one entry for each entry of `side`; its texts are those for the ControlNets. Where another
    node has already chosen a text for ControlNets, that text stays.
    """
    entries: Conditioning = []
    for (control_text, _), (text, options) in zip(texts, side, strict=True):
        # The host's own option; an option that is already there wins.
        entries.append([text, {"cross_attn_controlnet": control_text, **options}])
    return entries


@dataclass(frozen=True)
class Settings:
    """What is set on Apply PhotoMaker. start_percent: from where on the photos are read."""

    text: str
    trigger: str
    weight: float
    lora_weight: float
    start_percent: float


class ApplyPhotoMaker(io.ComfyNode):
    """Encodes a prompt with people's photos fused into its class words, and puts the file's LoRA onto the MODEL."""

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
        cast: Cast | Person,
        mask: Tensor | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        settings = Settings(**values)
        given = SamplerInputs(model, [], negative)
        taking = taking_part.with_photos(_with_weight(taking_part.as_cast(cast), settings.weight))
        where = OnBodies(mask, rows=False)  # there is one prompt: people of whom each has a row are refused
        # Without people it encodes the prompt nonetheless: it has no positive input.
        acting = begin_acting(cls, APPLY, given, taking, where, fits=photo_maker.check_fits, nothing=WITHOUT_PEOPLE)
        encoded = encode_prompt(photo_maker, clip, settings.text, settings.trigger, taking.weighted.people)
        if not acting.people:
            return io.NodeOutput(model, encoded.plain, negative)
        sides = _sides(encoded, negative, acting)
        positive = changed_in_turn([(0.0, sides.before), (settings.start_percent, sides.after)])
        # Name of a layer in a LoRA's file -> name of its weight in the UNet.
        layer_names = comfy.lora.model_lora_keys_unet(model_of(model), {})
        model_with_lora = with_lora(model, photo_maker.lora, settings.lora_weight, layer_names)
        made = SamplerInputs(model_with_lora, positive, sides.negative)
        photo_range = NamedRange("the photos", ScheduleRange(settings.start_percent, 1.0), "start_percent")
        kinds = [] if acting.regions is None else [UNET_WORDS]
        return acting.outputs(made, kinds, acting.note_subject([photo_range]))


def _with_weight(cast: Cast, weight: float) -> Cast:
    """The same cast with everybody's weight multiplied by the node's."""
    people = [replace(member, weight=member.weight * weight) for member in cast.people]
    return replace(cast, people=tuple(people))


@dataclass(frozen=True, eq=False)
class _Sides:
    """The conditioning of Apply PhotoMaker.

    before, after: the positive before and after the point start_percent of the schedule, an entry for each entry of the
    other. negative: the negative for the whole schedule.
    """

    before: Conditioning
    after: Conditioning
    negative: Conditioning


def _sides(encoded: EncodedPrompt, negative: Conditioning, acting: ActingPeople) -> _Sides:
    """The sides of the conditioning. With regions the UNet reads each class word in its person's region alone.

    ControlNets read the plain words. negative: as it is linked. acting: the people whose class words `encoded` has.
    """
    # ControlNets read the plain words at every step, as in the released photomaker/pipeline_controlnet.py.
    before = _read_by_control_nets(encoded.plain, encoded.plain)
    after = _read_by_control_nets(encoded.plain, encoded.fused)
    without_people = _read_by_control_nets(negative, negative)
    if acting.regions is None:
        return _Sides(before, after, without_people)
    # The class words are of the acting people, in their order.
    for word, region in zip(encoded.class_words, acting.regions, strict=True):
        words = UnetWords(
            source=object(),  # one for each class word, as if each were of a node of its own
            schedule=WHOLE_SCHEDULE,
            regions=region[None],  # (1, H, W)
            inline_counts=(word.copies,),
            start=word.position,
            canvas=Canvas.of_regions(acting.node_of_run, region[None]),
        )
        # The host may compute texts with and without people in one batch, so those without say that they have none.
        no_words = words.without_people()
        before = carry(before, no_words)
        after = carry(after, words)
        without_people = carry(without_people, no_words)
    return _Sides(before, after, without_people)


LOADER = FileLoader(FILE, load_photo_maker)
NODES = [ApplyPhotoMaker]
