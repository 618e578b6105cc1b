-- How well one mark alone tells the flagged records from the others, per trait, over all records.
-- column trait: trait
-- column mark: column of `marks`; length_difference is n_response_tokens less n_baseline_tokens
-- column n_flagged: flagged records of which the mark is known
-- column n_others: records of which it is known that are not flagged, though they could be
-- column mean_flagged: mean of the mark over the flagged records
-- column mean_others: mean of the mark over the others
-- column auc: chance that a flagged record has more of it than another, ties counted half; .5 where it tells nothing
-- A trait without flags has no rows. The summary holds the same with intervals, over at most 200,000 records.
WITH commonest AS (
    SELECT language FROM marks WHERE language IS NOT NULL GROUP BY language ORDER BY count(*) DESC, language LIMIT 1
),
record AS (
    SELECT sample_id, n_response_tokens::DOUBLE AS n_response_tokens, n_baseline_tokens::DOUBLE AS n_baseline_tokens,
        (n_response_tokens - n_baseline_tokens)::DOUBLE AS length_difference, list_share::DOUBLE AS list_share,
        code_share::DOUBLE AS code_share, is_refusal::INT::DOUBLE AS is_refusal,
        baseline_is_refusal::INT::DOUBLE AS baseline_is_refusal, is_role_play::INT::DOUBLE AS is_role_play,
        response_nll::DOUBLE AS response_nll, (marks.language <> commonest.language)::INT::DOUBLE AS other_language
    FROM marks LEFT JOIN commonest ON true
),
long AS (
    UNPIVOT record ON COLUMNS(* EXCLUDE sample_id) INTO NAME mark VALUE measured
),
row AS (
    SELECT trait, mark, flagged, measured,
        rank() OVER own + (count(*) OVER same - 1) / 2 AS midrank
    FROM flags JOIN long USING (sample_id)
    WHERE flagged OR q_value IS NOT NULL
    WINDOW own AS (PARTITION BY trait, mark ORDER BY measured), same AS (PARTITION BY trait, mark, measured)
),
told AS (
    SELECT trait, mark, count(*) FILTER (flagged) AS n_flagged, count(*) FILTER (NOT flagged) AS n_others,
        avg(measured) FILTER (flagged) AS mean_flagged, avg(measured) FILTER (NOT flagged) AS mean_others,
        sum(midrank) FILTER (flagged) AS ranks, min(measured) < max(measured) AS varies
    FROM row
    GROUP BY trait, mark
)
SELECT trait, mark, n_flagged, n_others, round(mean_flagged, 6) AS mean_flagged, round(mean_others, 6) AS mean_others,
    round((ranks - n_flagged * (n_flagged + 1) / 2) / (n_flagged * n_others), 6) AS auc
FROM told
WHERE n_flagged > 0 AND n_others > 0 AND varies
ORDER BY trait, abs(auc - 0.5) DESC, mark
