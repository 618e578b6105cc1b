-- How well the cheap baseline (last prompt token) stands in for the true one, per trait.
-- column trait: trait
-- column n_turns: turns with a generated or given baseline
-- column correlation: Pearson, between projection - prompt_projection and projection_difference
-- column mean_absolute_difference (residual-stream units): between the same two
-- A correlation of fewer than three turns, or of something that does not vary, is NULL. A run with the cheap baseline
-- has no turns to compare; its manifest holds the agreement on some samples that were generated for it.
WITH pair AS (
    SELECT trait, projection::DOUBLE - prompt_projection AS cheap, projection_difference::DOUBLE AS true_difference
    FROM scores JOIN turns USING (sample_id, side, turn, part)
    WHERE baseline_kind IN ('generated', 'file') AND projection_difference IS NOT NULL AND prompt_projection IS NOT NULL
),
measured AS (
    SELECT trait, count(*) AS n_turns, corr(cheap, true_difference) AS correlation,
        avg(abs(cheap - true_difference)) AS mean_absolute_difference,
        min(cheap) < max(cheap) AND min(true_difference) < max(true_difference) AS varies
    FROM pair
    GROUP BY trait
)
SELECT trait, n_turns,
    if(n_turns >= 3 AND varies AND isfinite(correlation), round(correlation, 6), NULL) AS correlation,
    mean_absolute_difference
FROM measured
ORDER BY trait
