# One image for all roles of the main job: node, beat, Flower, migrate, docker watch. docker-compose.yml says which is which.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/lifecycle
# What changes less often comes before the code.
COPY stack/build.txt stack/requirements.txt ./
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r build.txt \
  && /opt/build/bin/pip --python /opt/lifecycle/bin/python install --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY lifecycle lifecycle
COPY migrations migrations
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
  && /opt/build/bin/pip --python /opt/lifecycle/bin/python install --no-deps --no-index /wheel/*.whl

FROM ${PYTHON_IMAGE}
# The crawl's own table lies where a volume takes its owner from.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin lifecycle \
  && install --directory --owner lifecycle --group lifecycle /var/lib/crawl
COPY --from=build /opt/lifecycle /opt/lifecycle
WORKDIR /app
COPY stack/alive.py ./
COPY workers workers
ENV PATH=/opt/lifecycle/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CRAWL_DATABASE=/var/lib/crawl/crawl.db
USER 10001:10001
# Of a node; other roles have their own in docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 CMD ["python", "/app/alive.py", "node"]
CMD ["celery", "-A", "workers", "worker", "--loglevel=INFO"]
