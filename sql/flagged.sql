-- The flagged records, one row per trait that flagged them, the strongest first.
-- column sample_id: position over all inputs, from 0
-- column source: path of the input
-- column line: line or row number, from 1
-- column trait: trait that the record is flagged for
-- column projection_difference (residual-stream units): largest over the record's turns
-- column orthogonal_difference (residual-stream units): the same along what the trait's vector has for itself
-- column evidence_z: the same of the response's evidence; 0 on average for the model's own responses
-- column risk: the score that flags are made from
-- column z (standard deviations): risk against the reference
-- column percentile (percent): share of the reference at or below the risk
-- column q_value: Benjamini-Hochberg over the run's samples
-- column reason: what made the flag
SELECT sample_id, source, line, trait, projection_difference, orthogonal_difference, evidence_z, risk, z, percentile,
    q_value, flags.reason
FROM flags JOIN samples USING (sample_id)
WHERE flagged
ORDER BY z DESC NULLS LAST, risk DESC NULLS LAST, sample_id, trait
