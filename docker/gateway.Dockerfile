# The gateway, without torch. Its second target, gateway-torchscript, has torch for models served as TorchScript.
# Built from the root of the repository: docker build --file docker/gateway.Dockerfile [--target …] .

ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS tools
# Where pip finds packages, if not where it looks by itself.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
ENV PATH=/opt/lectern/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/lectern
COPY pyproject.toml docker/pins.py ./

# Requirements change seldom and code often: each has a layer.
FROM tools AS packages
RUN python pins.py > pins.txt && pip install --quiet --no-cache-dir --no-compile --requirement pins.txt
COPY README.md LICENSE ./
COPY app app
COPY models models
COPY workers workers
# Left out of the image: pip, other people's tests and C++ sources, the C library that onnxruntime's Python module holds
# a second time, what tokenizers would download vocabularies with, a page of documentation that is not shown, and the
# bytecode of what a gateway does not load.
# Together that is a third of it.
RUN pip install --quiet --no-cache-dir --no-compile --no-deps . \
    && pip uninstall --quiet --yes huggingface-hub hf-xet fsspec filelock httpx2 httpcore2 truststore tqdm pip setuptools \
    && find /opt/lectern -type d -name tests -prune -exec rm -r {} + \
    && find /opt/lectern -name 'simdjson.*' -type f -delete \
    && rm /opt/lectern/lib/python3.*/site-packages/onnxruntime/capi/libonnxruntime.so.* \
        /opt/lectern/lib/python3.*/site-packages/fastapi_offline/static/redoc.standalone.js \
    && python -m compileall -q /opt/lectern/lib/python3.*/site-packages/app /opt/lectern/lib/python3.*/site-packages/models \
    && python -P -c "import app.cli.main, app.main, onnxruntime, rich.table, simdjson, tokenizers, uvicorn, uvloop, \
uvicorn.lifespan.on, uvicorn.protocols.http.httptools_impl; from PIL import Image; Image.init()"

FROM tools AS packages-torchscript
# One resolve for everything: torch on its own would choose another build.
ARG TORCH_INDEX_URL
RUN python pins.py train/torch > pins.txt \
    && pip install --quiet --no-cache-dir --requirement pins.txt \
        ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"}
COPY README.md LICENSE ./
COPY app app
COPY models models
COPY workers workers
RUN pip install --quiet --no-cache-dir --no-deps . && pip uninstall --quiet --yes pip

FROM ${PYTHON} AS runtime
RUN useradd --no-log-init --uid 10001 --home-dir /var/lib/lectern --create-home lectern \
    && install --directory --owner lectern /var/lib/lectern/store
ENV PATH=/opt/lectern/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    LECTERN_HOST=0.0.0.0 \
    LECTERN_PORT=8000 \
    LECTERN_STORE_URL=file:///var/lib/lectern/store
WORKDIR /var/lib/lectern
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os; \
gateway = http.client.HTTPConnection('127.0.0.1', int(os.environ['LECTERN_PORT']), timeout=4); \
gateway.request('GET', '/readyz'); \
raise SystemExit(gateway.getresponse().status != 200)"]
# All addresses of a container are beyond loopback: as anywhere, the gateway refuses to listen there until there is a key
# in its store, or LECTERN_INSECURE=1 says that whoever reaches the published port may use it.
CMD ["lectern", "gateway"]

FROM runtime AS gateway-torchscript
COPY --from=packages-torchscript /opt/lectern /opt/lectern

FROM runtime AS gateway
COPY --from=packages /opt/lectern /opt/lectern
