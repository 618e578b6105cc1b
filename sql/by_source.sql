-- Scores and flags of each input file, per trait.
-- column source: path of the input
-- column trait: trait
-- column n_samples: records in the file
-- column n_scored: records with a score
-- column mean_score (residual-stream units): mean over records of their largest score
-- column max_score (residual-stream units): largest score
-- column n_flagged: records flagged for this trait
-- column flagged_share: n_flagged / n_scored
WITH record AS (
    SELECT sample_id, trait, max(score) AS score FROM turn_scores GROUP BY sample_id, trait
),
file AS (
    SELECT source, count(*) AS n_samples FROM samples GROUP BY source
),
scored AS (
    SELECT source, record.trait, count(score) AS n_scored, avg(score) AS mean_score, max(score) AS max_score,
        count(*) FILTER (flags.flagged) AS n_flagged
    FROM record
    JOIN samples USING (sample_id)
    LEFT JOIN flags ON flags.sample_id = record.sample_id AND flags.trait = record.trait
    GROUP BY source, record.trait
)
SELECT source, trait, n_samples, coalesce(n_scored, 0) AS n_scored, mean_score, max_score,
    coalesce(n_flagged, 0) AS n_flagged, n_flagged / nullif(n_scored, 0) AS flagged_share
FROM file LEFT JOIN scored USING (source)
ORDER BY source, trait
