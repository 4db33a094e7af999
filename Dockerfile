# keepwarm in a container: docker run -p 11435:11435 -v keepwarm:/var/lib/keepwarm -e OLLAMA_HOST=http://ollama:11434 keepwarm
# The environment in /opt/keepwarm is built in one stage and copied into the other: no compiler, no sources, no cache.
FROM python:3.11-slim-bookworm AS build
RUN python3 -m venv /opt/keepwarm
COPY pyproject.toml README.md LICENSE /src/
COPY proxy /src/proxy
RUN /opt/keepwarm/bin/pip install --no-cache-dir --disable-pip-version-check '/src[otel]'

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 11435 --home-dir /var/lib/keepwarm --create-home --shell /usr/sbin/nologin keepwarm
COPY --from=build /opt/keepwarm /opt/keepwarm
COPY config/keepwarm.yaml /etc/keepwarm/keepwarm.yaml
# The admin port stays inside until the settings say who may use it: docs/deployment.md.
ENV PATH=/opt/keepwarm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    KEEPWARM_SERVER_LISTEN=0.0.0.0:11435 \
    KEEPWARM_STORE_PATH=/var/lib/keepwarm/usage.sqlite
USER keepwarm
WORKDIR /var/lib/keepwarm
VOLUME /var/lib/keepwarm
EXPOSE 11435 11436
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:11436/healthz', timeout=2)"]
ENTRYPOINT ["keepwarm"]
CMD ["serve", "--config", "/etc/keepwarm/keepwarm.yaml"]
