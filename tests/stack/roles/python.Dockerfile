# In place of python:3.12-slim. A build here reaches no index: pip finds its wheels in the image.
ARG BASE
FROM ${BASE}
COPY wheels /wheels
RUN printf '[global]\nno-index = true\nfind-links = /wheels\n' > /etc/pip.conf
