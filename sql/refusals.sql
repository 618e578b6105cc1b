-- Turns and their scores by whether the response and the baseline refuse.
-- column is_refusal: the response opens like a refusal
-- column baseline_is_refusal: the baseline opens like a refusal; null without one
-- column trait: trait
-- column n_turns: turns with a score
-- column mean_score (residual-stream units): their mean score
-- column max_score (residual-stream units): their largest score
SELECT is_refusal, baseline_is_refusal, trait, count(score) AS n_turns, avg(score) AS mean_score,
    max(score) AS max_score
FROM turn_scores JOIN turns USING (sample_id, side, turn, part)
GROUP BY is_refusal, baseline_is_refusal, trait
ORDER BY is_refusal, baseline_is_refusal, trait
