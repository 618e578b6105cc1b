-- The flagged share by number of scored turns: a long conversation has more turns that may be flagged by chance.
-- column n_scored_turns: answers with a score that count for the record
-- column n_records: records with so many
-- column n_flagged: those of them that are flagged for any trait
-- column flagged_share: n_flagged / n_records
-- column n_traits_flagged: flags, one per record and trait
SELECT n_scored_turns, count(*) AS n_records, count(*) FILTER (flagged) AS n_flagged,
    count(*) FILTER (flagged) / count(*) AS flagged_share, sum(len(flagged_traits))::BIGINT AS n_traits_flagged
FROM sample_scores
WHERE flagged IS NOT NULL AND n_scored_turns IS NOT NULL
GROUP BY n_scored_turns
ORDER BY n_scored_turns
