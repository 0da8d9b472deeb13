# A GPU worker. torch comes with its CUDA libraries from the package index; the host brings the
# driver (`docker run --gpus`). The pocket weights are inside; Krea 2's are mounted, see README.
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY webapp webapp
COPY inference inference
COPY licensing licensing
COPY migrations migrations
COPY weights weights
RUN pip install --no-cache-dir -c constraints.txt -e '.[gpu]' && useradd --create-home atelier
USER atelier
ENV ATELIER_STATE=/state
CMD ["atelier", "worker"]
