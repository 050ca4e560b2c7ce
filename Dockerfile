# Small and without root. Configuration comes from the environment; state lives in /data.
# The base is pinned by its version; dependabot proposes newer ones, and their digests.
FROM python:3.11.14-slim-trixie AS build
WORKDIR /src
RUN python -m venv /opt/playbooks
# Dependencies have a layer of their own, which is made anew only where one of them changes; each
# file is held to the hash that was recorded for it.
COPY deploy/requirements.txt deploy/requirements-build.txt ./
RUN /opt/playbooks/bin/pip install --no-cache-dir --require-hashes --no-deps \
      --requirement requirements.txt \
 && pip install --no-cache-dir --require-hashes --no-deps --requirement requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot ./bot
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/playbooks/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.11.14-slim-trixie
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Incident Playbooks" \
      org.opencontainers.image.description="A GitHub App that brings a broken repository back to a safe state and finds out why." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# tini passes signals on and buries what trials leave behind; bubblewrap confines them.
RUN apt-get update \
 && apt-get install --no-install-recommends --yes bubblewrap git tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --create-home playbooks
COPY --from=build /opt/playbooks /opt/playbooks
ENV PATH=/opt/playbooks/bin:$PATH \
    PLAYBOOKS_DATA=/data \
    PLAYBOOKS_HOST=0.0.0.0 \
    PLAYBOOKS_PORT=8080 \
    LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
# No proxy leads to this container itself, and a file of variables may leave quotes around the port.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as u; port = os.environ['PLAYBOOKS_PORT'].strip('\" ') or 8080; u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{port}/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "playbooks"]
CMD ["serve"]
