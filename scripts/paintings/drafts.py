"""Prompts that show previews of nodes, in a ComfyUI with the miniature and the pack's drawn people."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison.graphs import Graph, Output
from miniature.net import Settings
from PIL import Image
from rig import photos
from rig.host_server import HostServer
from rig.standins import Files

Picture = Image.Image


class Draft(Graph):
    """A prompt that is built node by node, and run to see what its nodes show.

    server: a running ComfyUI. files: the miniature's, which that ComfyUI finds. Ids of nodes are words of the picture
    that is made; nodes that many pictures need are added here, once in a draft.
    """

    def __init__(self, server: HostServer, files: Files, object_info: dict[str, Any]) -> None:
        super().__init__({}, object_info)
        self.server = server
        self.files = files

    def once(self, node_id: str, class_type: str, **inputs: Any) -> str:
        """Add a node that is not there yet. Returns its id."""
        if node_id not in self.prompt:
            self.add(node_id, class_type, **inputs)
        return node_id

    # --- Pictures and people

    def photo(self, name: str) -> Output:
        """A drawn picture of the pack, such as anna or five."""
        (file,) = photos.drawn(name)
        uploaded = self.server.upload_image(file)
        return self.once(name, "LoadImage", image=uploaded), 0

    def loaded(self, node_id: str, picture: Picture) -> str:
        """A node that loads a picture of our own; the transparent part is its mask, as the mask editor saves it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{node_id}.png"
            picture.save(file)
            return self.add(node_id, "LoadImage", image=self.server.upload_image(file))

    def batch(self, node_id: str, pictures: Sequence[Picture]) -> Output:
        """Pictures of one size as a batch."""
        batch: Output | None = None
        for number, picture in enumerate(pictures, 1):
            loaded = (self.loaded(f"{node_id} {number}", picture), 0)
            if batch is None:
                batch = loaded
            else:
                batch = (self.add(f"{node_id} 1 to {number}", "ImageBatch", image1=batch, image2=loaded), 0)
        assert batch is not None
        return batch

    def face_model(self) -> Output:
        """A real detector and a real recogniser, and the recogniser that the miniature has learnt to read."""
        return self.once("face model", "LikenessLoadFaceEmbedder", pack=self.files.face_pack.name), 0

    def real_face_model(self) -> Output:
        """A real detector and a real recogniser alone: for figures of how alike people are."""
        pack = self.files.face_pack.name
        return self.once("real face model", "LikenessLoadFaceEmbedder", pack=pack, recognisers="w600k_mbf"), 0

    def faces(self, image: Output, order: str = "left to right") -> Output:
        """The faces of a picture."""
        return self.once("faces", "LikenessDetectFaces", face_model=self.face_model(), image=image, order=order), 0

    def cast(self, *names: str, face_model: Output | None = None) -> Output:
        """Drawn people of these names, each from the picture of that name."""
        linked: dict[str, Any] = {}
        for number, name in enumerate(names, 1):
            linked[f"photo_{number}"] = self.photo(name.lower())
        face_model = face_model or self.face_model()
        return self.once(
            "cast", "LikenessCastFromPhotos", face_model=face_model, names=", ".join(names), **linked
        ), 0  # fmt: skip

    def group(self, count: int, size: tuple[int, int], framing: str = "half", rows: int = 0) -> Output:
        """Places for a group on a canvas of this width and height."""
        width, height = size
        layout = self.once(
            "layout", "LikenessLayoutForAGroup", count=count, framing=framing, rows=rows, width=width, height=height
        )
        return layout, 0

    def placed(self, cast: Output, layout: Output, custom_order: str = "", node_id: str = "placed") -> Output:
        """The cast in these places, from left to right, or in an order such as 2,1."""
        order = "custom" if custom_order else "left to right"
        return self.add(
            node_id, "LikenessPlaceCast", cast=cast, layout=layout, order=order, custom_order=custom_order
        ), 0  # fmt: skip

    # --- The miniature

    def checkpoint(self) -> str:
        return self.once("checkpoint", "CheckpointLoaderSimple", ckpt_name=self.files.checkpoint.name)

    def no_words(self) -> Output:
        """The conditioning of an empty prompt: the miniature reads no words."""
        return self.once("no words", "CLIPTextEncode", clip=(self.checkpoint(), 1), text=""), 0

    def control_net(self) -> Output:
        return self.once("control net", "ControlNetLoader", control_net_name=self.files.control_net.name), 0

    def id_patch(self) -> Output:
        return self.once("id patch", "LikenessLoadAdapter", file=self.files.id_patch.name), 0

    def sampled(
        self,
        node_id: str,
        positive: Output,
        negative: Output,
        size: tuple[int, int],
        settings: Settings,
        model: Output | None = None,
    ) -> Output:
        """A picture of this width and height, sampled and decoded.

        model: that of the checkpoint where none is named.
        """
        width, height = size
        latent = self.once(f"latent {width}x{height}", "EmptyLatentImage", width=width, height=height)
        sampler = self.add(
            f"{node_id} sampler", "KSampler", model=model or (self.checkpoint(), 0), positive=positive,
            negative=negative, latent_image=(latent, 0), seed=settings.seed, steps=settings.steps, cfg=settings.cfg,
            sampler_name="euler", scheduler="normal",
        )  # fmt: skip
        return self.add(node_id, "VAEDecode", samples=(sampler, 0), vae=(self.checkpoint(), 2)), 0

    def drawn_by_id_patch(self, node_id: str, cast: Output, size: tuple[int, int]) -> Output:
        """A picture of a placed cast, with the settings at which the miniature draws most clearly."""
        settings = Settings()
        applied = self.add(
            f"{node_id} id patch", "LikenessApplyIDPatch", positive=self.no_words(), negative=self.no_words(),
            control_net=self.control_net(), id_patch=self.id_patch(), cast=cast, strength=settings.strength,
            id_start_percent=settings.id_start,
        )  # fmt: skip
        return self.sampled(node_id, (applied, 0), (applied, 1), size, settings)

    # --- What the nodes show

    def previews(self, *node_ids: str) -> list[Picture]:
        """Run the prompt: all pictures under these nodes, in the order of the nodes."""
        run = self.server.run(self._shown(node_ids, ()))
        pictures: list[Picture] = []
        for node_id in node_ids:
            pictures += self._read(run.outputs[node_id])
        return pictures

    def preview(self, node_id: str) -> Picture:
        """The only picture under a node."""
        (picture,) = self.previews(node_id)
        return picture

    def images(self, *outputs: Output) -> list[Picture]:
        """Run the prompt: all pictures of these outputs."""
        run = self.server.run(self._shown((), outputs))
        pictures: list[Picture] = []
        for number in range(len(outputs)):
            pictures += self._read(run.outputs[f"shown {number}"])
        return pictures

    def text(self, output: Output) -> str:
        """Run the prompt: what a text output says."""
        run = self.server.run(self._shown([], [], output))
        return run.outputs["shown text"]["text"][0]

    def _shown(
        self, node_ids: Sequence[str], outputs: Sequence[Output], text: Output | None = None
    ) -> dict[str, dict[str, Any]]:
        """The prompt with nodes for which these nodes and outputs are computed: a host runs no node for nothing."""
        whole = self.copy()
        for node_id in node_ids:
            whole.add(f"run {node_id}", "PreviewAny", source=(node_id, 0))
        for number, output in enumerate(outputs):
            whole.add(f"shown {number}", "PreviewImage", images=output)
        if text:
            whole.add("shown text", "PreviewAny", source=text)
        return whole.prompt

    def _read(self, output: dict[str, Any]) -> list[Picture]:
        pictures: list[Picture] = []
        for image in output["images"]:
            with Image.open(self.server.file(image)) as opened:
                pictures.append(opened.convert("RGB"))
        return pictures
