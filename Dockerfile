# A gateway, or with `worker` as its command the worker. Needs nothing but this folder:  docker build -t askonce .
# The embedded model is left out: containers are given providers' keys (see docs/deployment.md).
FROM python:3.13-slim-bookworm AS build
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/askonce
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project --no-install-package xllamacpp
COPY hatch_build.py ./
COPY scripts/dashboard ./scripts/dashboard
COPY dashboard ./dashboard
COPY src ./src
RUN uv sync --frozen --no-dev --no-editable --no-install-package xllamacpp

FROM python:3.13-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /var/lib/askonce --shell /usr/sbin/nologin askonce
COPY --from=build /opt/askonce /opt/askonce
ENV PATH=/opt/askonce/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ASKONCE_HOST=0.0.0.0 \
    ASKONCE_PORT=3001 \
    ASKONCE_DATA_DIR=/var/lib/askonce/data \
    ASKONCE_LOCAL_MODEL=off \
    ASKONCE_LOG_FORMAT=json
USER 10001
VOLUME /var/lib/askonce/data
EXPOSE 3001
# The worker listens nowhere: its service switches this off, or asks `askonce worker --check`.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['ASKONCE_PORT']}/health\", timeout=2)"]
ENTRYPOINT ["askonce"]
CMD ["serve"]
