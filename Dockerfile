# The open tool chain in one image: training, hls4ml C-simulation with g++, Verilator and Yosys.
#
#   docker build -t hlscape .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" hlscape run models/econ_t/point.toml
#
# Results appear in the mounted folder: .hlscape/, reports/ and hls_projects/. The flow needs no vendor tool. To build what is in
# hls_projects/ with one, mount it; vendor tools are licensed and tens of gigabytes, so they are never copied into an image:
#
#   docker run --rm -it -v "$PWD:/work" -v /tools/Xilinx:/tools/Xilinx:ro -e XILINX_ROOT=/tools/Xilinx -e XILINXD_LICENSE_FILE \
#       --entrypoint bash hlscape
FROM python:3.11-slim-bookworm

# A build of torch without CUDA is gigabytes smaller. Where the default package index offers one with CUDA, point pip to the index of
# CPU builds that the PyTorch installation page names: --build-arg TORCH_INDEX_ARGS="--index-url <that index>".
ARG TORCH_INDEX_ARGS=""

# Debian removes a package's old version when it publishes a fix, so a pinned version would stop building.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y g++ git make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/hlscape
COPY constraints.txt ./
# The argument holds several words, or none, so it must not be quoted.
# hadolint ignore=SC2086
RUN python -m pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX_ARGS} torch

COPY LICENSE README.md pyproject.toml ./
COPY flow flow
COPY models models
RUN python -m pip install --no-cache-dir --constraint constraints.txt --editable .

# Results in a mounted folder should belong to the one who started the container, so it has to work as any user: caches that all may
# write, and a name, which torch asks for and a user unknown to the image does not have.
ENV LOGNAME=hlscape \
    MPLCONFIGDIR=/var/cache/hlscape/matplotlib \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/var/cache/hlscape \
    YOWASP_CACHE_DIR=/var/cache/hlscape/yowasp
RUN useradd --uid 10001 --create-home hlscape \
    && mkdir /work /var/cache/hlscape /var/cache/hlscape/matplotlib /var/cache/hlscape/yowasp \
    && chown 10001:10001 /work \
    && chmod 1777 /var/cache/hlscape /var/cache/hlscape/matplotlib /var/cache/hlscape/yowasp
USER 10001:10001
WORKDIR /work
# Fails the build if a tool is missing, and leaves Yosys compiled for this processor in the cache.
RUN hlscape doctor

# A command that ends, not a service.
HEALTHCHECK NONE
ENTRYPOINT ["hlscape"]
CMD ["--help"]
