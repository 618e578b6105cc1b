-- Scores by the place of the turn in its conversation, per trait.
-- column turn: index of the message, from 0
-- column trait: trait
-- column n_turns: turns with a score
-- column mean_score (residual-stream units): their mean score
-- column max_score (residual-stream units): their largest score
SELECT turn, trait, count(score) AS n_turns, avg(score) AS mean_score, max(score) AS max_score
FROM turn_scores
GROUP BY turn, trait
HAVING count(score) > 0
ORDER BY turn, trait
