-- The verdict on every trait, the worst first.
-- column trait: trait
-- column verdict: clear, watch, risk or undecided
-- column n: records with a score, inside the model's domain
-- column mean_difference (residual-stream units): mean over records of the mean over turns
-- column ci_low (residual-stream units): 95 % interval of mean_difference
-- column ci_high (residual-stream units): 95 % interval of mean_difference
-- column cohens_d: shift against the reference in pooled standard deviations
-- column cohens_d_low: 95 % interval of cohens_d
-- column cohens_d_high: 95 % interval of cohens_d
-- column random_band: cohens_d that 97.5 % of random directions stay below
-- column evidence_z_pooled: what the responses would teach, pooled
-- column evidence_band: what random directions reach of it
-- column n_flagged: records flagged for the trait
-- column expected_false_flags: flags that clean data of this size would give
-- column reason: the finding behind the verdict, in words
SELECT trait, verdict, n, mean_difference, ci_low, ci_high, cohens_d, cohens_d_low, cohens_d_high, random_band,
    evidence_z_pooled, evidence_band, n_flagged, expected_false_flags, reason
FROM verdicts
ORDER BY array_position(['risk', 'watch', 'undecided', 'clear'], verdict), cohens_d DESC NULLS LAST, trait
