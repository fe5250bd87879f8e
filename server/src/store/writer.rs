//! The one task that changes the database.
//!
//! Input: [`Work`] over a bounded channel. All work that waits is done in one transaction. Where a piece fails, all of it is done
//! once more, each piece in a savepoint of its own, so that one that fails undoes only itself. Nobody is answered before the commit
//! is on the disk; when that fails, everybody in the group is told so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::limits::{COMMIT_GROUP, WRITER_QUEUE};

/// A change that happens as a whole or not at all.
pub trait Work: Send + Sync + 'static {
    /// What it gives once it is durable.
    type Output: Send + 'static;

    /// Makes the change within the transaction of `connection`; once more after that was undone, where another one's failed.
    fn run(&self, connection: &mut SqliteConnection) -> impl Future<Output = anyhow::Result<Self::Output>> + Send;
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Work`] with its answer's address, whatever its output is.
trait Job: Send {
    fn run<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> Boxed<'a, anyhow::Result<()>>;
    fn answer(self: Box<Self>, outcome: Result<(), Arc<anyhow::Error>>);
}

struct Pending<W: Work> {
    work: W,
    output: Option<W::Output>,
    reply: oneshot::Sender<anyhow::Result<W::Output>>,
}

impl<W: Work> Job for Pending<W> {
    fn run<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> Boxed<'a, anyhow::Result<()>> {
        Box::pin(async move {
            self.output = Some(self.work.run(connection).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<(), Arc<anyhow::Error>>) {
        let answer = match (outcome, self.output) {
            (Ok(()), Some(output)) => Ok(output),
            (Ok(()), None) => Err(anyhow!("the change was not carried out")),
            (Err(error), _) => Err(anyhow!("{error:#}")),
        };
        // A client that has gone away needs no answer.
        let _ = self.reply.send(answer);
    }
}

/// Handle of the writing task. The task ends when the last handle is dropped.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("queued", &(self.jobs.max_capacity() - self.jobs.capacity())).finish()
    }
}

impl Writer {
    /// Starts the task on this connection, which was made by these options. It is done once the last handle is dropped and the
    /// database is closed.
    #[must_use]
    pub fn spawn(connection: SqliteConnection, options: SqliteConnectOptions) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
        (Self { jobs }, tokio::spawn(run(connection, options, queue)))
    }

    /// Carries out `work`; returns once it is on the disk.
    ///
    /// # Errors
    /// When the work fails by itself, or the group that it was part of could not be committed.
    pub async fn write<W: Work>(&self, work: W) -> anyhow::Result<W::Output> {
        let (reply, answer) = oneshot::channel();
        let gone = || anyhow!("the database writer has stopped; see the server's log");
        let job = Pending { work, output: None, reply };
        self.jobs.send(Box::new(job)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn run(mut connection: SqliteConnection, options: SqliteConnectOptions, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::with_capacity(COMMIT_GROUP);
    while queue.recv_many(&mut group, COMMIT_GROUP).await > 0 {
        let (outcome, failures) = match commit(&mut connection, &mut group).await {
            Ok(failures) => (Ok(()), failures),
            Err(error) => {
                tracing::error!(changes = group.len(), "nothing of this group was stored: {error:#}");
                renew(&mut connection, &options).await;
                (Err(Arc::new(error)), Vec::new())
            }
        };
        for (index, job) in group.drain(..).enumerate() {
            let own = failures.iter().find(|(failed, _)| *failed == index).map(|(_, error)| Arc::clone(error));
            job.answer(own.map_or_else(|| outcome.clone(), Err));
        }
    }
    if let Err(error) = connection.close().await {
        tracing::error!("closing the database: {error:#}");
    }
}

/// Puts a new connection in the place of one whose transaction failed. A full disk has SQLite end the transaction by itself, and
/// the connection would go on taking it for open.
async fn renew(connection: &mut SqliteConnection, options: &SqliteConnectOptions) {
    match options.connect().await {
        Ok(fresh) => {
            if let Err(error) = std::mem::replace(connection, fresh).close().await {
                tracing::warn!("closing a connection that failed: {error:#}");
            }
        }
        // The next group fails too, and tries again.
        Err(error) => tracing::error!("the database cannot be opened again: {error:#}"),
    }
}

/// Runs the group in one transaction; returns the jobs that failed by themselves.
async fn commit(
    connection: &mut SqliteConnection,
    group: &mut [Box<dyn Job>],
) -> anyhow::Result<Vec<(usize, Arc<anyhow::Error>)>> {
    if together(connection, group).await? {
        return Ok(Vec::new());
    }
    let mut failures = Vec::new();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.context(DISK)?;
    for (index, job) in group.iter_mut().enumerate() {
        let mut savepoint = transaction.begin().await.context(DISK)?;
        match job.run(&mut savepoint).await {
            Ok(()) => savepoint.commit().await.context(DISK)?,
            Err(error) => {
                savepoint.rollback().await.context(DISK)?;
                failures.push((index, Arc::new(error)));
            }
        }
    }
    transaction.commit().await.context(DISK)?;
    Ok(failures)
}

/// The same without savepoints, which cost two statements each; false when a job failed, and nothing is changed.
async fn together(connection: &mut SqliteConnection, group: &mut [Box<dyn Job>]) -> anyhow::Result<bool> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.context(DISK)?;
    for job in group.iter_mut() {
        if let Err(error) = job.run(&mut transaction).await {
            // Where the disk is full, SQLite has ended the transaction already.
            return transaction.rollback().await.map(|()| false).map_err(|_| error.context(DISK));
        }
    }
    transaction.commit().await.context(DISK)?;
    Ok(true)
}

/// What most likely stands behind a failed commit, and what to do.
const DISK: &str = "the database cannot be written; check that the data folder's disk has room and is not read-only";
