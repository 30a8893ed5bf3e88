-- The benchmark serves; it neither trains nor reads tables.
SELECT NULL AS entity
