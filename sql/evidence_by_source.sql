-- What the responses of each input file would teach, per trait: pooled evidence beside its random-direction band.
-- column source: path of the input
-- column trait: trait
-- column n_turns: answers, trained towards, whose evidence is known
-- column evidence_z_pooled: sum of evidence over the root of the sum of its null variances
-- column evidence_band: one-sided 97.5 % quantile of the same along random directions
-- column mean_evidence_z: mean over turns; null with --evidence score
-- Records outside the model's domain count here, though not in `verdicts`.
WITH turn AS (
    SELECT source, trait, layer, evidence::DOUBLE AS evidence, evidence_variance::DOUBLE AS variance,
        evidence_z::DOUBLE AS z
    FROM scores JOIN samples USING (sample_id)
    WHERE part = 'answer' AND side IN ('response', 'chosen') AND isfinite(evidence) AND isfinite(evidence_variance)
),
random AS (
    SELECT source, layer, generate_subscripts(evidence, 1) AS direction, unnest(evidence)::DOUBLE AS evidence,
        unnest(null_evidence)::DOUBLE AS null_evidence
    FROM random_evidence JOIN samples USING (sample_id)
    WHERE part = 'answer' AND side IN ('response', 'chosen')
),
direction AS (
    SELECT source, layer, direction, sum(evidence) / sqrt(nullif(sum(null_evidence * null_evidence), 0)) AS z
    FROM random
    WHERE isfinite(evidence) AND isfinite(null_evidence)
    GROUP BY source, layer, direction
),
band AS (
    -- Student's quantile for 32 directions, and the normal one, below which noise alone does not lie.
    SELECT source, layer, greatest(2.036933 * sqrt(avg(z * z)), 1.959964) AS evidence_band
    FROM direction
    GROUP BY source, layer
)
-- The last digits depend on the order in which threads add up, so they are cut.
SELECT source, trait, count(*) AS n_turns,
    round(sum(evidence) / sqrt(nullif(sum(variance), 0)), 6) AS evidence_z_pooled,
    round(any_value(evidence_band), 6) AS evidence_band, round(avg(z), 6) AS mean_evidence_z
FROM turn LEFT JOIN band USING (source, layer)
GROUP BY source, trait
ORDER BY source, trait
