//! One text of a query for either database: values are bound as `$1`, `$2` and so on, rows are read by [`sqlx::FromRow`].
//!
//! What SQLite has and PostgreSQL lacks, such as `json_each` and `->>` over text, is made there by the first migration. A text must
//! not rest on what only one of them does: every column that is read has the same type on both (integers are 64-bit; a flag that
//! is stored as 0 or 1 is read as `flag = 1`).

mod away;
mod connection;
mod value;

use std::borrow::Cow;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

pub use away::Away;
pub(super) use connection::Held;
pub use connection::{Connection, Pool, Transaction};
pub use value::Bind;
use value::Value;

/// A row that is read from either database.
pub trait Row: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Where a query runs: on one connection, or on any of a pool.
#[derive(Debug)]
pub enum On<'a> {
    /// This one.
    Connection(&'a mut Connection),
    /// Any of these.
    Pool(&'a Pool),
}

impl<'a> From<&'a mut Connection> for On<'a> {
    fn from(connection: &'a mut Connection) -> Self {
        Self::Connection(connection)
    }
}

impl<'a> From<&'a Pool> for On<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

/// A text with its values.
#[derive(Debug)]
pub struct Query {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

/// A query of which no rows are read, or one that is put together with [`Query::push`].
#[must_use]
pub fn query(sql: &'static str) -> Query {
    Query { sql: Cow::Borrowed(sql), values: Vec::new() }
}

/// A query for rows.
#[must_use]
pub fn query_as<R: Row>(sql: &'static str) -> Select<R, R> {
    query(sql).rows()
}

/// A query for the first column of rows.
#[must_use]
pub fn query_scalar<T>(sql: &'static str) -> Select<(T,), T>
where
    (T,): Row,
{
    query(sql).scalars()
}

/// Runs statements without values, with semicolons between them.
#[cfg(test)]
pub(crate) async fn raw(sql: &str, connection: &mut Connection) -> sqlx::Result<()> {
    connection.raw(sql).await
}

impl Query {
    /// Binds the next value.
    #[must_use]
    pub fn bind(mut self, value: impl Bind) -> Self {
        self.values.push(value.value());
        self
    }

    /// Goes on with this text, which comes from nobody outside.
    pub fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.to_mut().push_str(sql);
        self
    }

    /// Goes on with a value.
    pub fn push_bind(&mut self, value: impl Bind) -> &mut Self {
        self.values.push(value.value());
        let place = format!("${}", self.values.len());
        self.push(&place)
    }

    /// Rows are read of it.
    #[must_use]
    pub fn rows<R: Row>(self) -> Select<R, R> {
        Select { query: self, of_row: |row| row }
    }

    /// The first column of rows is read of it.
    #[must_use]
    pub fn scalars<T>(self) -> Select<(T,), T>
    where
        (T,): Row,
    {
        Select { query: self, of_row: |row| row.0 }
    }

    /// Runs it; gives the number of rows that it changed.
    ///
    /// # Errors
    /// When the database refuses it or is away.
    pub async fn execute<'a>(self, on: impl Into<On<'a>> + Send) -> sqlx::Result<u64> {
        match on.into() {
            On::Connection(connection) => self.run(connection).await,
            On::Pool(pool) => self.run(&mut pool.acquire().await?).await,
        }
    }

    async fn run(self, connection: &mut Connection) -> sqlx::Result<u64> {
        Ok(match connection.held() {
            Held::Sqlite(db) => {
                let done =
                    sqlx::query_with(AssertSqlSafe(self.sql), value::sqlite(self.values)?).execute(&mut **db).await?;
                done.rows_affected()
            }
            Held::Postgres(db) => {
                let done =
                    sqlx::query_with(AssertSqlSafe(self.sql), value::postgres(self.values)?).execute(&mut **db).await?;
                done.rows_affected()
            }
        })
    }
}

/// A query of which rows are read.
#[derive(Debug)]
pub struct Select<R, T> {
    query: Query,
    of_row: fn(R) -> T,
}

impl<R: Row, T: Send> Select<R, T> {
    /// Binds the next value.
    #[must_use]
    pub fn bind(mut self, value: impl Bind) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// All rows.
    ///
    /// # Errors
    /// When the database refuses it or is away, or a row is another one than expected.
    pub async fn fetch_all<'a>(self, on: impl Into<On<'a>> + Send) -> sqlx::Result<Vec<T>> {
        let of_row = self.of_row;
        let rows = match on.into() {
            On::Connection(connection) => self.all(connection).await?,
            On::Pool(pool) => self.all(&mut pool.acquire().await?).await?,
        };
        Ok(rows.into_iter().map(of_row).collect())
    }

    /// The first row, if there is any.
    ///
    /// # Errors
    /// As [`Select::fetch_all`].
    pub async fn fetch_optional<'a>(self, on: impl Into<On<'a>> + Send) -> sqlx::Result<Option<T>> {
        let of_row = self.of_row;
        let row = match on.into() {
            On::Connection(connection) => self.first(connection).await?,
            On::Pool(pool) => self.first(&mut pool.acquire().await?).await?,
        };
        Ok(row.map(of_row))
    }

    /// The first row.
    ///
    /// # Errors
    /// As [`Select::fetch_all`], and when there is none.
    pub async fn fetch_one<'a>(self, on: impl Into<On<'a>> + Send) -> sqlx::Result<T> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }

    async fn all(self, connection: &mut Connection) -> sqlx::Result<Vec<R>> {
        let Query { sql, values } = self.query;
        match connection.held() {
            Held::Sqlite(db) => {
                sqlx::query_as_with(AssertSqlSafe(sql), value::sqlite(values)?).fetch_all(&mut **db).await
            }
            Held::Postgres(db) => {
                sqlx::query_as_with(AssertSqlSafe(sql), value::postgres(values)?).fetch_all(&mut **db).await
            }
        }
    }

    async fn first(self, connection: &mut Connection) -> sqlx::Result<Option<R>> {
        let Query { sql, values } = self.query;
        match connection.held() {
            Held::Sqlite(db) => {
                sqlx::query_as_with(AssertSqlSafe(sql), value::sqlite(values)?).fetch_optional(&mut **db).await
            }
            Held::Postgres(db) => {
                sqlx::query_as_with(AssertSqlSafe(sql), value::postgres(values)?).fetch_optional(&mut **db).await
            }
        }
    }
}
