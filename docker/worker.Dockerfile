# A worker. torch brings its CUDA libraries with it; the host brings the driver (`--gpus`), or has no
# GPU and runs the pocket models. Their weights are inside; Krea 2's are mounted below /weights.
#
#     docker build -f docker/worker.Dockerfile -t atelier-worker .
FROM python:3.12.12-slim-bookworm AS build
WORKDIR /app
# The one build that the tests ran on; alone and first, so that this layer outlives a change of ours.
ARG TORCH=torch==2.13.0
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir "${TORCH}"
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY migrations migrations
COPY licensing licensing
COPY inference inference
COPY webapp webapp
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt -e '.[gpu]'

FROM python:3.12.12-slim-bookworm
# torch compiles the model's blocks for the GPU that it finds, once, into /state.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home atelier && install -d -o atelier -g atelier /state
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY weights /weights
COPY docker/healthy.py /healthy.py
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 \
    ATELIER_STATE=/state ATELIER_WEIGHTS=/weights
USER atelier
WORKDIR /state
VOLUME /state
# Weights of Krea 2's size take minutes to load before the first heartbeat of a ready worker.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s CMD ["python", "/healthy.py", "worker"]
# A running picture is finished or handed back before the process ends.
STOPSIGNAL SIGTERM
CMD ["atelier", "worker"]
