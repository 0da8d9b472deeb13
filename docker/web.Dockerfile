# The web process: pages, sign-in, API. It installs no torch and needs no GPU.
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY webapp webapp
COPY inference inference
COPY licensing licensing
COPY migrations migrations
RUN pip install --no-cache-dir -c constraints.txt -e '.[web]' && useradd --create-home atelier
USER atelier
ENV ATELIER_HOST=0.0.0.0 ATELIER_STATE=/state
EXPOSE 7860
CMD ["atelier", "web"]
