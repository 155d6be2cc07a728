# What docker-compose.yml pulls, made of Debian's packages where there is no registry.
FROM python:3.11-slim AS packages
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends prometheus redis-server redis-tools \
    && rm -rf /var/lib/apt/lists/*

FROM packages AS redis
RUN install --directory --owner redis /data
WORKDIR /data
USER redis

FROM packages AS prometheus
RUN install --directory --owner prometheus /prometheus
WORKDIR /prometheus
USER prometheus
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
