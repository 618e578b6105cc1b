-- The records that are flagged for more than one trait.
-- param at_least (integer, default 2): fewest traits
-- column sample_id: position over all inputs, from 0
-- column source: path of the input
-- column line: line or row number, from 1
-- column n_traits: traits that the record is flagged for
-- column traits: their names
-- column max_z (standard deviations): largest z among them
SELECT sample_id, source, line, count(*) AS n_traits, list(trait ORDER BY trait) AS traits, max(z) AS max_z
FROM flags JOIN samples USING (sample_id)
WHERE flagged
GROUP BY sample_id, source, line
HAVING count(*) >= $at_least
ORDER BY n_traits DESC, max_z DESC NULLS LAST, sample_id
