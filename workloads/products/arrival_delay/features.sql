-- What is known of a flight two hours before it is scheduled to leave, and, once it has landed,
-- how late it was. One row a flight whose question was asked in [@start, @end).
--
-- {flights}, {arrivals}, {weather} and {aircraft} stand for the raw tables of
-- flight-delay, which takes them in. The leak guard
-- (workloads/features/leakage.py) runs the same text with each of them cut off at a row's
-- `asked_at` and compares: whatever is read here must have been known by then. The label alone may
-- come later.
--
-- A raw table may hold a row twice after a redelivery, hence the QUALIFY on each.
WITH
flights AS (
  SELECT *
  FROM {flights}
  -- A landing of the last week belongs to a flight that was asked about before it.
  WHERE asked_at >= TIMESTAMP_SUB(@start, INTERVAL 10 DAY) AND asked_at < @end
  QUALIFY ROW_NUMBER() OVER (PARTITION BY flight_id ORDER BY ingested_at, message_id) = 1
),

questions AS (
  SELECT * FROM flights WHERE asked_at >= @start
),

landings AS (
  SELECT flight_id, landed_at, arrival_delay, IF(arrival_delay > 15, 1, 0) AS late
  FROM {arrivals}
  WHERE
    landed_at >= TIMESTAMP_SUB(@start, INTERVAL 7 DAY)
    AND landed_at < TIMESTAMP_ADD(@end, INTERVAL 4 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY flight_id ORDER BY ingested_at, message_id) = 1
),

-- Landings and questions on one line of time, so that a window that ends at a question holds the
-- landings before it and nothing else.
timeline AS (
  SELECT
    flight_id, carrier, origin, destination, tail_number,
    TRUE AS is_question,
    UNIX_SECONDS(asked_at) AS second,
    CAST(NULL AS INT64) AS late,
    CAST(NULL AS INT64) AS delay
  FROM questions
  UNION ALL
  SELECT
    flight_id, carrier, origin, destination, tail_number,
    FALSE,
    -- A landing within the second of a question counts as after it.
    UNIX_SECONDS(landed_at) + 1,
    late,
    arrival_delay
  FROM landings
  INNER JOIN flights USING (flight_id)
),

recent AS (
  SELECT
    flight_id,
    is_question,
    -- Rounded: sums in another order differ in their last bits, and so would the hash of a snapshot.
    ROUND(AVG(late) OVER airports_3h, 4) AS airports_late_3h,
    ROUND(AVG(delay) OVER origin_3h, 2) AS origin_delay_3h,
    ROUND(AVG(late) OVER origin_8h, 4) AS origin_late_8h,
    ROUND(AVG(late) OVER destination_8h, 4) AS destination_late_8h,
    ROUND(AVG(delay) OVER destination_24h, 2) AS destination_delay_24h,
    ROUND(AVG(late) OVER carrier_8h, 4) AS carrier_late_8h,
    ROUND(AVG(late) OVER carrier_7d, 4) AS carrier_late_7d,
    ROUND(AVG(delay) OVER carrier_8h, 2) AS carrier_delay_8h,
    ROUND(AVG(late) OVER aircraft_24h, 4) AS aircraft_late_24h,
    ROUND(AVG(delay) OVER aircraft_24h, 2) AS aircraft_delay_24h
  FROM timeline
  WINDOW
    airports_3h AS (ORDER BY second RANGE BETWEEN 10800 PRECEDING AND CURRENT ROW),
    origin_3h AS (
      PARTITION BY origin ORDER BY second RANGE BETWEEN 10800 PRECEDING AND CURRENT ROW
    ),
    origin_8h AS (
      PARTITION BY origin ORDER BY second RANGE BETWEEN 28800 PRECEDING AND CURRENT ROW
    ),
    destination_8h AS (
      PARTITION BY destination ORDER BY second RANGE BETWEEN 28800 PRECEDING AND CURRENT ROW
    ),
    destination_24h AS (
      PARTITION BY destination ORDER BY second RANGE BETWEEN 86400 PRECEDING AND CURRENT ROW
    ),
    carrier_8h AS (
      PARTITION BY carrier, origin ORDER BY second RANGE BETWEEN 28800 PRECEDING AND CURRENT ROW
    ),
    carrier_7d AS (
      PARTITION BY carrier ORDER BY second RANGE BETWEEN 604800 PRECEDING AND CURRENT ROW
    ),
    aircraft_24h AS (
      PARTITION BY tail_number ORDER BY second RANGE BETWEEN 86400 PRECEDING AND CURRENT ROW
    )
),

observations AS (
  SELECT
    *,
    -- Until the next one; and a station that is silent for six hours says nothing about now.
    LEAST(
      TIMESTAMP_ADD(observed_at, INTERVAL 6 HOUR),
      COALESCE(
        LEAD(observed_at) OVER (PARTITION BY origin ORDER BY observed_at),
        TIMESTAMP_ADD(observed_at, INTERVAL 6 HOUR)
      )
    ) AS valid_until
  FROM (
    SELECT *
    FROM {weather}
    WHERE observed_at > TIMESTAMP_SUB(@start, INTERVAL 6 HOUR) AND observed_at < @end
    QUALIFY ROW_NUMBER() OVER (PARTITION BY observation_id ORDER BY ingested_at, message_id) = 1
  )
),

-- One row for each hour that an observation reaches into, to join on equality and not on a range.
weather AS (
  SELECT observations.*, hour
  FROM observations
  CROSS JOIN
    UNNEST(
      GENERATE_TIMESTAMP_ARRAY(
        TIMESTAMP_TRUNC(observed_at, HOUR), valid_until, INTERVAL 1 HOUR
      )
    ) AS hour
),

-- The register is read as a whole and rarely; an aircraft is known from its reading on.
aircraft AS (
  SELECT *
  FROM {aircraft}
  WHERE registered_at < @end
  QUALIFY ROW_NUMBER() OVER (PARTITION BY tail_number ORDER BY ingested_at, message_id) = 1
)

SELECT
  questions.flight_id,
  questions.asked_at,
  questions.carrier,
  questions.origin,
  questions.destination,
  questions.distance,
  60 * EXTRACT(HOUR FROM questions.scheduled_departure AT TIME ZONE 'America/New_York')
    + EXTRACT(MINUTE FROM questions.scheduled_departure AT TIME ZONE 'America/New_York')
    AS departure_minute,
  EXTRACT(DAYOFWEEK FROM questions.scheduled_departure AT TIME ZONE 'America/New_York')
    AS weekday,
  questions.scheduled_arrival_minute,
  aircraft.year AS aircraft_year,
  aircraft.seats,
  weather.temperature,
  weather.dew_point,
  weather.humidity,
  weather.wind_direction,
  weather.wind_speed,
  weather.wind_gust,
  weather.precipitation,
  weather.pressure,
  weather.visibility,
  recent.airports_late_3h,
  recent.origin_delay_3h,
  recent.origin_late_8h,
  recent.destination_late_8h,
  recent.destination_delay_24h,
  recent.carrier_late_8h,
  recent.carrier_late_7d,
  recent.carrier_delay_8h,
  -- Without a tail number the aircraft is not known, and neither are its flights.
  IF(questions.tail_number IS NULL, NULL, recent.aircraft_late_24h) AS aircraft_late_24h,
  IF(questions.tail_number IS NULL, NULL, recent.aircraft_delay_24h) AS aircraft_delay_24h,
  landings.arrival_delay AS minutes_late
FROM questions
INNER JOIN recent
  ON recent.flight_id = questions.flight_id AND recent.is_question
LEFT JOIN weather
  ON
    weather.origin = questions.origin
    AND weather.hour = TIMESTAMP_TRUNC(questions.asked_at, HOUR)
    AND weather.observed_at <= questions.asked_at
    AND weather.valid_until > questions.asked_at
LEFT JOIN aircraft
  ON
    aircraft.tail_number = questions.tail_number
    AND aircraft.registered_at <= questions.asked_at
LEFT JOIN landings
  ON landings.flight_id = questions.flight_id
ORDER BY questions.asked_at, questions.flight_id
