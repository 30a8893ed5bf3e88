"""A Pub/Sub that takes down what is published, and can be told to fail.

For what cannot be asked of the real service: which calls came, in which order, and what happens
while it is down.
"""

from __future__ import annotations

import queue
from concurrent import futures
from typing import Any, Self

import grpc
from google.pubsub_v1.types import GetTopicRequest, PublishRequest, PublishResponse, Topic


class Recorder:
    """The two methods of `google.pubsub.v1.Publisher` that Cloud Storage calls."""

    def __init__(self, *topics: str, port: int = 0) -> None:
        self.topics = set(topics)
        self.failing: set[str] = set()
        self.messages: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)]
        )
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    "google.pubsub.v1.Publisher",
                    {
                        "GetTopic": _unary(self._get_topic, GetTopicRequest, Topic),
                        "Publish": _unary(self._publish, PublishRequest, PublishResponse),
                    },
                )
            ]
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _get_topic(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.topic not in self.topics:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found ({request.topic}).")
        return Topic(name=request.topic)

    def _publish(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.topic in self.failing:
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to fail")
        for message in request.messages:
            self.messages.put((request.topic, dict(message.attributes), bytes(message.data)))
        return PublishResponse(message_ids=["1"] * len(request.messages))

    def next(self, count: int = 1) -> list[tuple[str, dict[str, str], bytes]]:
        """The next messages, awaited."""
        return [self.messages.get(timeout=20) for _ in range(count)]

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.stop(None).wait()


def _unary(method: Any, request: Any, response: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.deserialize, response_serializer=response.serialize
    )
