# ComfyUI with this pack and Ray, and no weights: a server, one run of batch.py, or a machine of a Ray cluster.
# docs/many_pictures.md says how each is started. The driver of the GPU is the machine's (NVIDIA's container toolkit).
FROM python:3.13-slim-bookworm

# torch.compile has Triton call a C compiler. tini passes on signals and buries the workers that have been killed.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc git libc6-dev tini \
    && rm -rf /var/lib/apt/lists/*

# An active environment is what scripts/environment.py runs in, and what it leaves alone.
ENV VIRTUAL_ENV=/opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv

# From PyPI these bring CUDA 13; for cards older than NVIDIA's 20 series https://download.pytorch.org/whl/cu126.
ARG TORCH_INDEX=https://pypi.org/simple
RUN pip install --index-url "$TORCH_INDEX" torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0

# Every machine of a cluster has the same Ray and the same Python.
ARG COMFYUI=v0.33.0
RUN git clone --depth 1 --branch "$COMFYUI" https://github.com/comfyanonymous/ComfyUI /opt/ComfyUI \
    && pip install -r /opt/ComfyUI/requirements.txt "ray[default]==2.60.0" pooch==1.9.0

# Whoever reaches a Ray cluster without a token runs what they like on it.
ENV RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 COMFYUI_PATH=/opt/ComfyUI

# Who owns what is written into the folders below: docker build --build-arg UID=$(id -u)
ARG UID=1000
RUN useradd --create-home --uid "$UID" comfy \
    && mkdir -p /jobs /opt/ComfyUI/models/likeness_faces /opt/ComfyUI/user \
    && chown -R comfy: /jobs /opt/ComfyUI
COPY --chown=comfy . /opt/ComfyUI/custom_nodes/likeness

USER $UID
WORKDIR /opt/ComfyUI
# Mounted too: models, and the face bank models/likeness_faces. No volumes of their own, as weights that somebody builds
# into an image would be copied at every start.
VOLUME ["/jobs", "/opt/ComfyUI/input", "/opt/ComfyUI/output"]
EXPOSE 8188
ENTRYPOINT ["tini", "--"]
CMD ["python", "main.py", "--listen", "0.0.0.0"]
