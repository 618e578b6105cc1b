-- Scores by language of the response, and how far length goes with them within a language, per trait.
-- column language: ISO 639-1; null where the response is too short to tell
-- column trait: trait
-- column n_turns: turns with a score
-- column mean_score (residual-stream units): their mean score
-- column n_response_tokens (correlation): tokens of the response
-- column n_baseline_tokens (correlation): tokens of the baseline
-- A correlation of fewer than three turns, or of something that does not vary, is NULL.
WITH turn AS (
    SELECT language, trait, score::DOUBLE AS score, n_response_tokens, n_baseline_tokens
    FROM turn_scores JOIN turns USING (sample_id, side, turn, part)
    WHERE score IS NOT NULL
)
-- COLUMNS as in length_effect.
SELECT language, trait, count(*) AS n_turns, round(avg(score), 6) AS mean_score,
    CASE
        WHEN regr_count(score, COLUMNS('_tokens$')) >= 3
            AND min(CASE WHEN COLUMNS('_tokens$') IS NOT NULL THEN score END)
                < max(CASE WHEN COLUMNS('_tokens$') IS NOT NULL THEN score END)
            AND min(COLUMNS('_tokens$')) < max(COLUMNS('_tokens$'))
            AND isfinite(corr(score, COLUMNS('_tokens$')))
        THEN round(corr(score, COLUMNS('_tokens$')), 6)
    END AS '\0'
FROM turn
GROUP BY language, trait
ORDER BY count(*) DESC, language NULLS LAST, trait
