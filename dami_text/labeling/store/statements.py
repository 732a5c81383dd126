"""The longer SQL statements of the store."""

#: The text that comes next for an annotator; see `Store.next`.
NEXT = """
    SELECT q.* FROM queue AS q
    LEFT JOIN lease AS mine ON mine.row = q.row AND mine.annotator = :annotator AND mine.until > :now
    WHERE (
        mine.row IS NOT NULL
        OR q.annotator = :annotator
        OR (q.annotator IS NULL AND q.round = (SELECT COUNT(*) FROM round))
        OR (q.wanted > 1 AND EXISTS (SELECT 1 FROM decision AS d WHERE d.row = q.row AND d.label IS NOT NULL))
    )
    AND NOT EXISTS (SELECT 1 FROM decision AS d WHERE d.row = q.row AND d.annotator = :annotator)
    AND (NOT :only_begun OR EXISTS (SELECT 1 FROM decision AS d WHERE d.row = q.row AND d.label IS NOT NULL))
    AND (SELECT COUNT(*) FROM opinion AS o WHERE o.row = q.row AND o.label IS NOT NULL) < q.wanted
    AND NOT EXISTS (
        SELECT 1 FROM lease AS l WHERE l.row = q.row AND l.annotator != :annotator AND l.until > :now
    )
    ORDER BY mine.row IS NULL, q.annotator IS NOT :annotator, q.round, q.rank LIMIT 1
"""

#: What an annotator did last and has not undone.
LAST_ACT = """
    SELECT number FROM event AS e WHERE annotator = ? AND action != 'undo' AND NOT imported
    AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = e.number)
    ORDER BY number DESC LIMIT 1
"""
