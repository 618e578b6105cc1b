-- How far length, form and refusal go with the score, per trait (Pearson correlation over turns).
-- column trait: trait
-- column n_turns: turns with a score
-- column n_response_tokens (correlation): tokens of the response
-- column n_baseline_tokens (correlation): tokens of the baseline
-- column list_share (correlation): share of list lines
-- column code_share (correlation): share of characters in code fences
-- column is_refusal (correlation): the response opens like a refusal
-- A correlation of something that does not vary is NULL.
WITH turn AS (
    SELECT trait, score, n_response_tokens, n_baseline_tokens, list_share, code_share, is_refusal::INT AS is_refusal
    FROM turn_scores JOIN turns USING (sample_id, side, turn, part)
    WHERE score IS NOT NULL
),
measured AS (
    SELECT trait, count(*) AS n_turns,
        corr(score, n_response_tokens) AS n_response_tokens,
        corr(score, n_baseline_tokens) AS n_baseline_tokens,
        corr(score, list_share) AS list_share,
        corr(score, code_share) AS code_share,
        corr(score, is_refusal) AS is_refusal
    FROM turn
    GROUP BY trait
)
SELECT * REPLACE (
    if(isfinite(n_response_tokens), n_response_tokens, NULL) AS n_response_tokens,
    if(isfinite(n_baseline_tokens), n_baseline_tokens, NULL) AS n_baseline_tokens,
    if(isfinite(list_share), list_share, NULL) AS list_share,
    if(isfinite(code_share), code_share, NULL) AS code_share,
    if(isfinite(is_refusal), is_refusal, NULL) AS is_refusal
)
FROM measured
ORDER BY trait
