# Two targets: `cpu` (LiteRT, no TensorFlow) and `gpu` (TensorFlow with CUDA).
#   docker build --target cpu -t osteo-tiles:cpu .
# The base images are arguments, so that a hospital can use its own mirror or digest. The build and
# final stages must have the same Python.
# VERSION, REVISION and CREATED are known only to whoever builds: `make release` passes them.
ARG CPU_BASE=python:3.11-slim-bookworm
ARG GPU_BASE=python:3.11-slim-bookworm

FROM ${CPU_BASE} AS models
# A bundle is 25 MB, so the image contains only the newest.
ARG BUNDLE=osteo-mobilenetv2/4
COPY models/${BUNDLE} /models/${BUNDLE}
# Any user must be able to read the bundle, whatever the checkout's umask was.
RUN chmod -R a+rX /models

FROM ${CPU_BASE} AS build-cpu
WORKDIR /build
COPY requirements/serve.lock ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r serve.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY app app
# app/api/problems.md links to it.
COPY docs/problems.md docs/problems.md
COPY training training
# Nothing is installed at run time, so the image needs neither pip nor the build tools.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/venv/bin/python -m pip uninstall --yes --quiet hatchling editables trove-classifiers setuptools pip

# The packages of `gpu` take 7 GB. They are installed in the final stage, since a copy from a build
# stage would take that space again, and in a layer of their own, which a new version of the program
# leaves as it is.
# In both targets, any user of group 0 may run the service, even one without an entry in
# /etc/passwd. It writes only to /tmp and to /var/lib/osteo (keys, audit); a new volume takes the
# mode over.
FROM ${GPU_BASE} AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OSTEO_HOST=0.0.0.0 \
    OSTEO_MODELS_DIR=/models \
    OSTEO_STATE_DIR=/var/lib/osteo \
    OSTEO_CREATE_FIRST_KEY=true \
    CUDA_CACHE_PATH=/var/lib/osteo/cuda-cache \
    CUDA_CACHE_MAXSIZE=268435456
RUN --mount=type=bind,source=requirements/gpu.lock,target=/build/gpu.lock \
    python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r /build/gpu.lock
# TensorFlow 2.21 does not look into all folders of NVIDIA's wheels, so the loader must.
RUN ls -d /opt/venv/lib/python3*/site-packages/nvidia/*/lib > /etc/ld.so.conf.d/nvidia-wheels.conf \
 && ldconfig
# TensorFlow needs setuptools.
RUN --mount=type=bind,target=/build \
    /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation /build \
 && /opt/venv/bin/python -m pip uninstall --yes --quiet hatchling editables trove-classifiers pip
COPY --from=models /models /models
RUN install -d -o 10001 -g 0 -m 0770 /var/lib/osteo
USER 10001:0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-m", "app.server.health"]
ENTRYPOINT ["osteo"]
CMD ["serve"]
ARG GPU_BASE
ARG VERSION=unreleased
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="osteo-tiles (TensorFlow with CUDA)" \
      org.opencontainers.image.description="Classifies H&E tiles of osteosarcoma. Research use only; not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The osteo-tiles authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${GPU_BASE}"

# `docker build .` builds the last stage.
FROM ${CPU_BASE} AS cpu
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OSTEO_HOST=0.0.0.0 \
    OSTEO_MODELS_DIR=/models \
    OSTEO_STATE_DIR=/var/lib/osteo \
    OSTEO_CREATE_FIRST_KEY=true
COPY --from=build-cpu /opt/venv /opt/venv
COPY --from=models /models /models
RUN install -d -o 10001 -g 0 -m 0770 /var/lib/osteo
USER 10001:0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-m", "app.server.health"]
ENTRYPOINT ["osteo"]
CMD ["serve"]
ARG CPU_BASE
ARG VERSION=unreleased
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="osteo-tiles (LiteRT)" \
      org.opencontainers.image.description="Classifies H&E tiles of osteosarcoma. Research use only; not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The osteo-tiles authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${CPU_BASE}"
