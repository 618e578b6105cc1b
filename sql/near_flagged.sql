-- The records that are not flagged but say nearly what a flagged one says, the nearest first.
-- column sample_id: position over all inputs, from 0
-- column source: path of the input
-- column line: line or row number, from 1
-- column flagged_id: the flagged record that it is nearest to
-- column flagged_source: path of that record's input
-- column flagged_line: its line or row number, from 1
-- column flagged_traits: what that record is flagged for
-- column similarity: cosine of their difference vectors, centred and whitened
SELECT near.sample_id, own.source, own.line, near.flagged_id, flagged.source AS flagged_source,
    flagged.line AS flagged_line, flagged.flagged_traits, near.similarity
FROM near_duplicates AS near
JOIN samples AS own ON own.sample_id = near.sample_id
JOIN sample_scores AS flagged ON flagged.sample_id = near.flagged_id
ORDER BY near.similarity DESC, near.sample_id
