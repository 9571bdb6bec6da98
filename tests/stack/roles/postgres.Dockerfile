# In place of postgres:17-alpine.
ARG BASE
FROM ${BASE}
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
RUN install --directory --owner postgres --group postgres --mode 700 $PGDATA
COPY roles/postgres.sh /usr/local/bin/
VOLUME /var/lib/postgresql/data
USER postgres
STOPSIGNAL SIGINT
CMD ["sh", "/usr/local/bin/postgres.sh"]
