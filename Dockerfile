# The server, with PyTorch for CPUs: `docker build -t rewardranker .`
# For NVIDIA GPUs: `docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t rewardranker .`
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
RUN python -m venv /opt/rewardranker
ENV PATH=/opt/rewardranker/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# PyTorch first: a change of this project's sources does not download it again.
COPY constraints.txt ./
RUN pip install --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --constraint constraints.txt '.[serve]'

FROM python:3.11-slim-bookworm
# Isolates the programs of requests where the server is started with --verify.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap=0.8.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home rewardranker
COPY --from=build /opt/rewardranker /opt/rewardranker
ENV PATH=/opt/rewardranker/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/rewardranker
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
# SIGTERM, which `docker stop` sends, lets the server finish what runs: give it `--time 70`.
ENTRYPOINT ["rewardranker"]
CMD ["serve", "--help"]
