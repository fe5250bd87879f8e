//! Connections to either database, pools of them, and transactions.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, Postgres, SqlSafeStr as _, Sqlite, SqlitePool};

/// All servers on one PostgreSQL database write in turn, as those that hold this lock of it: decisions are made one after the other,
/// as by the one writer of SQLite.
/// What each statement sees is what was committed when it began, so that all of it after the first is seen as the turn began.
const TURN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(7235428)";

/// Connections.
#[derive(Debug, Clone)]
pub enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
    Postgres(PgPool),
}

impl Pool {
    /// A connection of its own, until that is dropped.
    ///
    /// # Errors
    /// When the database cannot be reached, or all connections are in use for too long.
    pub async fn acquire(&self) -> sqlx::Result<Connection> {
        let held = match self {
            Self::Sqlite(pool) => Held::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Held::Postgres(pool.acquire().await?),
        };
        Ok(Connection { held, depth: 0, unfinished: false })
    }

    /// What most likely stands behind a change that cannot be made, and what to do.
    #[must_use]
    pub fn trouble(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => {
                "the database cannot be written; check that the data folder's disk has room and is not read-only"
            }
            Self::Postgres(_) => {
                "the database cannot be written; check that PostgreSQL runs, can be reached and has room on its disk"
            }
        }
    }

    /// Closes all of them.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The connection of either kind.
#[derive(Debug)]
pub(in crate::store) enum Held {
    /// To a file.
    Sqlite(PoolConnection<Sqlite>),
    /// To a server.
    Postgres(PoolConnection<Postgres>),
}

/// A connection. One that is dropped within a transaction is closed.
#[derive(Debug)]
pub struct Connection {
    held: Held,
    /// Transactions within each other.
    depth: usize,
    /// A transaction was left without an end.
    unfinished: bool,
}

impl Connection {
    pub(in crate::store) fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// Begins a transaction that changes something: there is one at a time.
    ///
    /// # Errors
    /// When the database is away, or another one takes too long.
    pub async fn write(&mut self) -> sqlx::Result<Transaction<'_>> {
        match self.held {
            Held::Sqlite(_) => self.begin("BEGIN IMMEDIATE").await,
            Held::Postgres(_) => self.begin(TURN).await,
        }
    }

    /// Begins a transaction that reads, and sees all of it as it is at one moment.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn snapshot(&mut self) -> sqlx::Result<Transaction<'_>> {
        match self.held {
            Held::Sqlite(_) => self.begin("BEGIN").await,
            Held::Postgres(_) => self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    /// Begins a part of a transaction that is taken back by itself.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn savepoint(&mut self) -> sqlx::Result<Transaction<'_>> {
        let save = format!("SAVEPOINT s{}", self.depth);
        self.begin(&save).await
    }

    async fn begin(&mut self, how: &str) -> sqlx::Result<Transaction<'_>> {
        // Who waits for this may go away in the middle of it.
        let was = std::mem::replace(&mut self.unfinished, true);
        self.raw(how).await?;
        self.unfinished = was;
        self.depth += 1;
        Ok(Transaction { is_savepoint: how.starts_with("SAVEPOINT"), is_open: true, connection: self })
    }

    /// Ends it for good, whatever it is in the middle of.
    pub fn discard(mut self) {
        self.unfinished = true;
    }

    pub(super) async fn raw(&mut self, sql: &str) -> sqlx::Result<()> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()).into_sql_str());
        match &mut self.held {
            Held::Sqlite(held) => held.execute(sql).await.map(|_| ()),
            Held::Postgres(held) => held.execute(sql).await.map(|_| ()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.unfinished {
            match &mut self.held {
                Held::Sqlite(held) => held.close_on_drop(),
                Held::Postgres(held) => held.close_on_drop(),
            }
        }
    }
}

/// A transaction, or a part of one. One that is dropped is taken back with what is around it, or with the connection.
#[derive(Debug)]
pub struct Transaction<'a> {
    connection: &'a mut Connection,
    is_savepoint: bool,
    is_open: bool,
}

impl Transaction<'_> {
    /// Keeps what it did.
    ///
    /// # Errors
    /// When the database refuses it or is away.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        if self.connection.unfinished {
            return Err(sqlx::Error::Protocol("a part of the transaction was left without an end".to_owned()));
        }
        let whole = match self.connection.held {
            Held::Sqlite(_) => "COMMIT",
            // A bare COMMIT after a failed statement takes all back, and says nothing of it.
            Held::Postgres(_) => "SELECT 1; COMMIT",
        };
        let end = self.end("RELEASE SAVEPOINT", whole);
        self.connection.raw(&end).await?;
        self.is_open = false;
        Ok(())
    }

    /// Takes back what it did.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        let end = self.end("ROLLBACK TO SAVEPOINT", "ROLLBACK");
        let end = if self.is_savepoint { format!("{end}; RELEASE SAVEPOINT s{}", self.place()) } else { end };
        self.connection.raw(&end).await?;
        self.connection.unfinished = false;
        self.is_open = false;
        Ok(())
    }

    fn end(&self, savepoint: &str, whole: &str) -> String {
        if self.is_savepoint { format!("{savepoint} s{}", self.place()) } else { whole.to_owned() }
    }

    /// How many are around it.
    fn place(&self) -> usize {
        self.connection.depth - 1
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.connection.depth -= 1;
        if self.is_open {
            self.connection.unfinished = true;
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
    }
}
