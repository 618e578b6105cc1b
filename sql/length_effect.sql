-- How far length, form, refusal, role-play and language go with the score, per trait (Pearson correlation over turns).
-- column trait: trait
-- column n_turns: turns with a score
-- column n_response_tokens (correlation): tokens of the response
-- column n_baseline_tokens (correlation): tokens of the baseline
-- column list_share (correlation): share of list lines
-- column code_share (correlation): share of characters in code fences
-- column is_refusal (correlation): the response opens like a refusal
-- column baseline_list_share (correlation): share of list lines of the baseline
-- column baseline_code_share (correlation): share of characters in code fences of the baseline
-- column baseline_is_refusal (correlation): the baseline opens like a refusal
-- column is_role_play (correlation): the prompt asks for a role, or the response plays one
-- column other_language (correlation): the response is not in the commonest language of the run
-- A correlation of fewer than three turns, or of something that does not vary, is NULL.
WITH commonest AS (
    SELECT language FROM turns
    WHERE part = 'answer' AND side IN ('response', 'chosen') AND language IS NOT NULL
    GROUP BY language ORDER BY count(*) DESC, language LIMIT 1
),
turn AS (
    SELECT trait, score::DOUBLE AS score, n_response_tokens, n_baseline_tokens, list_share, code_share,
        is_refusal::INT AS is_refusal, baseline_list_share, baseline_code_share,
        baseline_is_refusal::INT AS baseline_is_refusal, is_role_play::INT AS is_role_play,
        (turns.language <> commonest.language)::INT AS other_language
    FROM turn_scores JOIN turns USING (sample_id, side, turn, part) LEFT JOIN commonest ON true
    WHERE score IS NOT NULL
)
-- COLUMNS repeats the expression for each column that the pattern finds; '\0' is that column's name. (In a FILTER it
-- would stand for all of them at once.) Extremes tell for sure what does not vary: a correlation of a constant may be any number, by rounding. The last digits depend on
-- the order in which threads add up, so they are cut.
SELECT trait, count(*) AS n_turns,
    CASE
        WHEN regr_count(score, COLUMNS('_(tokens|share|refusal|play|language)$')) >= 3
            AND min(CASE WHEN COLUMNS('_(tokens|share|refusal|play|language)$') IS NOT NULL THEN score END)
                < max(CASE WHEN COLUMNS('_(tokens|share|refusal|play|language)$') IS NOT NULL THEN score END)
            AND min(COLUMNS('_(tokens|share|refusal|play|language)$'))
                < max(COLUMNS('_(tokens|share|refusal|play|language)$'))
            AND isfinite(corr(score, COLUMNS('_(tokens|share|refusal|play|language)$')))
        THEN round(corr(score, COLUMNS('_(tokens|share|refusal|play|language)$')), 6)
    END AS '\0'
FROM turn
GROUP BY trait
ORDER BY trait
