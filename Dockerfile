# One image for the three services; docker-compose.yml says which one a container runs.

# docker-compose.digests.yml names the same image by its digest: docs/deploy.md, "Images by digest".
ARG BASE=python:3.13.15-slim-bookworm

FROM ${BASE} AS packages

COPY requirements.lock /
# Without pip in the end: nothing is ever installed into the running service.
RUN python3 -m venv /opt/power \
    && /opt/power/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: --requirement /requirements.lock \
    && /opt/power/bin/python -m pip uninstall --quiet --yes pip


FROM ${BASE}

# The volume mounted on /data takes its owner from here.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin power \
    && install --directory --mode 0700 --owner power --group power /data

COPY --from=packages /opt/power /opt/power
COPY shared /app/shared
COPY ingest_api /app/ingest_api
COPY normalizer_worker /app/normalizer_worker
COPY query_api /app/query_api
# For ./power cluster: docker-compose.cluster.yml declares what the cluster needs.
COPY power_cli /app/power_cli
# The root is read-only, so the code is compiled here, once; a checkout may be for its owner alone.
RUN /opt/power/bin/python -m compileall -q /app \
    && chmod -R go+rX /app

USER power
WORKDIR /
ENV PATH=/opt/power/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    POWER_HTTP_HOST=0.0.0.0 \
    POWER_HTTP_PORT=5000 \
    POWER_DATA_DIR=/data

EXPOSE 5000
# Of the two that listen on POWER_HTTP_PORT; docker-compose.yml has the worker's. The image has no curl, and needs none.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/readyz', timeout=4)"]

# -P: code comes from /app alone, never from the folder that a process happens to start in.
ENTRYPOINT ["python", "-P", "-m"]
