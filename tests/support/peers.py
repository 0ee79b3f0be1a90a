"""One sampling twice: through our nodes and the host's sampler, and in diffusers' own modules."""

from collections.abc import Callable, Mapping
from typing import Any

import tiny_sdxl
import torch
import torch.nn.functional as functional
from diffusers import EulerDiscreteScheduler
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from graph_run import run
from graphs import ours
from pack.bridge.host.unet import attention_widths, text_width
from pack.core.models.tensors import below
from sample_values import read as read
from seeded_files import ip_adapter_file
from tiny import tiny_networks
from torch import Tensor, nn

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def apply(kind: str, **inputs: Any) -> Any:
    """The outputs of one of our nodes; inputs that are not given are those of graphs.DEFAULTS."""
    return run(ours(kind, **inputs), {})


def adapter_for(model: Any, kind: str) -> dict[str, dict[str, Tensor]]:
    """An IP-Adapter's file of one of seeded_files.SIZES for a MODEL."""
    return ip_adapter_file(kind, attention_widths(model), text_width(model))


def converted(state: Mapping[str, Tensor]) -> nn.Module:
    """The part of a file that makes tokens, in diffusers' class for it."""
    convert = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    return convert(dict(state), low_cpu_mem_usage=False).eval().requires_grad_(False)


def with_adapters(unet: Any, *files: Any, scales: Any = (1.0,)) -> Any:
    """diffusers' UNet with these files in it, each at its scale."""
    unet._load_ip_adapter_weights(list(files), low_cpu_mem_usage=False)
    scaled(unet, scales)
    return unet.to(unet.dtype).eval().requires_grad_(False)


def scaled(unet: Any, scales: Any) -> None:
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = list(scales)


def attend(heads: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of a diffusers layer between its projections, (B, n, C) each -> (B, n, C)."""
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def linear(x: Tensor, p: Mapping[str, Tensor], name: str) -> Tensor:
    """A layer of the tensors p, by its name in a file."""
    return functional.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def norm(x: Tensor, p: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])


def perceived(latents: Tensor, x: Tensor, p: Mapping[str, Tensor], head_dim: int = 64) -> Tensor:
    """What queries (B, q, inside) make of x (B, n, embedding), by the tensors p of a Perceiver: (B, q, width)."""
    x = linear(x, p, "proj_in")
    for n in range(sum(key.endswith("to_q.weight") for key in p)):
        attention, forward = f"layers.{n}.0", f"layers.{n}.1"
        normed = norm(latents, p, f"{attention}.norm2")
        query = linear(normed, p, f"{attention}.to_q")
        read_of_all = torch.cat([norm(x, p, f"{attention}.norm1"), normed], dim=1)
        attended = attend(
            query.shape[-1] // head_dim, query, *linear(read_of_all, p, f"{attention}.to_kv").chunk(2, -1)
        )
        latents = latents + linear(attended, p, f"{attention}.to_out")
        widened = functional.gelu(linear(norm(latents, p, f"{forward}.0"), p, f"{forward}.1"))
        latents = latents + linear(widened, p, f"{forward}.3")
    return norm(linear(latents, p, "proj_out"), p, "norm_out")


def face_tokens(embeddings: Tensor, states: Tensor, p: Mapping[str, Tensor], head_dim: int = 64) -> Tensor:
    """Tokens of faces (B, 512) and of what CLIP sees of them (B, n, embedding), by the tensors p of FaceID Plus v2."""
    tokens = linear(functional.gelu(linear(embeddings, p, "proj.0")), p, "proj.2")
    tokens = norm(tokens.view(len(embeddings), -1, len(p["norm.weight"])), p, "norm")
    return tokens + perceived(tokens, states, below("perceiver_resampler.", p), head_dim)


class Sampling:
    """Two texts, of which the first is the negative, noise, and the sigmas of so many steps of the authors' Euler."""

    def __init__(
        self, width: int, height: int, steps: int = 6, *, seed: int = 11, batch: int = 1, cfg: float = 5.0,
        context: int = 2048, spacing: str = "leading",
    ) -> None:  # fmt: skip
        self.generator = torch.Generator().manual_seed(seed)
        self.cfg = cfg
        self.text, self.pooled = self.normal(2, 77, context), self.normal(2, 1280)
        scheduler = EulerDiscreteScheduler(**BETAS, steps_offset=1, timestep_spacing=spacing)
        scheduler.set_timesteps(steps)
        self.sigmas = scheduler.sigmas.float()
        self.timesteps = scheduler.timesteps
        self.start = self.normal(batch, 4, height // 8, width // 8) * scheduler.init_noise_sigma
        self.time_ids = torch.tensor([[height, width, 0, 0, height, width]])

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    @property
    def sides(self) -> dict[str, Any]:
        """The texts as inputs of a node."""
        return dict(zip(("positive", "negative"), tiny_sdxl.conditioning(self.text, self.pooled), strict=True))

    def ours(self, model: Any, positive: Any, negative: Any) -> Tensor:
        return tiny_networks.host_sample(model, self.start, self.sigmas, positive, negative, self.cfg)

    def theirs(self, unet: Any, contexts: Any = None, pooled: Any = None, control: Any = None, **more: Any) -> Tensor:
        """See tiny_sdxl.diffusers_sample."""
        texts = contexts or (lambda _: self.text), self.pooled if pooled is None else pooled
        with torch.no_grad():
            return tiny_sdxl.diffusers_sample(
                unet, self.start, self.sigmas, self.timesteps, *texts, self.time_ids, self.cfg, control, **more
            )

    def inside(self, model: Any, i: int, first: float, last: float) -> bool:
        """Whether step i lies in a range, by the host's own percentages."""
        to_sigma = model.get_model_object("model_sampling").percent_to_sigma
        return bool(to_sigma(first) >= self.sigmas[i] >= to_sigma(last))


def without_options(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The forward of a network as the copy of a pack has it that does not hand on transformer_options."""

    def copied(*args: Any, **kwargs: Any) -> Tensor:
        if "transformer_options" in kwargs:
            return forward(*args, **{**kwargs, "transformer_options": {}})
        places = list(args)
        places[next(place for place, value in enumerate(args) if isinstance(value, dict))] = {}
        return forward(*places, **kwargs)

    return copied
