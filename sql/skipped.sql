-- Records and single turns without a score, with the reason.
-- column sample_id: position over all inputs, from 0
-- column source: path of the input
-- column line: line or row number, from 1
-- column side: null where the whole record was skipped
-- column turn: index of the message, from 0; null where the whole record was skipped
-- column part: answer or reasoning; null where the whole record was skipped
-- column status: skipped, or the turn's status
-- column reason: why
SELECT sample_id, source, line, NULL::VARCHAR AS side, NULL::INT AS turn, NULL::VARCHAR AS part, status, reason
FROM samples
WHERE status = 'skipped'
UNION ALL
SELECT sample_id, source, line, side, turn, part, turns.status, turns.reason
FROM turns JOIN samples USING (sample_id)
WHERE samples.status = 'ok' AND turns.status NOT IN ('ok', 'truncated')
ORDER BY sample_id, side, turn, part
