# The web process, the beat and the commands: pages, sign-in, API. No torch, no GPU.
#
#     docker build -f docker/web.Dockerfile -t atelier-web .
FROM python:3.12.12-slim-bookworm AS build
WORKDIR /app
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY migrations migrations
COPY licensing licensing
COPY inference inference
COPY webapp webapp
# Editable: the code stays in /app, where the migrations and texts are read from.
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt -e '.[web]'

FROM python:3.12.12-slim-bookworm
RUN useradd --uid 10001 --create-home atelier && install -d -o atelier -g atelier /state
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY docker/healthy.py /healthy.py
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ATELIER_HOST=0.0.0.0 ATELIER_STATE=/state ATELIER_WEIGHTS=/weights
USER atelier
WORKDIR /state
VOLUME /state
EXPOSE 7860
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "/healthy.py", "web"]
CMD ["atelier", "web"]
