"""The gRPC face that the Pulumi engine attaches to.

One process serves the three packages and all their provider instances. A request does not say
which instance it is for, but each instance has a connection of its own, so the settings of the last
Configure on a connection are those of the requests that follow on it.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from importlib import metadata
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from localcloud.home import LOOPBACK
from localcloud.provider.check import Failure
from localcloud.provider.configuration import (
    Configuration,
    check_configuration,
    configuration,
    parsed,
)
from localcloud.provider.diff import Difference, same
from localcloud.provider.errors import ProviderError
from localcloud.provider.functions import invoke
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.naming import Mode
from localcloud.provider.schema import PACKAGES, NoSuchResource
from localcloud.provider.values import decode, encode, knows, reveal

log = logging.getLogger("localcloud.provider")

WORKERS: Final = 32
"""Threads; the engine asks for as many resources at once as its `--parallel`."""

MAXIMUM_MESSAGE: Final = 400 << 20
"""Bytes; Pulumi's own limit for messages between engine and plugins."""

_CONNECTIONS: Final = 4096
_MODES: Final[dict[int, Mode]] = {0: "propose", 1: "enforce", 2: "disable"}
_KINDS: Final = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
_SOME: Final = provider_pb2.DiffResponse.DIFF_SOME
_NONE: Final = provider_pb2.DiffResponse.DIFF_NONE
# A change of one of these moves every resource that takes it from the provider.
_MOVES: Final = ("project",)


def _answers[S, Q, A](method: Callable[[S, Q, grpc.ServicerContext], A]) -> Callable[..., A]:
    """Turn the provider's errors into gRPC's, and log what nobody expected."""

    @functools.wraps(method)
    def answer(self: S, request: Q, context: grpc.ServicerContext) -> A:
        try:
            return method(self, request, context)
        except ProviderError as error:
            log.warning("%s: %s", method.__name__, error)
            context.abort(error.status, error.message)
        except NoSuchResource as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except Exception as error:
            log.exception("%s failed", method.__name__)
            context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
        raise AssertionError("abort raises")

    return answer


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Pulumi's provider protocol over one `Lifecycle`."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._lock = threading.Lock()
        self._connections: dict[str, dict[str, Configuration]] = {}
        self._instances: dict[tuple[str, str], dict[str, Configuration]] = {}

    @_answers
    def Attach(  # noqa: N802 - the protocol's names
        self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    @_answers
    def Handshake(  # noqa: N802
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True,
            accept_resources=False,
            accept_outputs=False,
            supports_autonaming_configuration=True,
        )

    @_answers
    def GetPluginInfo(  # noqa: N802
        self, request: empty_pb2.Empty, context: grpc.ServicerContext
    ) -> plugin_pb2.PluginInfo:
        # One process answers for three packages before it is told which; the engine warns about
        # a version below the SDK's, so the highest of the three serves all.
        versions = [metadata.version(sdk.replace("_", "-")) for sdk in PACKAGES.values()]
        highest = max(versions, key=lambda version: [int(part) for part in version.split(".")[:3]])
        return plugin_pb2.PluginInfo(version=highest)

    @_answers
    def GetSchema(  # noqa: N802
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        raise ProviderError(
            "the local cloud holds no package schema; use the SDK's own types",
            grpc.StatusCode.UNIMPLEMENTED,
        )

    @_answers
    def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        package = _type_of(request.urn).rpartition(":")[2]
        if package not in PACKAGES:
            return _failed([Failure("", f"the local cloud has no package {package!r}")])
        values = reveal(decode(request.news))[0]
        failures = check_configuration(package, values)
        return _failed(failures) if failures else provider_pb2.CheckResponse(inputs=request.news)

    @_answers
    def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        package = _type_of(request.urn).rpartition(":")[2]
        old = parsed(package, reveal(decode(request.old_inputs))[0])
        new = parsed(package, reveal(decode(request.news))[0])
        changed = [
            name
            for name in {**old, **new}
            if name != "version" and not same(old.get(name), new.get(name))
        ]
        moved = [name for name in _MOVES if name in changed and name in old]
        return provider_pb2.DiffResponse(
            changes=_SOME if changed else _NONE, diffs=changed, replaces=moved
        )

    @_answers
    def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        values = reveal(decode(request.args))[0]
        package = _type_of(request.urn).rpartition(":")[2] or _package_of(request.variables)
        home = self._lifecycle.home
        endpoints = home.endpoints() if home else None
        configured = configuration(
            package,
            values,
            project=endpoints.project if endpoints else None,
            region=endpoints.location if endpoints else None,
        )
        with self._lock:
            self._connections.setdefault(context.peer(), {})[package] = configured
            stack = _stack_of(request.urn), package
            self._instances.setdefault(stack, {})[request.urn] = configured
            while len(self._connections) > _CONNECTIONS:
                self._connections.pop(next(iter(self._connections)))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True,
            supportsPreview=True,
            acceptResources=False,
            acceptOutputs=False,
            supports_autonaming_configuration=True,
        )

    @_answers
    def Check(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        proposed = None
        if request.HasField("autonaming"):
            naming = request.autonaming
            proposed = (naming.proposed_name, _MODES[naming.mode])
        inputs, failures = self._lifecycle.check(
            _type_of(request.urn),
            request.urn.rpartition("::")[2],
            decode(request.news),
            self._configuration(request.urn, context),
            olds=decode(request.olds),
            # Where nothing is made no two names clash, and previews of two commits are compared.
            seed=request.randomSeed if self._lifecycle.home else request.urn.encode(),
            proposed=proposed,
        )
        return _failed(failures) if failures else provider_pb2.CheckResponse(inputs=encode(inputs))

    @_answers
    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        difference = self._lifecycle.diff(
            _type_of(request.urn),
            request.id,
            request.urn,
            olds=decode(request.olds),
            old_inputs=decode(request.old_inputs),
            news=decode(request.news),
            configuration=self._configuration(request.urn, context),
            ignored=request.ignoreChanges,
        )
        return _difference(difference)

    @_answers
    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        token, inputs = _type_of(request.urn), decode(request.properties)
        configured = self._configuration(request.urn, context)
        if request.preview:
            outputs = self._lifecycle.preview(token, request.urn, inputs, configured)
            return provider_pb2.CreateResponse(properties=encode(outputs))
        _settled(request.urn, inputs)
        state = self._lifecycle.create(token, request.urn, inputs, configured)
        log.info("created %s %s", token, state.id)
        return provider_pb2.CreateResponse(id=state.id, properties=encode(state.outputs))

    @_answers
    def Read(  # noqa: N802
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        state = self._lifecycle.read(
            _type_of(request.urn),
            request.id,
            request.urn,
            state=decode(request.properties),
            inputs=decode(request.inputs),
            configuration=self._configuration(request.urn, context),
        )
        if state is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=state.id, properties=encode(state.outputs), inputs=encode(state.inputs)
        )

    @_answers
    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        token, news = _type_of(request.urn), decode(request.news)
        olds = decode(request.olds)
        configured = self._configuration(request.urn, context)
        if request.preview:
            outputs = self._lifecycle.preview(token, request.urn, news, configured, olds)
            return provider_pb2.UpdateResponse(properties=encode(outputs))
        _settled(request.urn, news)
        state = self._lifecycle.update(
            token,
            request.id,
            request.urn,
            olds=olds,
            old_inputs=decode(request.old_inputs),
            news=news,
            configuration=configured,
        )
        log.info("updated %s %s", token, state.id)
        return provider_pb2.UpdateResponse(properties=encode(state.outputs))

    @_answers
    def Delete(  # noqa: N802
        self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        token = _type_of(request.urn)
        self._lifecycle.delete(token, request.id, request.urn, decode(request.properties))
        log.info("deleted %s %s", token, request.id)
        return empty_pb2.Empty()

    @_answers
    def Invoke(  # noqa: N802
        self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.InvokeResponse:
        args = reveal(decode(request.args))[0]
        package = request.tok.partition(":")[0]
        result, failures = invoke(
            self._lifecycle, request.tok, args, self._of(context, package, "")
        )
        response = provider_pb2.InvokeResponse(
            failures=[
                provider_pb2.CheckFailure(property=one.property, reason=one.reason)
                for one in failures
            ]
        )
        getattr(response, "return").CopyFrom(encode(result))
        return response

    @_answers
    def Construct(  # noqa: N802
        self, request: provider_pb2.ConstructRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConstructResponse:
        raise ProviderError(
            f"the local cloud does not expand {request.type}: charts, manifests and "
            "kustomizations are rendered by pulumi-kubernetes itself; declare the objects one by "
            "one",
            grpc.StatusCode.UNIMPLEMENTED,
        )

    @_answers
    def Cancel(  # noqa: N802
        self, request: empty_pb2.Empty, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        # The engine says this at the end of every operation; the next one is to find us here.
        return empty_pb2.Empty()

    def _configuration(self, urn: str, context: grpc.ServicerContext) -> Configuration:
        return self._of(context, _type_of(urn).partition(":")[0], _stack_of(urn))

    def _of(self, context: grpc.ServicerContext, package: str, stack: str) -> Configuration:
        """The settings of the instance that this connection belongs to.

        A connection that was broken and made again has none of its own: then those of the stack's
        instance are right where it has only one. A provider that was started in the middle of a
        deployment knows none at all.
        """
        with self._lock:
            own = self._connections.get(context.peer(), {}).get(package)
            if own is not None:
                return own
            known = list(self._instances.get((stack, package), {}).values())
        if len(known) == 1:
            return known[0]
        raise ProviderError(
            "the local cloud's provider was started anew during this deployment and was not told "
            "its settings; run the same command again",
            grpc.StatusCode.UNAVAILABLE,
        )


def serve(lifecycle: Lifecycle, port: int) -> tuple[grpc.Server, int]:
    """Start serving on loopback; returns the server and the port that it got."""
    server = grpc.server(
        futures.ThreadPoolExecutor(WORKERS, thread_name_prefix="provider"),
        options=[
            ("grpc.max_receive_message_length", MAXIMUM_MESSAGE),
            ("grpc.max_send_message_length", MAXIMUM_MESSAGE),
            # Two processes on one port would answer in turns.
            ("grpc.so_reuseport", 0),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(lifecycle), server)
    bound = server.add_insecure_port(f"{LOOPBACK}:{port}")
    server.start()
    return server, bound


def _type_of(urn: str) -> str:
    """`gcp:pubsub/topic:Topic` of `urn:pulumi:dev::p::a:b:C$gcp:pubsub/topic:Topic::orders`."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) > 2 else ""


def _stack_of(urn: str) -> str:
    return "::".join(urn.split("::")[:2])


def _package_of(variables: Mapping[str, str]) -> str:
    return next((name.partition(":")[0] for name in variables), "gcp")


def _settled(urn: str, inputs: Mapping[str, Any]) -> None:
    if not knows(dict(inputs)):
        raise ProviderError(f"{urn}: an input is not known although the deployment is running")


def _failed(failures: list[Failure]) -> provider_pb2.CheckResponse:
    return provider_pb2.CheckResponse(
        failures=[
            provider_pb2.CheckFailure(property=one.property, reason=one.reason) for one in failures
        ]
    )


def _difference(difference: Difference) -> provider_pb2.DiffResponse:
    tops = dict.fromkeys(_top(change.path) for change in difference.changes)
    return provider_pb2.DiffResponse(
        changes=_SOME if difference.changes else _NONE,
        diffs=list(tops),
        replaces=difference.replaces,
        deleteBeforeReplace=difference.delete_first,
        hasDetailedDiff=True,
        detailedDiff={
            change.path: provider_pb2.PropertyDiff(
                kind=_KINDS[change.change, change.replaces], inputDiff=change.input
            )
            for change in difference.changes
        },
    )


def _top(path: str) -> str:
    return path.split(".")[0].split("[")[0]
