# The dependencies of the project, as `make setup` brings them, and the `candor` command; for a CPU, or an accelerator:
#
#   docker build --tag candor .
#   docker build --tag candor-cuda --build-arg EXTRAS=cuda .
#   docker build --tag candor-tpu --build-arg EXTRAS=tpu .
#
# The pipeline runs in a clone outside, where data, models, DVC's cache and git's history stay:
#
#   docker run --rm --volume "$PWD:/work" --workdir /work candor dvc repro
#
# An NVIDIA GPU needs `--gpus all`, a TPU host `--privileged --net=host`.
FROM python:3.11-slim

# DVC asks git; the environment is made by make. A mounted clone belongs to someone else.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory '*'

WORKDIR /candor
ARG EXTRAS=
COPY Makefile pyproject.toml README.md LICENSE NOTICE ./
COPY requirements requirements
COPY stages stages
ENV PIP_NO_CACHE_DIR=1
RUN make setup EXTRAS=$EXTRAS
ENV PATH="/candor/.venv/bin:$PATH"
CMD ["candor", "--help"]
