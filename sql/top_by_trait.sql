-- The records with the highest score of one trait.
-- param trait (text): the trait to sort by
-- param n (integer, default 20): how many records
-- column sample_id: position over all inputs, from 0
-- column source: path of the input
-- column line: line or row number, from 1
-- column score (residual-stream units): largest score over the record's turns
-- column score_kind: difference, prompt_difference or projection
-- column flagged: whether the record is flagged for any trait
-- column flagged_traits: the traits it is flagged for
WITH top AS (
    -- Found in one column; the others are then read for these records alone.
    SELECT sample_id, COLUMNS(lambda name: name = $trait) AS score
    FROM sample_scores
    WHERE COLUMNS(lambda name: name = $trait) IS NOT NULL
    ORDER BY score DESC, sample_id
    LIMIT $n
)
SELECT sample_id, source, line, top.score, score_kind, flagged, flagged_traits
FROM top JOIN sample_scores USING (sample_id)
ORDER BY top.score DESC, sample_id
