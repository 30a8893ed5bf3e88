"""The online store: the last features of an entity, within milliseconds, by its id alone.

On Google Cloud a Vertex AI feature online store, which answers one entity a request; of several,
some are asked at a time. What is in it came with the view's last sync (`syncing.py`), from the same
feature query that models are trained on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from workloads import gcp
from workloads.features import views
from workloads.features.row import FeatureRow, instant, row
from workloads.features.store import NoOnlineStore, OnlineFeaturesError, view_name
from workloads.product import Product

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import FetchFeatureValuesResponse

log = logging.getLogger(__name__)

TIMEOUT: Final = 1.0
"""Seconds for all entities of one question; Bigtable answers for one in some milliseconds."""
CONNECTIONS: Final = 8
"""Entities asked about at a time."""


class NotSynced(OnlineFeaturesError):
    """The store is there, and empty: its view has not been synced yet."""


class OnlineTimeout(OnlineFeaturesError):
    """The store did not answer in time."""


class OnlineUnavailable(OnlineFeaturesError):
    """The store cannot be reached, or refuses to answer."""


class StaleFeatures(OnlineFeaturesError):
    """Features are older than the product allows.

    Attributes:
        rows: what the store holds of the entities that are stale.
    """

    def __init__(self, product: Product, rows: Sequence[FeatureRow], now: datetime) -> None:
        self.rows = tuple(rows)
        oldest = max(rows, key=lambda one: one.age(now))
        super().__init__(
            f"features of {len(rows)} entities are stale, the oldest those of {oldest.entity!r}: "
            f"they are of {oldest.event_time.isoformat()}, {oldest.age(now)} ago; {product.name} "
            f"allows {product.features.fresh_for} (`fresh_for`). Run `esteira features sync "
            f"{product.name}`, and see whether new events arrive"
        )


class OnlineFeatures:
    """Looks entities of one product up. May be shared by threads.

    Args:
        product: The declaration.
        timeout: seconds that one question may take, however many entities it names.
    """

    def __init__(self, product: Product, *, timeout: float = TIMEOUT) -> None:
        self.product = product
        self.view = view_name(product)
        self._timeout = timeout
        self._known_to_be_synced = False
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="features")

    def prepare(self) -> None:
        """Import the client, which takes seconds that the first question has not; blocks.

        Raises:
            OnlineFeaturesError: there is no store, or nothing in it.
        """
        gcp.feature_store_client()
        self._check_synced()

    def close(self) -> None:
        """Give threads back; questions that are out are left alone."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def fetch(self, entities: Sequence[str]) -> list[dict[str, Any] | None]:
        """The fields of the product's request for these entities, in their order.

        Args:
            entities: ids; one may be asked for twice.

        Returns:
            Values as the request's contract types them; None for an entity that is not known.

        Raises:
            StaleFeatures: some are older than the product allows.
            NoOnlineStore, NotSynced, OnlineTimeout, OnlineUnavailable: there is nothing to answer
                with.
        """
        found = self.lookup(entities)
        now = datetime.now(UTC)
        stale = [one for one in found if one is not None and one.stale(self.product, now)]
        if stale:
            raise StaleFeatures(self.product, stale, now)
        return [None if one is None else one.values for one in found]

    def lookup(self, entities: Sequence[str]) -> list[FeatureRow | None]:
        """What the store holds of these entities, stale or not, with its event time.

        Raises:
            NoOnlineStore, NotSynced, OnlineTimeout, OnlineUnavailable: as `fetch`.
        """
        deadline = time.monotonic() + self._timeout
        different = list(dict.fromkeys(entities))
        if len(different) == 1:
            known = {different[0]: self._one(different[0], deadline)}
        else:
            known = self._several(different, deadline)
        return [known[one] for one in entities]

    def _several(self, entities: Sequence[str], deadline: float) -> dict[str, FeatureRow | None]:
        # Made once here, not by each thread for itself.
        gcp.feature_store_client()
        asked: dict[str, Future[FeatureRow | None]] = {
            one: self._pool.submit(self._one, one, deadline) for one in entities
        }
        try:
            return {one: future.result() for one, future in asked.items()}
        finally:
            for future in asked.values():
                future.cancel()

    def _one(self, entity: str, deadline: float) -> FeatureRow | None:
        from google.api_core import exceptions

        left = deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        try:
            with self._worded():
                answer = gcp.feature_store_client().fetch_feature_values(
                    request={"feature_view": self.view, "data_key": {"key": entity}},
                    timeout=left,
                    retry=_retry(left),
                )
        except exceptions.NotFound:
            # The API says the same of a store, a view and an entity that are not there.
            self._check_synced()
            return None
        except exceptions.BadRequest as error:
            # Over gRPC FAILED_PRECONDITION is a kind of it; over REST there are no kinds.
            self._check_synced()
            raise OnlineUnavailable(f"{self.view}: {error.message}") from error
        except exceptions.PermissionDenied as error:
            raise OnlineUnavailable(
                f"{self.view}: {error.message}; who asks needs "
                "roles/aiplatform.featurestoreDataViewer on it"
            ) from error
        return self._row(entity, answer)

    def _row(self, entity: str, answer: FetchFeatureValuesResponse) -> FeatureRow | None:
        # The message itself: through the wrapper of proto-plus a row takes ten times as long.
        pairs = type(answer).pb(answer).key_values.features
        found: dict[str, Any] = {}
        for pair in pairs:
            kind = pair.value.WhichOneof("value")
            found[pair.name] = None if kind is None else getattr(pair.value, kind)
        if not found:
            return None
        moment = found.pop(views.EVENT_MICROSECONDS, None)
        if moment is None:
            raise OnlineUnavailable(
                f"{self.view} serves no `{views.EVENT_MICROSECONDS}`: it is not made of the view "
                f"`{views.LATEST}` of {self.product.name}; run `esteira up`, then sync"
            )
        return row(self.product, entity, instant(moment), found)

    def _check_synced(self) -> None:
        """Say what is missing when nothing is found; asked until it is there, then never again."""
        if self._known_to_be_synced:
            return
        from google.api_core import exceptions

        client = gcp.feature_store_admin_client()
        try:
            with self._worded():
                syncs = client.list_feature_view_syncs(
                    parent=self.view, timeout=self._timeout, retry=_retry(self._timeout)
                )
                # A plain message: what is unset is true too.
                ended = any(
                    one.run_time.HasField("end_time") and not one.final_status.code for one in syncs
                )
        except exceptions.NotFound as error:
            raise NoOnlineStore(self.product) from error
        except exceptions.PermissionDenied:
            log.warning("may not ask whether %s was synced; taking it for granted", self.view)
            ended = True
        if not ended:
            raise NotSynced(
                f"{self.view} was not synced yet: run `esteira features sync {self.product.name}`, "
                "or wait for its schedule"
            )
        self._known_to_be_synced = True

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Turn errors of the way there into this module's."""
        import requests
        from google.api_core import exceptions

        try:
            yield
        except (exceptions.NotFound, exceptions.BadRequest, exceptions.PermissionDenied):
            raise
        except (exceptions.DeadlineExceeded, exceptions.RetryError, requests.Timeout) as error:
            raise self._late() from error
        except (exceptions.GoogleAPICallError, requests.RequestException) as error:
            raise OnlineUnavailable(f"{self.view}: {error}") from error

    def _late(self) -> OnlineTimeout:
        return OnlineTimeout(f"{self.view} did not answer within {self._timeout:g} s")


def _retry(seconds: float) -> Any:
    from google.api_core import exceptions
    from google.api_core.retry import Retry, if_exception_type

    return Retry(
        predicate=if_exception_type(exceptions.ServiceUnavailable),
        initial=0.01,
        maximum=0.1,
        timeout=seconds,
    )
