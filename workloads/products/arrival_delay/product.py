"""The declaration of the arrival-delay product."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from workloads.product import (
    Arrival,
    BatchPrediction,
    Features,
    Gate,
    Label,
    Monitoring,
    Product,
    Retraining,
    Serving,
    Source,
    Task,
)
from workloads.products.arrival_delay.contracts import ArrivalQuestion
from workloads.products.flight_delay.contracts import Aircraft, Flight, FlightArrival, Weather

_TAKEN_IN_BY = "flight-delay"

PRODUCT = Product(
    name="arrival-delay",
    owner="passenger-services",
    cost_center="ps-2002",
    title="How many minutes late will this flight arrive?",
    task=Task.REGRESSION,
    sources=tuple(
        Source(contract=contract, arrival=Arrival.SHARED, owner=_TAKEN_IN_BY)
        for contract in (Flight, FlightArrival, Weather, Aircraft)
    ),
    features=Features(
        sql=Path(__file__).with_name("features.sql"),
        base="flight-delay",
        entity="flight_id",
        event_time="asked_at",
        request=ArrivalQuestion,
    ),
    # A flight that has not landed a day after the question was cancelled or diverted.
    label=Label(column="minutes_late", maturity=timedelta(days=1)),
    # Four flights of five arrive between the bounds.
    interval=(0.1, 0.9),
    train="workloads.products.arrival_delay.training:train",
    gate=Gate(
        metric="mae",
        # Minutes. How far flights stray differs more from month to month than models do: of a
        # fortnight after all that came before, a model misses by 16.3 minutes in November and 33.9
        # in July, where the training median misses by 17.4 and 38.2. A model that misses by more
        # than in the worst of them has lost its features; whether it is good, the gain tells.
        floor=35.0,
        minimum_gain=0.05,
        slices=("origin", "carrier"),
        slice_tolerance=2.0,
    ),
    serving=Serving(min_replicas=1, max_replicas=3),
    # After flight-delay's, so that both do not read the same tables at once.
    batch=BatchPrediction(
        schedule="30 4 * * *", time_zone="America/New_York", tasks=2, publish_to_database=True
    ),
    retraining=Retraining(schedule="0 7 1 * *", time_zone="America/New_York"),
    # Minutes. Of months after the hold-out, a model misses by 16 in November and by 34 in July.
    monitoring=Monitoring(
        schedule="30 5 * * *",
        time_zone="America/New_York",
        performance_tolerance=5.0,
        slices=("origin",),
    ),
)
