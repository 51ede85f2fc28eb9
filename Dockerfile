# The app in a container. From a clone, on any machine with Docker, Podman or Buildah:
#   docker build -t metsatlas .
# for NVIDIA GPUs, the same file (torch brings the CUDA libraries it needs along):
#   docker build -t metsatlas:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# pip reads what is empty as not given
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv /opt/env \
 && /opt/env/bin/pip install --quiet --no-deps --retries 1 --index-url "${TORCH_INDEX}" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml version ./
# first what the app needs, which seldom changes, then the app
RUN mkdir bidsapp && touch bidsapp/__init__.py README.md LICENSE \
 && /opt/env/bin/pip install --quiet --constraint constraints.txt .
COPY README.md LICENSE ./
COPY bidsapp ./bidsapp
RUN /opt/env/bin/pip install --quiet --no-deps --force-reinstall . \
 # what runs the app stays; what builds or tests packages goes
 && /opt/env/bin/pip uninstall --quiet --yes pip setuptools \
 && find /opt/env -type d \( -name tests -o -name test \) -path '*/site-packages/*' \
      -not -path '*/numpy/*' -not -path '*/torch/*' -not -path '*/numba/*' -prune -exec rm -rf {} + \
 && find /opt/env/lib -path '*/torch/include' -prune -exec rm -rf {} + \
 && /opt/env/bin/python3 -m compileall -q -x '/torch/testing/' /opt/env/lib \
 && chmod -R a+rX /opt/env

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
ARG TAG=metsatlas
COPY --from=build /opt/env /opt/env
COPY --chmod=644 version /version
COPY --chmod=644 LICENSE /LICENSE
# Nothing is written outside the output folder and /tmp; HOME need not exist, nor the user a name.
ENV PATH=/opt/env/bin:/usr/local/bin:/usr/bin:/bin \
    LC_ALL=C.UTF-8 \
    PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/metsatlas-cache/matplotlib XDG_CACHE_HOME=/tmp/metsatlas-cache \
    TORCHINDUCTOR_CACHE_DIR=/tmp/metsatlas-cache/inductor TRITON_CACHE_DIR=/tmp/metsatlas-cache/triton \
    DENO_DIR=/tmp/metsatlas-cache/deno \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    METSATLAS_DOCKER_TAG=${TAG}
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
