//! The server's time: it runs evenly from the start on, and follows the system's clock where that is put forward or back.
//!
//! Silences and the time that commands wait are measured by it. A clock that jumps would end every command at once, or have
//! machines that reboot taken for copies. So all that is measured is moved along first, in one transaction, and only then does the time
//! here jump too. What is written down for people, in logs and reports, stays as it was.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sqlx::SqliteConnection;

use crate::limits::CLOCK_STEP_MS;
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

/// Follows the system's clock; one that was put forward or back is told in the log.
///
/// # Errors
/// When what is measured by it cannot be moved along; the time stays as it is then, until the next look.
pub async fn follow(store: &Store) -> anyhow::Result<()> {
    let by_ms = system_ms() - now_ms();
    if by_ms.abs() >= CLOCK_STEP_MS {
        let (way, seconds) = (if by_ms > 0 { "forward" } else { "back" }, by_ms.abs() / 1000);
        let msg = format!("the server's clock was put {way} by {seconds} s; what waits, waits as long as before");
        store.writer.write(Move { now: now_ms() + by_ms, by_ms, msg: msg.clone() }).await?;
        tracing::warn!("{msg}");
    }
    OFFSET.fetch_add(by_ms, Ordering::Relaxed);
    Ok(())
}

/// Moves along all that is measured.
struct Move {
    now: i64,
    by_ms: i64,
    msg: String,
}

impl Work for Move {
    type Output = ();

    async fn run(&self, db: &mut SqliteConnection) -> anyhow::Result<()> {
        for update in [
            "UPDATE commands SET at = at + ?1, expires = expires + ?1, sent = sent + ?1",
            "UPDATE nodes SET last_checkin = last_checkin + ?1 WHERE last_checkin IS NOT NULL",
            "UPDATE boots SET first_seen = first_seen + ?1, last_seen = last_seen + ?1",
            "UPDATE legacy_speakers SET last_seen = last_seen + ?1",
            "UPDATE provisional SET at = at + ?1",
        ] {
            sqlx::query(update).bind(self.by_ms).execute(&mut *db).await?;
        }
        history::event(db, self.now, "clock", None, &json!({"msg": self.msg})).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_the_systems_to_begin_with_and_never_stands_still() {
        let first = now_ms();
        assert!((first - system_ms()).abs() < CLOCK_STEP_MS);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(now_ms() > first);
    }
}
