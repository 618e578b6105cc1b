-- The directions of the differences that no trait explains, with words and records from both ends.
-- column direction_id: from 0, the most unusual first
-- column spread: mean square around the clean mean over the clean variance; null without moments of clean data
-- column skew: skewness of the records along it, 0 or above: large where a few stand apart
-- column high_keywords: words typical of the responses far along it
-- column low_keywords: words typical of the responses far against it
-- column high_ids: records furthest along it
-- column low_ids: records furthest against it
SELECT direction_id, spread, skew, high_keywords, low_keywords, high_ids, low_ids
FROM unnamed_directions
ORDER BY direction_id
