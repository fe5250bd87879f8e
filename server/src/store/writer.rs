//! The one task that changes the database.
//!
//! Input: [`Work`] over a bounded channel. All work that waits is done in one transaction. Where a piece fails, all of it is done
//! once more, each piece in a savepoint of its own, so that one that fails undoes only itself. Nobody is answered before the commit
//! is on the disk; when that fails, everybody in the group is told so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::anyhow;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::{COMMIT_GROUP, OTHERS_PAUSE, WRITER_QUEUE};
use crate::metrics::Histogram;
use crate::store::sql::{Away, Connection, Pool};

/// Bounds of the sizes of commits that are counted.
const COMMIT_GROUPS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A change that happens as a whole or not at all.
pub trait Work: Send + Sync + 'static {
    /// What it gives once it is durable.
    type Output: Send + 'static;

    /// Makes the change within the transaction of `connection`; once more after that was undone, where another one's failed.
    fn run(&self, connection: &mut Connection) -> impl Future<Output = anyhow::Result<Self::Output>> + Send;
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Work`] with its answer's address, whatever its output is.
trait Job: Send {
    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> Boxed<'a, anyhow::Result<()>>;
    fn answer(self: Box<Self>, outcome: Result<(), Arc<anyhow::Error>>);
}

struct Pending<W: Work> {
    work: W,
    output: Option<W::Output>,
    reply: oneshot::Sender<anyhow::Result<W::Output>>,
}

impl<W: Work> Job for Pending<W> {
    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> Boxed<'a, anyhow::Result<()>> {
        Box::pin(async move {
            self.output = Some(self.work.run(connection).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<(), Arc<anyhow::Error>>) {
        let answer = match (outcome, self.output) {
            (Ok(()), Some(output)) => Ok(output),
            (Ok(()), None) => Err(anyhow!("the change was not carried out")),
            (Err(error), _) if Away::caused(&error) => Err(anyhow!("{error:#}").context(Away)),
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
    groups: Arc<Histogram>,
    commits: watch::Receiver<u64>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("queued", &self.queued()).finish()
    }
}

impl Writer {
    /// Starts the task on this pool of one connection. It is done once the last handle is dropped and the database is closed.
    #[must_use]
    pub fn spawn(pool: Pool) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
        let groups = Arc::new(Histogram::new(&COMMIT_GROUPS));
        let (committed, commits) = watch::channel(0);
        (Self { jobs, groups: Arc::clone(&groups), commits }, tokio::spawn(run(pool, queue, groups, committed)))
    }

    /// Tells when something was written: the number of commits so far. It ends with the writer.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Changes that wait to be carried out.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    /// Changes in each commit until now.
    #[must_use]
    pub fn groups(&self) -> &Histogram {
        &self.groups
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

async fn run(
    pool: Pool,
    mut queue: mpsc::Receiver<Box<dyn Job>>,
    groups: Arc<Histogram>,
    committed: watch::Sender<u64>,
) {
    let mut group = Vec::with_capacity(COMMIT_GROUP);
    let mut connection = None;
    loop {
        match timeout(OTHERS_PAUSE, queue.recv_many(&mut group, COMMIT_GROUP)).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => {
                // What other servers have written meanwhile is nobody's commit here.
                if matches!(pool, Pool::Postgres(_)) {
                    committed.send_modify(|commits| *commits += 1);
                }
                continue;
            }
        }
        let (outcome, failures) = match commit(&pool, &mut connection, &mut group).await {
            Ok(failures) => {
                committed.send_modify(|commits| *commits += 1);
                (Ok(()), failures)
            }
            Err(error) => {
                let error = error.context(pool.trouble());
                tracing::error!(changes = group.len(), "nothing of this group was stored: {error:#}");
                (Err(Arc::new(error)), Vec::new())
            }
        };
        groups.add(group.len() as u64);
        for (index, job) in group.drain(..).enumerate() {
            let own = failures.iter().find(|(failed, _)| *failed == index).map(|(_, error)| Arc::clone(error));
            job.answer(own.map_or_else(|| outcome.clone(), Err));
        }
    }
    drop(connection);
    pool.close().await;
}

/// Runs the group in one transaction; returns the jobs that failed by themselves. A connection whose transaction failed is not kept:
/// a full disk has SQLite end the transaction by itself, and the connection would go on taking it for open.
async fn commit(
    pool: &Pool,
    kept: &mut Option<Connection>,
    group: &mut [Box<dyn Job>],
) -> anyhow::Result<Vec<(usize, Arc<anyhow::Error>)>> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => pool.acquire().await?,
    };
    match commit_on(&mut connection, group).await {
        Ok(failures) => {
            *kept = Some(connection);
            Ok(failures)
        }
        Err(error) => {
            connection.discard();
            Err(error)
        }
    }
}

async fn commit_on(
    connection: &mut Connection,
    group: &mut [Box<dyn Job>],
) -> anyhow::Result<Vec<(usize, Arc<anyhow::Error>)>> {
    if together(connection, group).await? {
        return Ok(Vec::new());
    }
    let mut failures = Vec::new();
    let mut transaction = connection.write().await?;
    for (index, job) in group.iter_mut().enumerate() {
        let mut savepoint = transaction.savepoint().await?;
        match job.run(&mut savepoint).await {
            Ok(()) => savepoint.commit().await?,
            Err(error) => {
                savepoint.rollback().await?;
                failures.push((index, Arc::new(error)));
            }
        }
    }
    transaction.commit().await?;
    Ok(failures)
}

/// The same without savepoints, which cost two statements each; false when a job failed, and nothing is changed.
async fn together(connection: &mut Connection, group: &mut [Box<dyn Job>]) -> anyhow::Result<bool> {
    let mut transaction = connection.write().await?;
    for job in group.iter_mut() {
        if let Err(error) = job.run(&mut transaction).await {
            // Where its disk is full, SQLite has ended the transaction already; where PostgreSQL is away, there is none.
            return transaction.rollback().await.map(|()| false).map_err(|_| error);
        }
    }
    transaction.commit().await?;
    Ok(true)
}
