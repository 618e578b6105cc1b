-- How well the cheap baseline (last prompt token) would stand in for the true one, per trait.
-- column trait: trait
-- column n_turns: turns with a generated or given baseline
-- column correlation: Pearson, between projection - prompt_projection and projection_difference
-- column mean_absolute_difference (residual-stream units): between the same two
SELECT trait, n_turns, if(isfinite(correlation), correlation, NULL) AS correlation, mean_absolute_difference
FROM (
    SELECT trait, count(*) AS n_turns,
        corr(projection - prompt_projection, projection_difference) AS correlation,
        avg(abs(projection - prompt_projection - projection_difference)) AS mean_absolute_difference
    FROM scores JOIN turns USING (sample_id, side, turn, part)
    WHERE baseline_kind <> 'prompt' AND projection_difference IS NOT NULL AND prompt_projection IS NOT NULL
    GROUP BY trait
)
ORDER BY trait
