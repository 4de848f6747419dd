# syntax=docker/dockerfile:1
# The service as an image. No build step: Node runs the TypeScript as it stands.

FROM node:24-trixie-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Without the development dependencies, the Node of the image is the one that runs.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force

FROM node:24-trixie-slim
LABEL org.opencontainers.image.title="ragmill" \
      org.opencontainers.image.description="Batch retrieval-augmented generation on a pool of GPU model servers"
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY src ./src
# The corpus of a service that is given none.
COPY docs ./docs
RUN mkdir /data && chown 1000:1000 /data
VOLUME /data
# By number, so that Kubernetes can see that it is not root.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# The limit of the young generation halves the memory that a long batch takes.
CMD ["node", "--max-semi-space-size=8", "src/server.ts"]
