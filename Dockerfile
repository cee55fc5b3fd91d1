# The open tool chain in one image: training, hls4ml C-simulation with g++, Verilator and Yosys.
#
#   docker build -t hlscape .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" hlscape run models/econ_t/point.toml
#
# Results appear in the mounted folder: .hlscape/, reports/ and hls_projects/. The flow needs no vendor tool. The image also has the
# libraries that vendor tools need: on a machine where they are installed but do not start,
#
#   make synth BACKEND=vitis LAUNCHER=docker
#
# runs each of them in a container, with $XILINX_ROOT (/tools/Xilinx) mounted read-only. They are licensed and tens of gigabytes, so they
# are never copied into an image.
FROM python:3.11-slim-bookworm

# A build of torch without CUDA is gigabytes smaller. Where the default package index offers one with CUDA, point pip to the index of
# CPU builds that the PyTorch installation page names: --build-arg TORCH_INDEX_ARGS="--index-url <that index>".
ARG TORCH_INDEX_ARGS=""

# The last two lines of packages are for vendor tools, whose programs bring most libraries but not these. They also take the locale
# en_US.UTF-8 for granted. Debian removes a package's old version when it publishes a fix, so a pinned version would stop building.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y g++ git make \
        libfontconfig1 libfreetype6 libncurses5 libtinfo5 libx11-6 libxext6 libxft2 libxi6 libxrender1 libxtst6 \
        locales procps unzip \
    && echo 'en_US.UTF-8 UTF-8' > /etc/locale.gen \
    && locale-gen \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/hlscape
COPY constraints.txt ./
# The argument holds several words, or none, so it must not be quoted.
# hadolint ignore=SC2086
RUN python -m pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX_ARGS} torch

COPY LICENSE README.md pyproject.toml ./
COPY flow flow
COPY models models
# Files of a checkout that only its owner may read would be of no use to another user.
RUN chmod -R a+rX . \
    && python -m pip install --no-cache-dir --constraint constraints.txt --editable .

# Results in a mounted folder should belong to the one who started the container, so it has to work as any user: caches that all may
# write, and a name, which torch asks for and a user unknown to the image does not have. LIBRARY_PATH is for the compilers of older vendor
# tools, which do not know where Debian keeps crt1.o.
ENV LANG=en_US.UTF-8 \
    LOGNAME=hlscape \
    LIBRARY_PATH=/usr/lib/x86_64-linux-gnu \
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
