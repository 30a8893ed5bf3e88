-- What is known of a flight two hours before it is scheduled to leave, and, once it has landed,
-- how late it was. One row a flight whose question was asked in [@start, @end).
--
-- {base} stands for the rows of flight-delay's query. To them come means of minutes where those have
-- shares of late flights. The leak guard (workloads/features/leakage.py) runs both texts with each
-- raw table cut off at a row's `asked_at`.
--
-- A raw table may hold a row twice after a redelivery, hence the QUALIFY on each.
WITH
questions AS (
  SELECT * FROM {base}
),

flights AS (
  SELECT flight_id, asked_at, carrier, origin, tail_number
  FROM {flights}
  -- A landing of the last day belongs to a flight that was asked about before it.
  WHERE asked_at >= TIMESTAMP_SUB(@start, INTERVAL 4 DAY) AND asked_at < @end
  QUALIFY ROW_NUMBER() OVER (PARTITION BY flight_id ORDER BY ingested_at, message_id) = 1
),

landings AS (
  SELECT flight_id, landed_at, arrival_delay
  FROM {arrivals}
  WHERE
    landed_at >= TIMESTAMP_SUB(@start, INTERVAL 1 DAY)
    AND landed_at < TIMESTAMP_ADD(@end, INTERVAL 4 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY flight_id ORDER BY ingested_at, message_id) = 1
),

-- Landings and questions on one line of time, so that a window that ends at a question holds the
-- landings before it and nothing else.
timeline AS (
  SELECT
    flight_id, carrier, origin, tail_number,
    TRUE AS is_question,
    UNIX_SECONDS(asked_at) AS second,
    CAST(NULL AS INT64) AS delay
  FROM flights
  WHERE asked_at >= @start
  UNION ALL
  SELECT
    flight_id, carrier, origin, tail_number,
    FALSE,
    -- A landing within the second of a question counts as after it.
    UNIX_SECONDS(landed_at) + 1,
    arrival_delay
  FROM landings
  INNER JOIN flights USING (flight_id)
),

recent AS (
  SELECT
    flight_id,
    tail_number,
    is_question,
    -- Rounded: sums in another order differ in their last bits, and so would the hash of a snapshot.
    ROUND(AVG(delay) OVER carrier_8h, 2) AS carrier_delay_8h,
    ROUND(AVG(delay) OVER aircraft_24h, 2) AS aircraft_delay_24h
  FROM timeline
  WINDOW
    carrier_8h AS (
      PARTITION BY carrier, origin ORDER BY second RANGE BETWEEN 28800 PRECEDING AND CURRENT ROW
    ),
    aircraft_24h AS (
      PARTITION BY tail_number ORDER BY second RANGE BETWEEN 86400 PRECEDING AND CURRENT ROW
    )
)

SELECT
  questions.* EXCEPT (late),
  recent.carrier_delay_8h,
  -- Without a tail number the aircraft is not known, and neither are its flights.
  IF(recent.tail_number IS NULL, NULL, recent.aircraft_delay_24h) AS aircraft_delay_24h,
  landings.arrival_delay AS minutes_late
FROM questions
INNER JOIN recent
  ON recent.flight_id = questions.flight_id AND recent.is_question
LEFT JOIN landings
  ON landings.flight_id = questions.flight_id
ORDER BY questions.asked_at, questions.flight_id
