"""What happens to a resource: checked, compared, made, read, changed, removed.

Plain Python in and out, so that the gRPC server and the in-process face share it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from localcloud.home import Home
from localcloud.provider import kubernetes, naming, rules
from localcloud.provider.check import Failure, check
from localcloud.provider.clients import Clients, worded
from localcloud.provider.configuration import Configuration
from localcloud.provider.diff import Difference, PropertyChange, changes, configured
from localcloud.provider.drift import drifted, imported, merged
from localcloud.provider.errors import AlreadyExists, ProviderError, ServiceError
from localcloud.provider.identity import assigned_id, expanded, filled, identity, outputs
from localcloud.provider.plan import attributed, missing_project, planned, whereabouts
from localcloud.provider.realise import Realiser, Realisers
from localcloud.provider.schema import NoSuchResource, Resource, resource
from localcloud.provider.store import Record, Store
from localcloud.provider.values import UNKNOWN, knows, reveal, seal

_REPEATABLE: Final = frozenset({"gcp:projects/service:Service"})


@dataclass(frozen=True)
class State:
    """A resource as the provider answers it: id, outputs and the inputs that lead there."""

    id: str
    outputs: dict[str, Any]
    inputs: dict[str, Any]


class Lifecycle:
    """All resources of one local cloud; with no home it validates and records in memory."""

    def __init__(self, home: Home | None) -> None:
        """Open the provider's memory.

        Args:
            home: the local cloud whose services make resources real; None to validate only.
        """
        self.home = home
        self.store = Store(home.folder("provider") / "state.sqlite" if home else None)
        self._realisers = Realisers(Clients(home)) if home else None
        self._one_at_a_time = threading.RLock()

    def schema(self, token: str) -> Resource:
        """The schema of a type.

        Raises:
            NoSuchResource: neither the SDK nor the local cloud has it.
        """
        if token.startswith("kubernetes:"):
            return kubernetes.schema(token)
        return resource(token)

    def check(
        self,
        token: str,
        name: str,
        news: Mapping[str, Any],
        configuration: Configuration,
        *,
        olds: Mapping[str, Any] | None = None,
        seed: bytes = b"",
        proposed: tuple[str, naming.Mode] | None = None,
    ) -> tuple[dict[str, Any], list[Failure]]:
        """The inputs as they will be used, and everything that is wrong with them."""
        try:
            known = self.schema(token)
        except NoSuchResource as error:
            return dict(news), [Failure("", str(error))]
        checked, failures = check(known, news)
        old = reveal(dict(olds or {}))[0]
        if known.package == "kubernetes":
            plain, secrets = reveal(checked)
            failures += kubernetes.complete(
                known, plain, configuration, name=name, olds=old, seed=seed, proposed=proposed
            )
            if not failures:
                failures += rules.judge(known, plain, secrets)
            return seal(plain, secrets), failures
        failures += naming.autoname(
            known, checked, name=name, olds=old, seed=seed, proposed=proposed
        )
        plain, secrets = reveal(checked)
        if not failures:
            failures += rules.judge(known, plain, secrets)
        if missing_project(known, plain, configuration):
            failures.append(
                Failure(
                    "project", "missing; set it here or with `pulumi config set gcp:project ID`"
                )
            )
        return checked, failures

    def diff(
        self,
        token: str,
        id: str,  # noqa: A002 - Pulumi's own word
        urn: str,
        *,
        olds: Mapping[str, Any],
        old_inputs: Mapping[str, Any],
        news: Mapping[str, Any],
        configuration: Configuration,
        ignored: Iterable[str] = (),
    ) -> Difference:
        """What `news` would change, and whether it needs a new resource."""
        self.store.acknowledge(urn, id)
        known = self.schema(token)
        state, before, after = (reveal(dict(one))[0] for one in (olds, old_inputs, news))
        ignored = list(ignored)
        found = changes(
            known, before, after, ignored=ignored, batch_job=state.get("type") == "JOB_TYPE_BATCH"
        )
        found += configured(known, state, before, after, configuration, ignored)
        found += self._rebuilt(known, id, state, after)
        difference = Difference(found)
        if difference.replaces:
            difference.delete_first = self._same_place(known, id, after, configuration)
        return difference

    def _rebuilt(
        self,
        known: Resource,
        id: str,  # noqa: A002
        state: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> list[PropertyChange]:
        """Changes that the inputs do not show, such as other files in an image's build context."""
        realiser = self._realiser(known.token)
        stale = getattr(realiser, "stale", None)
        if stale is None or not knows(after):
            return []
        with worded(f"{known.title} {id}"):
            return [
                PropertyChange(path, "update", replaces=False, input=False)
                for path in stale(state, after)
            ]

    def _same_place(
        self,
        known: Resource,
        id: str,  # noqa: A002
        after: Mapping[str, Any],
        configuration: Configuration,
    ) -> bool:
        """Whether the replacement would take the old one's place, so that it must go first."""
        if known.package == "kubernetes":
            return kubernetes.object_id(after) == id
        return identity(known).of(planned(known, after, configuration)) == id

    def preview(
        self,
        token: str,
        urn: str,
        inputs: Mapping[str, Any],
        configuration: Configuration,
        olds: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The outputs that a creation (or, with `olds`, an update) would lead to."""
        known = self.schema(token)
        plain, secrets = reveal(dict(inputs))
        properties = planned(known, plain, configuration)
        if olds is None:
            made = self._outputs(known, properties, None, urn, preview=True)
        else:
            state, hidden = reveal(dict(olds))
            secrets |= hidden
            properties = attributed(properties, state)
            made = {
                name: state[name] for name in (*known.computed, *filled(known)) if name in state
            }
            realiser = self._realiser(token)
            if realiser is not None:
                made |= dict.fromkeys(getattr(realiser, "changing", ()), UNKNOWN)
        return seal({**made, **properties}, secrets)

    def create(
        self, token: str, urn: str, inputs: Mapping[str, Any], configuration: Configuration
    ) -> State:
        """Make a resource, or finish what a killed deployment of this stack began.

        Raises:
            AlreadyExists: the identity is taken by something that this stack did not make.
            ProviderError: a service refused, named with the resource.
        """
        known = self.schema(token)
        plain, secrets = reveal(dict(inputs))
        properties = planned(known, plain, configuration)
        place = self._identity(known, properties)
        what = f"{known.title} {place or properties.get('name') or urn.rpartition('::')[2]}"
        realiser = self._realiser(token)
        with worded(f"Error creating {what}"):
            if realiser is None:
                made = self._record(known, urn, place, plain, properties, what)
            else:
                made = self._realise(known, realiser, urn, place, properties, what)
        return State(made[0], seal(made[1], secrets), dict(inputs))

    def _record(
        self,
        known: Resource,
        urn: str,
        place: str | None,
        plain: dict[str, Any],
        properties: dict[str, Any],
        what: str,
    ) -> tuple[str, dict[str, Any]]:
        with self._one_at_a_time:
            id = place or self._free_id(known, properties, urn)  # noqa: A001
            there = self.store.find(known.token, id)
            # A grant or an enabled API that exists already is no conflict with Google either.
            repeatable = "IAM" in known.title.upper() or known.token in _REPEATABLE
            if there is not None and there.id == id and not repeatable:
                begun = self.store.creation(urn)
                if begun is None or begun.identity != id:
                    raise AlreadyExists(what)
            self.store.begin(urn, id)
            made = self._outputs(known, properties, id, urn, preview=False) | properties
            self.store.record(Record(known.token, id, urn, plain, made))
            self.store.made(urn, id)
        return id, made

    def _free_id(self, known: Resource, properties: dict[str, Any], urn: str) -> str:
        """A server-chosen id that no other resource has, the same again for a cut creation."""
        begun = self.store.creation(urn)
        for turn in range(1000):
            id = assigned_id(known, properties | {"version": str(turn + 1)}, f"{urn}{turn or ''}")  # noqa: A001
            if (begun and begun.identity == id) or self.store.find(known.token, id) is None:
                return id
        raise ProviderError(f"no id left for {urn}")

    def _realise(
        self,
        known: Resource,
        realiser: Realiser,
        urn: str,
        place: str | None,
        properties: dict[str, Any],
        what: str,
    ) -> tuple[str, dict[str, Any]]:
        begun = self.store.creation(urn)
        there = realiser.locate(properties)
        resume = getattr(realiser, "resume", None)
        if there is None and begun is not None and resume is not None:
            there = resume(properties)
        if there is not None and begun is not None and begun.identity == place:
            id = realiser.update(there, properties, properties)  # noqa: A001
        elif there is not None:
            raise AlreadyExists(what)
        else:
            self.store.begin(urn, place)
            try:
                id = realiser.create(properties)  # noqa: A001
            except ServiceError as error:
                if error.code in (400, 409, 501):
                    self.store.abandon(urn)
                raise
        self.store.made(urn, id)
        made = self._outputs(known, properties, id, urn, preview=False) | properties
        truth = self._describe(realiser, id, made)
        if truth is None:
            raise ProviderError(f"{what} was created and is gone again; see the service's log")
        return id, merged(made, truth)

    def read(
        self,
        token: str,
        id: str,  # noqa: A002
        urn: str,
        *,
        state: Mapping[str, Any],
        inputs: Mapping[str, Any],
        configuration: Configuration,
    ) -> State | None:
        """The resource as it is now; None where it does not exist. Importing gives no state."""
        self.store.acknowledge(urn, id)
        known = self.schema(token)
        before, hidden = reveal(dict(state))
        given, secrets = reveal(dict(inputs))
        realiser = self._realiser(token)
        if not before:
            chosen = {**whereabouts(known, configuration), **_places(configuration)}
            id = expanded(known, id, chosen)  # noqa: A001
        if realiser is None:
            record = self.store.find(token, id)
            if record is None:
                return None
            # Recorded resources have no life of their own: what was recorded is the truth.
            kept = before or record.outputs
            return State(
                record.id,
                seal(kept, hidden),
                dict(inputs) if given else dict(record.inputs),
            )
        with worded(f"Error reading {known.title} {id}"):
            truth = realiser.read(id, before)
        if truth is None:
            return None
        found = str(truth.pop("id", id))
        if not before:
            base = planned(known, {}, configuration)
            made = self._outputs(known, base | truth, found, urn, preview=False)
            now = merged(made | base, truth)
            return State(found, now, imported(known, now, base, getattr(realiser, "usual", {})))
        now = merged(before, truth)
        moved = drifted(known, given, before, now, truth)
        return State(found, seal(now, hidden), seal(moved, secrets))

    def update(
        self,
        token: str,
        id: str,  # noqa: A002
        urn: str,
        *,
        olds: Mapping[str, Any],
        old_inputs: Mapping[str, Any],
        news: Mapping[str, Any],
        configuration: Configuration,
    ) -> State:
        """Change a resource in place."""
        self.store.acknowledge(urn, id)
        known = self.schema(token)
        before, hidden = reveal(dict(olds))
        plain, secrets = reveal(dict(news))
        properties = attributed(planned(known, plain, configuration), before)
        computed = {
            name: before[name] for name in (*known.computed, *filled(known)) if name in before
        }
        made = computed | properties
        if known.package == "kubernetes":
            made = self._outputs(known, properties, id, urn, preview=False) | properties
        realiser = self._realiser(token)
        if realiser is None:
            self.store.record(Record(token, id, urn, plain, made))
            return State(id, seal(made, secrets | hidden), dict(news))
        with worded(f"Error updating {known.title} {id}"):
            now_id = realiser.update(id, before, properties)
            truth = self._describe(realiser, now_id, made)
        if truth is None:
            raise ProviderError(f"{known.title} {id} does not exist any more; run `refresh`")
        return State(id, seal(merged(made, truth), secrets | hidden), dict(news))

    def delete(
        self,
        token: str,
        id: str,  # noqa: A002
        urn: str,
        state: Mapping[str, Any],
    ) -> None:
        """Remove a resource.

        Raises:
            ProviderError: it is protected, or the service refused.
        """
        self.store.acknowledge(urn, id)
        known = self.schema(token)
        plain = reveal(dict(state))[0]
        policy = plain.get("deletionPolicy")
        if plain.get("deletionProtection") is True or policy == "PREVENT":
            switch = (
                "deletionProtection=False" if policy != "PREVENT" else 'deletionPolicy="DELETE"'
            )
            raise ProviderError(
                f"cannot destroy {known.title} {id}: it is protected; "
                f"set {switch} and run `up` before destroying it"
            )
        if policy != "ABANDON":
            realiser = self._realiser(token)
            if realiser is not None:
                with worded(f"Error deleting {known.title} {id}"):
                    realiser.delete(id, plain)
            else:
                self.store.forget(token, id)

    def _describe(
        self,
        realiser: Realiser,
        id: str,  # noqa: A002
        made: dict[str, Any],
    ) -> dict[str, Any] | None:
        """What was just made, even where `read` would take it for gone (a job that ended)."""
        return getattr(realiser, "describe", realiser.read)(id, made)

    def _realiser(self, token: str) -> Realiser | None:
        return self._realisers.of(token) if self._realisers else None

    def _identity(self, known: Resource, properties: Mapping[str, Any]) -> str | None:
        if known.package == "kubernetes":
            return kubernetes.object_id(properties)
        return identity(known).of(properties)

    def _outputs(
        self,
        known: Resource,
        properties: Mapping[str, Any],
        id: str | None,  # noqa: A002
        urn: str,
        *,
        preview: bool,
    ) -> dict[str, Any]:
        id = id or self._identity(known, properties)  # noqa: A001
        made = outputs(known, properties, id=id, urn=urn, preview=preview)
        if known.package == "kubernetes":
            made |= kubernetes.outputs(properties, urn, preview)
        return made


def _places(configuration: Configuration) -> dict[str, str | None]:
    """Project and region, under the names that ids use for them."""
    return {
        "project": configuration.project,
        "region": configuration.region,
        "location": configuration.region,
    }
