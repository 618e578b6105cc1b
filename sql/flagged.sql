-- The flagged records, one row per trait that flagged them, the strongest first.
-- column sample_id: position over all inputs, from 0
-- column source: path of the input
-- column line: line or row number, from 1
-- column trait: trait that the record is flagged for
-- column projection_difference (residual-stream units): largest over the record's turns
-- column orthogonal_difference (residual-stream units): the same along what the trait's vector has for itself
-- column evidence_z: the same of the response's evidence; 0 on average for the model's own responses
-- column risk: the score that flags are made from
-- column z (standard deviations): risk against the reference's turns
-- column percentile (percent): share of the reference's turns at or below the risk
-- column p_value: chance that a clean record of as many turns has this risk or more
-- column q_value: share of clean records expected among all at least as unusual
-- column reason: what made the flag
SELECT sample_id, source, line, trait, projection_difference, orthogonal_difference, evidence_z, risk, z, percentile,
    p_value, q_value, flags.reason
FROM flags JOIN samples USING (sample_id)
WHERE flagged
ORDER BY z DESC NULLS LAST, risk DESC NULLS LAST, sample_id, trait
