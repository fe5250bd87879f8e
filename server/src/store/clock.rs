//! The server's time: it runs evenly from the start on, and follows the system's clock where that is put forward or back.
//!
//! Silences and the time that commands wait are measured by it. A clock that jumps would end every command at once, or have
//! machines that reboot taken for copies. So all that is measured is moved along first, in one transaction, and only then does the time
//! here jump too. What is written down for people, in logs and reports, stays as it was. So does what is not by this clock: what
//! an earlier run wrote, before the start or, where this one starts with a clock that lags behind, in its future.
//!
//! Servers that share a PostgreSQL database go by its clock, so that they agree. Where that jumps, nothing is moved along: which of
//! them should do it, and what the others wrote meanwhile, none of them knows.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::limits::{CLOCK_ANSWER_MS, CLOCK_STEP_MS};
use crate::store::sql::{self, Connection, Pool};
use crate::store::writer::Work;
use crate::store::{Store, history};

/// When this process first asked for the time.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// What was then by the clock that counts, in milliseconds since 1970; nothing yet below zero.
static OFFSET: AtomicI64 = AtomicI64::new(i64::MIN);

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let steady = steady_ms();
    let unset = |offset: i64| offset == i64::MIN;
    match OFFSET.load(Ordering::Relaxed) {
        offset if unset(offset) => {
            let first = system_ms() - steady;
            // Another thread may have been first.
            let offset = OFFSET.compare_exchange(i64::MIN, first, Ordering::Relaxed, Ordering::Relaxed);
            offset.map_or_else(|there| there, |_| first) + steady
        }
        offset => offset + steady,
    }
}

/// What the system's clock says.
fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the start, whatever the clock does.
fn steady_ms() -> i64 {
    i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// By how much the clock that counts is ahead of the time here.
///
/// # Errors
/// When PostgreSQL cannot be asked.
async fn ahead_ms(db: &Pool) -> anyhow::Result<i64> {
    if let Pool::Sqlite(_) = db {
        return Ok(system_ms() - now_ms());
    }
    let mut connection = db.acquire().await?;
    let asked = now_ms();
    let select = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
    let told: i64 = sql::query_scalar(select).fetch_one(&mut connection).await?;
    let took = now_ms() - asked;
    Ok(if took > CLOCK_ANSWER_MS { 0 } else { told - asked - took / 2 })
}

/// From now on the time is that of this database.
///
/// # Errors
/// When it cannot be asked.
pub(super) async fn begin(db: &Pool) -> anyhow::Result<()> {
    OFFSET.fetch_add(ahead_ms(db).await?, Ordering::Relaxed);
    Ok(())
}

/// Follows the clock that counts; one that was put forward or back is told in the log.
///
/// # Errors
/// When what is measured by it cannot be moved along; the time stays as it is then, until the next look.
pub async fn follow(store: &Store) -> anyhow::Result<()> {
    let by_ms = ahead_ms(&store.readers).await?;
    if let (Pool::Postgres(_), CLOCK_STEP_MS..) = (&store.readers, by_ms.abs()) {
        tracing::warn!("PostgreSQL's clock jumped by {by_ms} ms; what waits ends that much earlier or later");
    } else if by_ms.abs() >= CLOCK_STEP_MS {
        let (way, seconds) = (if by_ms > 0 { "forward" } else { "back" }, by_ms.abs() / 1000);
        let msg = format!("the server's clock was put {way} by {seconds} s; what waits, waits as long as before");
        store.writer.write(Move { now: now_ms() + by_ms, by_ms, msg: msg.clone() }).await?;
        tracing::warn!("{msg}");
    }
    OFFSET.fetch_add(by_ms, Ordering::Relaxed);
    Ok(())
}

/// Moves along all that is measured and was written by this process's clock.
struct Move {
    now: i64,
    by_ms: i64,
    msg: String,
}

impl Work for Move {
    type Output = ();

    async fn run(&self, db: &mut Connection) -> anyhow::Result<()> {
        // Only now, after all that was written by the clock before.
        let (now, start) = (now_ms(), OFFSET.load(Ordering::Relaxed));
        for update in [
            "UPDATE commands SET sent = sent + $1 WHERE sent BETWEEN $2 AND $3",
            "UPDATE commands SET at = at + $1, expires = expires + $1 WHERE at BETWEEN $2 AND $3",
            "UPDATE nodes SET last_checkin = last_checkin + $1 WHERE last_checkin BETWEEN $2 AND $3",
            "UPDATE boots SET first_seen = first_seen + $1 WHERE first_seen BETWEEN $2 AND $3",
            "UPDATE boots SET last_seen = last_seen + $1 WHERE last_seen BETWEEN $2 AND $3",
            "UPDATE legacy_speakers SET last_seen = last_seen + $1 WHERE last_seen BETWEEN $2 AND $3",
            "UPDATE provisional SET at = at + $1 WHERE at BETWEEN $2 AND $3",
        ] {
            sql::query(update).bind(self.by_ms).bind(start).bind(now).execute(&mut *db).await?;
        }
        history::event(db, self.now, "clock", None, &json!({"msg": self.msg})).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory;

    #[tokio::test]
    async fn what_an_earlier_run_wrote_stays_where_it_was() {
        let mut db = in_memory().await;
        let (hour, now) = (60 * 60 * 1000, now_ms());
        // This run's; one of a run with a clock that was ahead of this one; one of a run before the start.
        let written = [now, now + hour, now - hour];
        for (id, at) in (1_i64..).zip(written) {
            for insert in [
                "INSERT INTO nodes (id, first_seen, hw_info, decision, last_checkin) VALUES ($1, $2, '[]', '{}', $2)",
                "INSERT INTO commands (node, kind, at, expires, sent) VALUES ($1, 'doctor', $2, $2, $2)",
                "INSERT INTO boots (boot_id, node, seq, body, reply, first_seen, last_seen) VALUES ($1, $1, 1, '', '', $2, $2)",
                "INSERT INTO legacy_speakers (node, hw_id, last_seen) VALUES ($1, 'x', $2)",
                "INSERT INTO provisional (node, at, before) VALUES ($1, $2, '{}')",
            ] {
                sql::query(insert).bind(id).bind(at).execute(&mut db).await.unwrap();
            }
        }
        Move { now, by_ms: 3 * hour, msg: String::new() }.run(&mut db).await.unwrap();
        for select in [
            "SELECT last_checkin FROM nodes ORDER BY id",
            "SELECT at FROM commands ORDER BY node",
            "SELECT expires FROM commands ORDER BY node",
            "SELECT sent FROM commands ORDER BY node",
            "SELECT first_seen FROM boots ORDER BY node",
            "SELECT last_seen FROM boots ORDER BY node",
            "SELECT last_seen FROM legacy_speakers ORDER BY node",
            "SELECT at FROM provisional ORDER BY node",
        ] {
            let moved: Vec<i64> = sql::query_scalar(select).fetch_all(&mut db).await.unwrap();
            assert_eq!(moved, [now + 3 * hour, now + hour, now - hour], "{select}");
        }
    }

    #[test]
    fn the_time_is_the_systems_to_begin_with_and_never_stands_still() {
        let first = now_ms();
        assert!((first - system_ms()).abs() < CLOCK_STEP_MS);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(now_ms() > first);
    }
}
