# In place of redis:7-alpine.
ARG BASE
FROM ${BASE}
RUN install --directory --owner redis --group redis /data
WORKDIR /data
VOLUME /data
USER redis
CMD ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
