-- How far length, form and refusal go with the score, per trait (Pearson correlation over turns).
-- column trait: trait
-- column n_turns: turns with a score
-- column n_response_tokens (correlation): tokens of the response
-- column n_baseline_tokens (correlation): tokens of the baseline
-- column list_share (correlation): share of list lines
-- column code_share (correlation): share of characters in code fences
-- column is_refusal (correlation): the response opens like a refusal
-- A correlation of fewer than three turns, or of something that does not vary, is NULL.
WITH turn AS (
    SELECT trait, score::DOUBLE AS score, n_response_tokens, n_baseline_tokens, list_share, code_share,
        is_refusal::INT AS is_refusal
    FROM turn_scores JOIN turns USING (sample_id, side, turn, part)
    WHERE score IS NOT NULL
)
-- COLUMNS repeats the expression for each column that the pattern finds; '\0' is that column's name. Extremes tell
-- for sure what does not vary: a correlation of a constant may be any number, by rounding. The last digits depend on
-- the order in which threads add up, so they are cut.
SELECT trait, count(*) AS n_turns,
    CASE
        WHEN regr_count(score, COLUMNS('_(tokens|share|refusal)$')) >= 3
            AND min(score) FILTER (COLUMNS('_(tokens|share|refusal)$') IS NOT NULL)
                < max(score) FILTER (COLUMNS('_(tokens|share|refusal)$') IS NOT NULL)
            AND min(COLUMNS('_(tokens|share|refusal)$')) < max(COLUMNS('_(tokens|share|refusal)$'))
            AND isfinite(corr(score, COLUMNS('_(tokens|share|refusal)$')))
        THEN round(corr(score, COLUMNS('_(tokens|share|refusal)$')), 6)
    END AS '\0'
FROM turn
GROUP BY trait
ORDER BY trait
