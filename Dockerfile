# The app in a container. From a clone, on any machine with Docker, Podman or Buildah:
#   docker build -t metsatlas .
# for NVIDIA GPUs, the same file (torch brings the CUDA libraries it needs along):
#   docker build -t metsatlas:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# pip reads what is empty as not given
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_NO_CACHE_DIR=1
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
# Nothing is written outside the output folder and /tmp; HOME need not exist, nor the user a name.
ENV PATH=/opt/env/bin:/usr/local/bin:/usr/bin:/bin \
    LC_ALL=C.UTF-8 \
    PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/metsatlas-cache/matplotlib XDG_CACHE_HOME=/tmp/metsatlas-cache \
    TORCHINDUCTOR_CACHE_DIR=/tmp/metsatlas-cache/inductor TRITON_CACHE_DIR=/tmp/metsatlas-cache/triton \
    DENO_DIR=/tmp/metsatlas-cache/deno \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /src

# What the app needs, which seldom changes: a layer of its own. pip stays outside, as what builds or tests packages
# goes; with CUDA, Triton calls a C compiler when it first meets a card.
COPY constraints.txt pyproject.toml version ./
RUN mkdir bidsapp && touch bidsapp/__init__.py README.md LICENSE \
 && python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/env \
 && pip="/tmp/pip/bin/pip --python /opt/env/bin/python3" \
 && $pip install --quiet --no-deps --retries 1 --index-url "${TORCH_INDEX}" "$(grep '^torch==' constraints.txt)" \
 && $pip install --quiet --constraint constraints.txt . \
 && $pip uninstall --quiet --yes metsatlas \
 && if [ -d /opt/env/lib/python3.*/site-packages/triton ]; then \
      apt-get update -qq && apt-get install -qq -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi \
 && find /opt/env -type d \( -name tests -o -name test \) -path '*/site-packages/*' \
      -not -path '*/numpy/*' -not -path '*/torch/*' -not -path '*/numba/*' -prune -exec rm -rf {} + \
 && rm -rf /opt/env/lib/python3.*/site-packages/torch/include /tmp/pip /tmp/metsatlas-cache \
 && find /opt/env ! -type l ! -perm -o=r -exec chmod a+rX {} +

# The app, and its kernels, compiled by working on one virtual scan (bidsapp/execution/kernels.py).
COPY README.md LICENSE ./
COPY bidsapp ./bidsapp
RUN kernels=/opt/env/share/metsatlas/kernels \
 && python3 -m venv /tmp/pip \
 && /tmp/pip/bin/pip --python /opt/env/bin/python3 install --quiet --no-deps . \
 && cp version /version && cp LICENSE /LICENSE && cd / && mkdir -p $kernels \
 && NUMBA_CACHE_DIR=/tmp/numba python3 -m bidsapp.demo cohort /tmp/bids --subjects 1 \
 && NUMBA_CACHE_DIR=$kernels metsatlas /tmp/bids /tmp/out participant --fast --skip-bids-validation --omp-nthreads 1 \
 && rm -rf /src/* /tmp/* \
 && chmod -R a+rX $kernels /version /LICENSE
WORKDIR /

ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
ARG TAG=metsatlas
ENV METSATLAS_DOCKER_TAG=${TAG}
LABEL org.opencontainers.image.title="MetsAtlas" \
      org.opencontainers.image.description="BIDS App: brain metastases on one atlas, counted" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.label-schema.schema-version="1.0" \
      org.label-schema.name="MetsAtlas" \
      org.label-schema.description="BIDS App: brain metastases on one atlas, counted" \
      org.label-schema.version="${VERSION}" \
      org.label-schema.vcs-ref="${REVISION}" \
      org.label-schema.build-date="${CREATED}"
ENTRYPOINT ["/opt/env/bin/metsatlas"]
CMD ["--help"]
