# Two targets: `cpu` (LiteRT, no TensorFlow) and `gpu` (TensorFlow with CUDA).
#   docker build --target cpu -t osteo-tiles:cpu .
# The base images are arguments, so that a hospital can put its own mirror or digest here. Build and
# final stage must have the same Python.
ARG CPU_BASE=python:3.11-slim-bookworm
ARG GPU_BASE=python:3.11-slim-bookworm

FROM ${CPU_BASE} AS models
# One bundle is 25 MB: the image holds the newest, and no other.
ARG BUNDLE=osteo-mobilenetv2/3
COPY models/${BUNDLE} /models/${BUNDLE}
# Whatever the checkout's umask was, any user must be able to read them.
RUN chmod -R a+rX /models

FROM ${CPU_BASE} AS build-cpu
WORKDIR /build
COPY requirements/serve.lock ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r serve.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY app app
COPY training training
# Nothing is installed at run time, so neither pip nor the build tools go into the image.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
 && /opt/venv/bin/python -m pip uninstall --yes --quiet hatchling editables trove-classifiers setuptools pip

FROM ${GPU_BASE} AS build-gpu
WORKDIR /build
COPY requirements/gpu.lock ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r gpu.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY app app
COPY training training
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${GPU_BASE} AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OSTEO_HOST=0.0.0.0 \
    OSTEO_MODELS_DIR=/models
COPY --from=build-gpu /opt/venv /opt/venv
COPY --from=models /models /models
USER 10001:0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-c", \
  "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('OSTEO_PORT', '8000')}/readyz\", timeout=2)"]
ENTRYPOINT ["osteo"]
CMD ["serve"]

# The last stage is what `docker build .` makes.
FROM ${CPU_BASE} AS cpu
# Any user may run it, also one without an entry in /etc/passwd; nothing is written but /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OSTEO_HOST=0.0.0.0 \
    OSTEO_MODELS_DIR=/models
COPY --from=build-cpu /opt/venv /opt/venv
COPY --from=models /models /models
USER 10001:0
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["python", "-c", \
  "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('OSTEO_PORT', '8000')}/readyz\", timeout=2)"]
ENTRYPOINT ["osteo"]
CMD ["serve"]
