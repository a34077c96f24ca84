# An image with the project's dependencies, as `make setup` installs them, and the `candor` command, for a CPU or an
# accelerator:
#
#   docker build --tag candor .
#   docker build --tag candor-cuda --build-arg EXTRAS=cuda .
#   docker build --tag candor-tpu --build-arg EXTRAS=tpu .
#
# Run the pipeline in a clone on the host, which keeps data, models, DVC's cache and the git history:
#
#   docker run --rm --volume "$PWD:/work" --workdir /work candor dvc repro
#
# An NVIDIA GPU needs `--gpus all`, a TPU host `--privileged --net=host`.
FROM python:3.11-slim

# DVC needs git, and the environment needs make. git refuses a mounted clone, which has another owner, unless it is listed as safe.
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
