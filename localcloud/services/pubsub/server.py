"""The gRPC server: which method goes to which handler, and the thread it all runs on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
from google.iam.v1 import iam_policy_pb2
from google.protobuf import empty_pb2

from localcloud.home import Home
from localcloud.services.pubsub import wire
from localcloud.services.pubsub.broker import Broker
from localcloud.services.pubsub.cleaning import Cleaner
from localcloud.services.pubsub.errors import Fault
from localcloud.services.pubsub.exporters import LocalExporters
from localcloud.services.pubsub.iam import Policies
from localcloud.services.pubsub.pulling import Pulling
from localcloud.services.pubsub.schemas import Schemas
from localcloud.services.pubsub.snapshots import Snapshots
from localcloud.services.pubsub.store import Store
from localcloud.services.pubsub.subscriptions import Subscriptions
from localcloud.services.pubsub.topics import Publisher
from localcloud.services.pubsub.wire import Pb

log = logging.getLogger(__name__)

type Handler = Callable[[Any], Awaitable[Any]]

START_SECONDS: Final = 30
STOP_GRACE_SECONDS: Final = 0.3
# Larger than any request Google takes, so that our own limits answer and say what is allowed.
MAX_RECEIVE: Final = 24 * 1024 * 1024

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_RECEIVE),
    ("grpc.max_send_message_length", -1),
    # A second server on the same port would take half of the requests.
    ("grpc.so_reuseport", 0),
    # Google's clients ping idle streams more often than gRPC's servers put up with by default.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class PubSubServer:
    """A local Pub/Sub in this process, on an event loop of its own.

    Args:
        home: where the state is kept (`<home>/pubsub/`) and the port is written.

    Attributes:
        address: `127.0.0.1:PORT`.
    """

    def __init__(self, home: Home | Path) -> None:
        self.home: Final = home if isinstance(home, Home) else Home(home)
        self.address: Final = self.home.reserve().address("pubsub")
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> PubSubServer:
        """Serve; returns once the port accepts.

        Raises:
            OSError: the port is taken.
        """
        started = threading.Event()
        failure: list[BaseException] = []

        def serve() -> None:
            try:
                asyncio.run(self._main(started))
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                failure.append(error)
                started.set()

        self._thread = threading.Thread(target=serve, name="pubsub", daemon=True)
        self._thread.start()
        if not started.wait(START_SECONDS):
            raise TimeoutError(f"Pub/Sub did not start at {self.address} in {START_SECONDS} s")
        if failure:
            raise failure[0]
        return self

    def stop(self) -> None:
        """End; open streams are cut and clients connect again by themselves."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                return
            self._thread.join()

    async def _main(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Serving(self.home):
            started.set()
            await self._stop.wait()


class Serving:
    """The server on the running event loop, from `__aenter__` to `__aexit__`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def __aenter__(self) -> Serving:
        self._store = Store(self._home.folder("pubsub") / "pubsub.sqlite3")
        self._store.start()
        self._broker = broker = Broker(self._home, self._store)
        snapshots = Snapshots(broker)
        subscriptions = Subscriptions(broker, LocalExporters(broker))
        cleaner = Cleaner(broker, subscriptions, snapshots)
        self._grpc = grpc.aio.server(options=_OPTIONS)
        handlers = _generic_handlers(
            Publisher(broker, snapshots),
            subscriptions,
            snapshots,
            Pulling(broker),
            Policies(broker, snapshots),
            broker.schemas,
        )
        self._grpc.add_generic_rpc_handlers(handlers)
        address = self._home.endpoints().address("pubsub")
        try:
            self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            await self._close()
            raise OSError(f"cannot listen on {address}: {error}") from None
        await self._grpc.start()
        broker.spawn(cleaner.run())
        log.info("Pub/Sub listens on %s", address)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._grpc.stop(STOP_GRACE_SECONDS)
        await self._close()

    async def _close(self) -> None:
        await self._broker.stop()
        await asyncio.to_thread(self._store.stop)


def _generic_handlers(
    publisher: Publisher,
    subscriptions: Subscriptions,
    snapshots: Snapshots,
    pulling: Pulling,
    policies: Policies,
    schemas: Schemas,
) -> tuple[grpc.GenericRpcHandler, ...]:
    services: dict[str, dict[str, Handler]] = {
        "google.pubsub.v1.Publisher": {
            "CreateTopic": publisher.create_topic,
            "UpdateTopic": publisher.update_topic,
            "Publish": publisher.publish,
            "GetTopic": publisher.get_topic,
            "ListTopics": publisher.list_topics,
            "ListTopicSubscriptions": publisher.list_topic_subscriptions,
            "ListTopicSnapshots": publisher.list_topic_snapshots,
            "DeleteTopic": publisher.delete_topic,
            "DetachSubscription": publisher.detach_subscription,
        },
        "google.pubsub.v1.Subscriber": {
            "CreateSubscription": subscriptions.create_subscription,
            "GetSubscription": subscriptions.get_subscription,
            "UpdateSubscription": subscriptions.update_subscription,
            "ListSubscriptions": subscriptions.list_subscriptions,
            "DeleteSubscription": subscriptions.delete_subscription,
            "ModifyPushConfig": subscriptions.modify_push_config,
            "ModifyAckDeadline": pulling.modify_ack_deadline,
            "Acknowledge": pulling.acknowledge,
            "Pull": pulling.pull,
            "GetSnapshot": snapshots.get_snapshot,
            "ListSnapshots": snapshots.list_snapshots,
            "CreateSnapshot": snapshots.create_snapshot,
            "UpdateSnapshot": snapshots.update_snapshot,
            "DeleteSnapshot": snapshots.delete_snapshot,
            "Seek": snapshots.seek,
        },
        "google.pubsub.v1.SchemaService": {
            "CreateSchema": schemas.create_schema,
            "GetSchema": schemas.get_schema,
            "ListSchemas": schemas.list_schemas,
            "ListSchemaRevisions": schemas.list_schema_revisions,
            "CommitSchema": schemas.commit_schema,
            "RollbackSchema": schemas.rollback_schema,
            "DeleteSchemaRevision": schemas.delete_schema_revision,
            "DeleteSchema": schemas.delete_schema,
            "ValidateSchema": schemas.validate_schema,
            "ValidateMessage": schemas.validate_message,
        },
    }
    # Methods whose request is the resource itself.
    whole = {
        "CreateTopic": wire.Topic,
        "CreateSubscription": wire.Subscription,
    }
    generic = [
        grpc.method_handlers_generic_handler(
            service,
            {
                method: _unary(method, handler, whole.get(method) or wire.request(method))
                for method, handler in methods.items()
            }
            | (
                {"StreamingPull": _stream(pulling)}
                if service == "google.pubsub.v1.Subscriber"
                else {}
            ),
        )
        for service, methods in services.items()
    ]
    generic.append(
        grpc.method_handlers_generic_handler(
            "google.iam.v1.IAMPolicy",
            {
                "SetIamPolicy": _unary(
                    "SetIamPolicy", policies.set_iam_policy, iam_policy_pb2.SetIamPolicyRequest
                ),
                "GetIamPolicy": _unary(
                    "GetIamPolicy", policies.get_iam_policy, iam_policy_pb2.GetIamPolicyRequest
                ),
                "TestIamPermissions": _unary(
                    "TestIamPermissions",
                    policies.test_iam_permissions,
                    iam_policy_pb2.TestIamPermissionsRequest,
                ),
            },
        )
    )
    return tuple(generic)


def _unary(method: str, handler: Handler, request: Pb) -> grpc.RpcMethodHandler:
    async def call(message: Pb, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            result = await handler(message)
        except Fault as fault:
            await context.abort(fault.code, fault.message, fault.trailers())
        except Exception as error:
            log.exception("%s failed", method)
            await context.abort(grpc.StatusCode.INTERNAL, f"{method} failed: {error}")
        else:
            return empty_pb2.Empty() if result is None else result

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.FromString, response_serializer=_serialize
    )


def _stream(pulling: Pulling) -> grpc.RpcMethodHandler:
    async def call(
        requests: AsyncIterator[Pb], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        try:
            await pulling.streaming_pull(requests, context.write)
        except Fault as fault:
            await context.abort(fault.code, fault.message, fault.trailers())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("StreamingPull failed")
            await context.abort(grpc.StatusCode.INTERNAL, f"StreamingPull failed: {error}")

    return grpc.stream_stream_rpc_method_handler(
        call,
        request_deserializer=wire.request("StreamingPull").FromString,
        response_serializer=_serialize,
    )


def _serialize(message: Pb) -> bytes:
    return message.SerializeToString()
