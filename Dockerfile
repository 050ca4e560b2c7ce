# Small and without root. Configuration comes from the environment; state lives in /data.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot ./bot
RUN python -m venv /opt/playbooks \
 && /opt/playbooks/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
RUN apt-get update \
 && apt-get install --no-install-recommends --yes git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --create-home playbooks
COPY --from=build /opt/playbooks /opt/playbooks
ENV PATH=/opt/playbooks/bin:$PATH \
    PLAYBOOKS_DATA=/data \
    PLAYBOOKS_HOST=0.0.0.0 \
    PLAYBOOKS_PORT=8080 \
    LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1
USER playbooks
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PLAYBOOKS_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["playbooks"]
CMD ["serve"]
