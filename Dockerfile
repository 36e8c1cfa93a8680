# `zhuyi serve` on CPUs. compose.yaml beside it runs it; docs/serving.md says more.
#
#     docker build -t zhuyi .
#     docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/en-de:/models/en-de:ro" zhuyi /models/en-de
#
# With --build-arg PIP_EXTRA_INDEX_URL=... that has torch's CPU builds, the image is several GB smaller.

FROM python:3.12-slim AS build
ARG PIP_EXTRA_INDEX_URL
COPY . /source
WORKDIR /source
RUN python -m venv /opt/zhuyi && /opt/zhuyi/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/zhuyi /opt/zhuyi
RUN useradd --create-home zhuyi
USER zhuyi
EXPOSE 8000
# Not through HTTP_PROXY: to a proxy, 127.0.0.1 is its own machine.
HEALTHCHECK CMD ["/opt/zhuyi/bin/python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["/opt/zhuyi/bin/zhuyi", "serve", "--host", "0.0.0.0"]
