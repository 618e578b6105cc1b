-- The flagged share by language of the answers.
-- column language: ISO 639-1, the commonest of the record; null where it is too short to tell
-- column n_records: records with it
-- column n_flagged: those of them that are flagged for any trait
-- column flagged_share: n_flagged / n_records
-- column n_response_tokens: mean over records of their answers' mean length
SELECT language, count(*) AS n_records, count(*) FILTER (flagged) AS n_flagged,
    count(*) FILTER (flagged) / count(*) AS flagged_share, round(avg(marks.n_response_tokens), 1) AS n_response_tokens
FROM sample_scores JOIN marks USING (sample_id)
WHERE flagged IS NOT NULL
GROUP BY language
ORDER BY n_records DESC, language NULLS LAST
