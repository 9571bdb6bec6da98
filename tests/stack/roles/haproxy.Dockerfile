# In place of haproxy:lts-alpine.
ARG BASE
FROM ${BASE}
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-f", "/etc/haproxy/haproxy.cfg"]
