"""The SQL behind an answer. The views `every` (all rows) and `rows` (the readings that are asked about: those of the
time, and of each host's last whole look before it), and the macros since_(), until_(), unseen_() and flaps_() are there
already."""

from __future__ import annotations

from deploys.core.control import Severity, State
from hullproof.history import rows, store
from hullproof.history.database import quoted

STATES = tuple(State)
BROKEN = (State.FAIL, State.PENDING_RESTART, State.PENDING_REBOOT)


def _listed(values: object) -> str:
    return ", ".join(map(quoted, values))  # type: ignore[call-overload]


# What the rows of hosts say. A whole look judged the host by all controls, to the end.
LOOKS = f"""
CREATE TABLE looks AS
  SELECT run, finished, host, status, reason AS error, filename, {", ".join(store.COUNTS)},
    status = 'ok' AND {store.DEMANDED} > 0 AS judged, judged AND NOT part AS whole
  FROM every WHERE level = 'host' AND finished <= until_();
CREATE TABLE earlier AS
  FROM looks WHERE finished < since_() AND whole
  QUALIFY row_number() OVER (PARTITION BY host ORDER BY finished DESC, run DESC) = 1;
"""
# Their counts: of everything, or of the controls that are asked about.
COUNTED = "CREATE VIEW counted AS FROM looks WHERE whole AND finished >= since_()"
COUNTED_ANEW = f"""
CREATE TABLE counts AS
  SELECT run, host, {
    ", ".join(
        f"count(*) FILTER (state IN ({_listed(state for state, own in rows.COUNTS.items() if own == column)})) "
        f"AS {column}"
        for column in store.COUNTS
    )
} FROM rows GROUP BY run, host;
CREATE VIEW counted AS
  SELECT looks.* EXCLUDE ({", ".join(store.COUNTS)}), counts.* EXCLUDE (run, host) FROM looks JOIN counts
  USING (run, host) WHERE whole AND finished >= since_();
"""

# A pair is of a host and a control. Of pairs that were in one state throughout, only those that did not hold are kept.
# `n` counts a pair's readings, so that two at the same time are in order.
CHANGES = f"""
CREATE TYPE state_t AS ENUM ({_listed(STATES)});
CREATE TYPE severity_t AS ENUM ({_listed(reversed(list(Severity)))});
CREATE TABLE pairs AS
  SELECT host::host_t AS host, control::control_t AS control, max(severity::severity_t) AS severity,
    bit_or(1::UTINYINT << enum_code(state::state_t)) AS states, min(finished) AS first, max(finished) AS last
  FROM rows GROUP BY ALL
  HAVING bit_count(states) > 1 OR states IN ({", ".join(str(1 << STATES.index(state)) for state in BROKEN)});
CREATE TABLE gone AS
  SELECT pairs.host, control FROM pairs
  JOIN (SELECT host, max(finished) AS looked FROM looks WHERE whole GROUP BY host) USING (host) WHERE looked > last;
CREATE TABLE changes AS
  SELECT * EXCLUDE (before) FROM (
    SELECT host, control, finished, run, state, reason, cause, row_number() OVER each AS n,
      lag(state) OVER each AS before
    FROM (SELECT * REPLACE (host::host_t AS host, control::control_t AS control) FROM rows)
    SEMI JOIN (FROM pairs WHERE bit_count(states) > 1) AS moving USING (host, control)
    WINDOW each AS (PARTITION BY host, control ORDER BY finished, run))
  WHERE before IS DISTINCT FROM state;
-- From when a pair was broken until when it held, or nothing was broken any more; unknown neither begins nor ends that.
CREATE TABLE episodes AS
  WITH steps AS (
    SELECT host, control, finished, n,
      CASE WHEN state IN ({_listed(BROKEN)}) THEN 'broken' WHEN state = 'pass' THEN 'held' ELSE 'other' END AS step
    FROM changes WHERE state <> 'unknown'),
  spans AS (
    SELECT * FROM (SELECT *, lag(step) OVER each AS before FROM steps
      WINDOW each AS (PARTITION BY host, control ORDER BY n))
    WHERE before IS DISTINCT FROM step),
  ends AS (
    SELECT *, lead(step) OVER each AS after, lead(finished) OVER each AS ended FROM spans
    WINDOW each AS (PARTITION BY host, control ORDER BY n)),
  found AS (
    SELECT host, control, finished AS began, before IS NOT NULL AS seen, after, ended FROM ends WHERE step = 'broken'
    UNION ALL SELECT host, control, first, false, NULL, NULL FROM pairs WHERE bit_count(states) = 1)
  SELECT found.*, severity, gone.host IS NOT NULL AND after IS NULL AS dropped,
    epoch(coalesce(ended, last)) - epoch(began) AS seconds
  FROM found JOIN pairs USING (host, control) LEFT JOIN gone USING (host, control);
"""

ABOUT = """
SELECT count(DISTINCT run) AS runs, count(DISTINCT host) AS hosts, min(finished) AS first, max(finished) AS last
FROM every WHERE finished BETWEEN since_() AND until_() AND level <> 'finding'
"""

# Of what is not judged any more only what did not hold is named: all that a release renames would be, else.
MOVED = """
WITH moves AS (
  SELECT host, control, arg_min(state, n) AS "from", arg_max(state, n) AS "to", max(finished) AS "when",
    arg_max(coalesce(reason, ''), n) AS reason, arg_max(coalesce(cause, ''), n) AS cause, count(*) - 1 AS changes
  FROM changes GROUP BY host, control),
gone_pairs AS (
  SELECT host, control, coalesce("to", enum_range(NULL::state_t)[log2(states)::INTEGER + 1]) AS "from", NULL AS "to",
    last AS "when", '' AS reason, '' AS cause, coalesce(changes, 0) AS changes
  FROM gone JOIN pairs USING (host, control) LEFT JOIN moves USING (host, control))
SELECT host, control, severity, "from", "to", "when", reason, cause, changes FROM (
  FROM moves ANTI JOIN gone USING (host, control) WHERE "from" <> "to"
  UNION ALL FROM gone_pairs WHERE "from" NOT IN ('pass', 'not-applicable', 'waived'))
JOIN pairs USING (host, control)
ORDER BY "to" IS NOT NULL AND "to" IN ('pass', 'not-applicable', 'waived'), "when" DESC, severity DESC, host, control
"""

FLAPPING = """
SELECT host, control, severity, count(*) - 1 AS changes, list(DISTINCT state ORDER BY state) AS states,
  arg_max(state, n) AS "now", max(finished) AS "when"
FROM changes JOIN pairs USING (host, control) GROUP BY ALL HAVING changes > flaps_()
ORDER BY changes DESC, severity DESC, host, control
"""

MENDING = """
SELECT control, severity,
  count(*) FILTER (mended) AS mended, avg(seconds) FILTER (mended) AS mean_seconds,
  CASE WHEN count(*) FILTER (mended) > 0
    THEN sum(seconds) FILTER (mended OR open AND seen) / count(*) FILTER (mended) END AS with_open_seconds,
  count(*) FILTER (open) AS open, max(seconds) FILTER (open) AS longest_open_seconds,
  count(*) FILTER (open AND NOT seen) AS open_from_the_first,
  count(*) FILTER (after = 'held' AND NOT seen) AS mended_from_the_first,
  count(*) FILTER (after = 'other' OR dropped) AS ended_otherwise
FROM (SELECT *, after = 'held' AND seen AS mended, after IS NULL AND NOT dropped AS open FROM episodes)
GROUP BY GROUPING SETS ((control, severity), (severity), ())
HAVING count(*) > 0
ORDER BY control IS NOT NULL, severity IS NOT NULL, severity DESC, open DESC, mended DESC, control
"""

NEVER_HELD = """
SELECT host, count(*) AS looks, min(finished) AS first, arg_max(failed, finished) AS failed,
  arg_max(pending, finished) AS pending, arg_max(unknown, finished) AS unknown
FROM counted GROUP BY host HAVING bool_and(failed + pending > 0) ORDER BY failed DESC, pending DESC, host
"""

COVERAGE = f"""
WITH days AS (
  SELECT finished::DATE::VARCHAR AS day, count(DISTINCT host) AS hosts
  FROM looks WHERE finished >= since_() GROUP BY ALL),
last AS (
  SELECT finished::DATE::VARCHAR AS day, * FROM counted
  QUALIFY row_number() OVER (PARTITION BY host, finished::DATE ORDER BY finished DESC, run DESC) = 1)
SELECT day, any_value(hosts) AS hosts, count(host) AS judged_hosts,
  {", ".join(f"coalesce(sum({column}), 0)::BIGINT AS {column}" for column in store.COUNTS)},
  coalesce(sum({store.DEMANDED}), 0)::BIGINT AS demanded,
  coalesce(sum({store.DEMANDED} - unknown), 0)::BIGINT AS judged
FROM days LEFT JOIN last USING (day) GROUP BY day ORDER BY day
"""

NOT_JUDGED = """
SELECT host, max(finished) FILTER (judged) AS last_judged, max(finished) AS last_tried,
  arg_max(status, (finished, run)) AS status, arg_max(error, (finished, run)) AS error
FROM looks GROUP BY host HAVING last_judged IS NULL OR last_judged < unseen_() ORDER BY last_judged NULLS FIRST, host
"""

ANSWERS = {
    "moved": MOVED,
    "flapping": FLAPPING,
    "mending": MENDING,
    "never_held": NEVER_HELD,
    "coverage": COVERAGE,
    "not_judged": NOT_JUDGED,
}
