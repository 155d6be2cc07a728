# A worker: takes jobs from the queue and trains them with torch.
# Built from the root of the repository: docker build --file docker/worker.Dockerfile .

ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS packages
# Where pip finds packages, if not where it looks by itself.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
# Which build of torch: the address of PyTorch's index of CPU builds, or of those for one version of CUDA. Without it
# the build that the index above has: elsewhere than here that may be one for CUDA, larger by gigabytes.
ARG TORCH_INDEX_URL
ENV PATH=/opt/lectern/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/lectern
COPY pyproject.toml docker/pins.py ./
# One resolve for everything: torch on its own would choose another build.
RUN python pins.py train > pins.txt \
    && pip install --quiet --no-cache-dir --requirement pins.txt \
        ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"}
COPY README.md LICENSE ./
COPY app app
COPY models models
COPY workers workers
RUN pip install --quiet --no-cache-dir --no-deps . && pip uninstall --quiet --yes pip

FROM ${PYTHON}
# The same user as the gateway's: they share the volume of the store.
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/lectern --create-home lectern \
    && install --directory --owner lectern /var/lib/lectern/store
COPY --from=packages /opt/lectern /opt/lectern
ENV PATH=/opt/lectern/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    LECTERN_STORE_URL=file:///var/lib/lectern/store
WORKDIR /var/lib/lectern
USER 10001
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["python", "-m", "workers.health"]
CMD ["lectern", "worker"]
