-- What a judge says of flagged records and of a random part, per trait; recall is estimated from these numbers.
-- column trait: trait
-- column n_records: records that could be flagged for it
-- column n_flagged: flagged records
-- column n_flagged_judged: those among them that the judge gave a number for
-- column n_confirmed: those among them that it finds the trait in
-- column confirmed_share: n_confirmed over n_flagged_judged
-- column n_random_judged: records of the random part that it gave a number for
-- column n_random_present: those among them that it finds the trait in
-- column n_random_flagged: records of the random part with a number that are flagged
-- column n_random_both: those among them that it finds the trait in
-- column n_void: records that it gave no number for
WITH counts AS (
    SELECT trait, coalesce(nullif(count(q_value), 0), count(*)) AS n_records,
        count(*) FILTER (flagged) AS n_flagged
    FROM flags GROUP BY trait
), judged AS (
    SELECT judge.trait, judge.draw, judge.is_judged_present AS present, coalesce(flags.flagged, false) AS flagged
    FROM judge LEFT JOIN flags ON flags.sample_id = judge.sample_id AND flags.trait = judge.trait
), told AS (
    SELECT trait,
        count(*) FILTER (flagged AND present IS NOT NULL) AS n_flagged_judged,
        count(*) FILTER (flagged AND present) AS n_confirmed,
        count(*) FILTER (draw = 'random' AND present IS NOT NULL) AS n_random_judged,
        count(*) FILTER (draw = 'random' AND present) AS n_random_present,
        count(*) FILTER (draw = 'random' AND flagged AND present IS NOT NULL) AS n_random_flagged,
        count(*) FILTER (draw = 'random' AND flagged AND present) AS n_random_both,
        count(*) FILTER (present IS NULL) AS n_void
    FROM judged GROUP BY trait
)
SELECT trait, coalesce(n_records, 0) AS n_records, coalesce(n_flagged, 0) AS n_flagged, n_flagged_judged, n_confirmed,
    n_confirmed / nullif(n_flagged_judged, 0) AS confirmed_share, n_random_judged, n_random_present, n_random_flagged,
    n_random_both, n_void
FROM told LEFT JOIN counts USING (trait)
ORDER BY trait
