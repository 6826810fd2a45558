# syntax=docker/dockerfile:1
#
# docker build --target cpu  -t corral .          any machine
# docker build --target cuda -t corral:cuda .     NVIDIA; run with --gpus all
#
# Alone, the image runs everything (`manage.py up`, embedded PostgreSQL and Valkey) on the volume /data.
# docker-compose.yml runs its processes as services instead.

# --- what both builds share ---

FROM python:3.12-slim-bookworm AS cpu-build
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential cmake git \
 && rm -rf /var/lib/apt/lists/*
# Not -march=native: the image is built here and runs elsewhere.
ENV CMAKE_ARGS="-DGGML_NATIVE=OFF"
WORKDIR /corral
RUN python -m venv /corral/.venv
COPY requirements.lock ./
RUN .venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY . ./
RUN .venv/bin/pip install --no-cache-dir --no-deps --editable .

FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS cuda-build
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential cmake git python3 python3-venv python3-dev \
 && rm -rf /var/lib/apt/lists/*
ENV CMAKE_ARGS="-DGGML_CUDA=ON -DGGML_NATIVE=OFF"
WORKDIR /corral
RUN python3 -m venv /corral/.venv
COPY requirements.lock ./
RUN .venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY . ./
RUN .venv/bin/pip install --no-cache-dir --no-deps --editable .

# --- what runs ---

FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04 AS cuda
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 libgomp1 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 corral \
 && install --directory --owner=corral --mode=0700 /data
COPY --from=cuda-build /corral /corral
WORKDIR /corral
ENV PATH="/corral/.venv/bin:$PATH" CORRAL_DATA=/data CORRAL_LISTEN=0.0.0.0:11434
USER corral
VOLUME /data
EXPOSE 11434
HEALTHCHECK --interval=15s --timeout=7s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:11434/readyz', timeout=6)"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "manage.py", "up"]

FROM python:3.12-slim-bookworm AS cpu
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 corral \
 && install --directory --owner=corral --mode=0700 /data
COPY --from=cpu-build /corral /corral
WORKDIR /corral
ENV PATH="/corral/.venv/bin:$PATH" CORRAL_DATA=/data CORRAL_LISTEN=0.0.0.0:11434
USER corral
VOLUME /data
EXPOSE 11434
HEALTHCHECK --interval=15s --timeout=7s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:11434/readyz', timeout=6)"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "manage.py", "up"]
