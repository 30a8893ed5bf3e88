"""What the endpoint of arrival-delay is asked. What it learns from is flight-delay's."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from workloads.products.flight_delay.contracts import DelayQuestion


def _mean_delay(of: str) -> Meta:
    return Meta(ge=-180, le=2880, description=f"Mean arrival delay, minutes, of {of}")


class ArrivalQuestion(DelayQuestion, frozen=True):
    """All that is known of a flight two hours before its departure.

    The question of flight-delay, with means of minutes where that has shares of late flights: how
    late is another question than whether.
    """

    NAME: ClassVar[str] = "arrival_question"
    PLURAL: ClassVar[str] = "arrival_questions"
    VERSION: ClassVar[int] = 1

    carrier_delay_8h: (
        Annotated[
            float,
            _mean_delay("this airline's flights from this origin that landed in the last 8 hours"),
        ]
        | None
    ) = None
    aircraft_delay_24h: (
        Annotated[
            float,
            _mean_delay("this aircraft's flights that landed in the last 24 hours"),
        ]
        | None
    ) = None
