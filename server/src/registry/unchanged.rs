//! Check-ins that say nothing new, which nearly all are: those that come while the database is busy are answered together. What is
//! answered here would be answered in the same words, and leave the same behind, by [`super::checkin`], which has all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wire::checkin::{CheckinReply, NodeState};

use crate::limits::{PARTS_AWAITED_S, UNCHANGED_AT_ONCE};
use crate::registry::action;
use crate::registry::checkin::Checkin;
use crate::registry::configs::Wanted;
use crate::store::configs::{self, Stored};
use crate::store::nodes;
use crate::store::sql::{Away, Connection};
use crate::store::unchanged::{self, Heard, Standing};
use crate::store::writer::{Work, Writer};

/// A check-in with where its answer goes: the reply, the check-in itself when it is no such one, or why nothing could be stored.
type Asked = (Checkin, oneshot::Sender<anyhow::Result<Result<CheckinReply, Box<Checkin>>>>);

/// Check-ins that wait for the database.
#[derive(Clone, Default)]
pub struct Unchanged(Arc<Mutex<Vec<Asked>>>);

impl std::fmt::Debug for Unchanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unchanged").field("waiting", &locked(&self.0).len()).finish()
    }
}

impl Unchanged {
    /// Answers a check-in if it says nothing new; else gives it back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer(
        &self,
        writer: &Writer,
        checkin: Checkin,
    ) -> anyhow::Result<Result<CheckinReply, Box<Checkin>>> {
        if !says_nothing(&checkin) {
            return Ok(Err(Box::new(checkin)));
        }
        let usual_s = checkin.config.checkin_interval;
        let (sender, answer) = oneshot::channel();
        let is_first = {
            let mut waiting = locked(&self.0);
            waiting.push((checkin, sender));
            waiting.len() == 1
        };
        if is_first {
            // A task of its own: the client of the first one may go away.
            tokio::spawn(answer_all(Arc::clone(&self.0), writer.clone(), usual_s));
        }
        answer.await.map_err(|_| anyhow::anyhow!("the database writer has stopped; see the server's log"))?
    }
}

/// Answers all that wait when the writer comes to them.
async fn answer_all(waiting: Arc<Mutex<Vec<Asked>>>, writer: Writer, usual_s: u32) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let outcome = writer.write(Together { usual_s, waiting: Arc::clone(&waiting), taken: Arc::clone(&taken) }).await;
    let mut asked = std::mem::take(&mut *locked(&taken));
    if outcome.is_err() && asked.is_empty() {
        // The writer never came to them.
        asked.append(&mut locked(&waiting));
    }
    let mut replies = outcome.as_ref().map(|replies| replies.iter().cloned()).into_iter().flatten();
    for (checkin, sender) in asked {
        let answer = match (&outcome, replies.next().flatten()) {
            (Err(error), _) if Away::caused(error) => Err(anyhow::anyhow!("{error:#}").context(Away)),
            (Err(error), _) => Err(anyhow::anyhow!("{error:#}")),
            (Ok(_), Some(reply)) => Ok(Ok(reply)),
            (Ok(_), None) => Ok(Err(Box::new(checkin))),
        };
        // Who has gone away needs no answer.
        let _ = sender.send(answer);
    }
}

/// Takes what waits, and answers what of it says nothing new.
struct Together {
    /// Seconds between check-ins where nothing else is configured.
    usual_s: u32,
    waiting: Arc<Mutex<Vec<Asked>>>,
    taken: Arc<Mutex<Vec<Asked>>>,
}

impl Work for Together {
    type Output = Vec<Option<CheckinReply>>;

    async fn run(&self, db: &mut Connection) -> anyhow::Result<Self::Output> {
        let asks: Vec<Ask> = {
            let mut taken = locked(&self.taken);
            taken.append(&mut locked(&self.waiting));
            taken.iter().map(|(checkin, _)| Ask::of(checkin)).collect()
        };
        let wanted = Wanted { all: configs::get(&mut *db, None).await?, own: Stored::default() };
        // They come within a moment, and count as heard at its end.
        let now = asks.iter().map(|ask| ask.now).max().unwrap_or_default();
        let mut replies = Vec::with_capacity(asks.len());
        for some in asks.chunks(UNCHANGED_AT_ONCE) {
            let boot_ids: Vec<&str> = some.iter().map(|ask| ask.boot_id.as_str()).collect();
            let mut standing = unchanged::standing(&mut *db, &boot_ids).await?;
            let mut heard = Vec::with_capacity(some.len());
            for ask in some {
                // Of several requests of a boot the first counts here.
                let stands = standing.remove(&ask.boot_id).filter(|standing| ask.fits(standing, &wanted));
                let reply =
                    stands.as_ref().map(|standing| reply(standing.node, now, wanted.interval(self.usual_s), &wanted));
                if let (Some(standing), Some(reply)) = (stands, &reply) {
                    heard.push(ask.heard(standing, reply)?);
                }
                replies.push(reply);
            }
            unchanged::put(&mut *db, now, wanted.interval(self.usual_s).into(), &heard).await?;
        }
        Ok(replies)
    }
}

/// What of a check-in counts here.
struct Ask {
    boot_id: String,
    key: Option<Vec<u8>>,
    seq: i64,
    body: String,
    uptime_s: Option<i64>,
    digest: Option<String>,
    /// JSON, as it is stored.
    agent: Option<String>,
    config: Option<String>,
    said: Option<wire::checkin::ConfigState>,
    now: i64,
}

impl Ask {
    fn of(checkin: &Checkin) -> Self {
        let request = &checkin.request;
        // As a value its members are in order, and that is how they are stored. These always have a JSON form.
        let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default().to_string();
        Self {
            boot_id: request.boot_id.clone().unwrap_or_default(),
            key: checkin.key.clone(),
            seq: request.seq.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(0),
            body: checkin.body.clone(),
            uptime_s: request.uptime_s.and_then(|uptime| i64::try_from(uptime).ok()),
            digest: request.inventory_digest.clone(),
            agent: request.agent.as_ref().map(|agent| json(serde_json::to_value(agent))),
            config: request.config.as_ref().map(|config| json(serde_json::to_value(config))),
            said: request.config.clone(),
            now: checkin.now,
        }
    }

    /// Whether it is the next request of this boot, and nothing that it says is new.
    fn fits(&self, standing: &Standing, wanted: &Wanted) -> bool {
        self.key == standing.key
            && self.seq > standing.seq
            && self.digest.as_ref() == Some(&standing.digest)
            && (self.agent.is_none() || self.agent == standing.agent)
            && (self.config.is_none() || self.config == standing.config)
            && !(standing.awaited && self.uptime_s.unwrap_or(0) >= PARTS_AWAITED_S)
            && matches!(wanted.news(self.said.as_ref()), Ok(None))
    }

    fn heard(&self, standing: Standing, reply: &CheckinReply) -> anyhow::Result<Heard> {
        Ok(Heard {
            boot_id: standing.boot_id,
            node: standing.node,
            key: standing.key,
            seq: self.seq,
            body: self.body.clone(),
            reply: serde_json::to_string(reply)?,
            uptime_s: self.uptime_s,
            at: self.now,
        })
    }
}

/// There is nothing to be told.
fn reply(node: i64, now: i64, interval: u32, wanted: &Wanted) -> CheckinReply {
    CheckinReply {
        action: action::NONE.word.to_owned(),
        id: u64::try_from(node).ok(),
        name: Some(nodes::name(node)),
        state: Some(NodeState::Normal),
        reason: None,
        config: None,
        config_version: u64::try_from(wanted.version()).ok(),
        config_digest: None,
        send_inventory: Some(false),
        commands: Vec::new(),
        interval: Some(interval),
        mirror_index: BTreeMap::new(),
        clock_s: Some(now / 1000),
    }
}

/// Whether the message itself has nothing that is to be stored or answered.
fn says_nothing(checkin: &Checkin) -> bool {
    let request = &checkin.request;
    checkin.said.is_none()
        && checkin.key.is_some()
        && request.boot_id.is_some()
        && request.inventory_digest.is_some()
        && request.results.is_empty()
        && request.problems.is_empty()
        && request.card.is_none()
        && request.agent.as_ref().is_none_or(|agent| agent.mirror_index.is_empty())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

    use super::*;
    use crate::config::Config;
    use crate::newcomers::Newcomers;
    use crate::registry::said::Said;
    use crate::store::Store;

    /// The check-in `seq` of a boot, with `more` in it.
    fn checkin(seq: u64, now: i64, more: &Value) -> Checkin {
        let mut request = json!({
            "hw_id": "x", "boot_id": "b", "seq": seq, "uptime_s": seq, "inventory_digest": "d", "config": {"version": 0},
            "agent": {"version": "1", "variant": "production", "image": "i"},
        });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = serde_json::from_value(request).unwrap();
        let config = Arc::new(Config::parse("").unwrap());
        let said = Said::of(&request, &config).unwrap();
        let room = Newcomers::default().of([127, 0, 0, 1].into());
        Checkin { config, now, url_id: Some(1), request, body: format!("body {seq}"), key: Some(vec![7]), said, room }
    }

    async fn known() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).await.unwrap();
        let inventory =
            json!({"inventory": {"stable": {"nics": [{"key": "1", "mac": "00:11:22:33:44:55", "bus": "pci"}]}}});
        store.writer.write(checkin(1, 10_000, &inventory)).await.unwrap().unwrap();
        (folder, store)
    }

    async fn open(folder: &tempfile::TempDir) -> SqliteConnection {
        SqliteConnectOptions::new().filename(folder.path().join(crate::store::FILE)).connect().await.unwrap()
    }

    /// All rows of these tables.
    async fn rows(folder: &tempfile::TempDir) -> Vec<String> {
        let mut db = open(folder).await;
        let mut all = Vec::new();
        for table in ["nodes", "boots", "node_log", "events", "reports", "claims", "commands", "settled", "summaries"] {
            let select = sqlx::AssertSqlSafe(format!("SELECT * FROM {table} ORDER BY 1"));
            for row in sqlx::query(select).fetch_all(&mut db).await.unwrap() {
                let cells: Vec<String> = (0..row.len())
                    .map(|i| {
                        let text = row.try_get_unchecked::<Option<String>, _>(i).ok().flatten();
                        text.or_else(|| {
                            row.try_get_unchecked::<Option<i64>, _>(i).ok().flatten().map(|n| n.to_string())
                        })
                        .unwrap_or_default()
                    })
                    .collect();
                all.push(format!("{table}: {}", cells.join("|")));
            }
        }
        all
    }

    #[tokio::test]
    async fn it_is_answered_and_stored_as_any_other_check_in() {
        let ((one, long), (other, short)) = (known().await, known().await);
        for (seq, now) in [(2, 20_000), (5, 90_000)] {
            let reply = long.writer.write(checkin(seq, now, &json!({}))).await.unwrap().unwrap();
            let answer = Unchanged::default().answer(&short.writer, checkin(seq, now, &json!({}))).await.unwrap();
            assert_eq!(answer.unwrap(), reply);
            let (long, short) = (rows(&one).await, rows(&other).await);
            assert!(long.len() > 6 && long.iter().any(|row| row.contains(&format!("body {seq}"))), "{long:#?}");
            assert_eq!(short, long);
        }
    }

    #[tokio::test]
    async fn whatever_is_new_is_left_to_the_rest() {
        let before = "UPDATE nodes SET state = 'normal'";
        let problem = json!({"problems": [{"code": "c", "error": "e", "remedy": "r"}]});
        let refused =
            json!({"version": 0, "refused": {"version": 3, "problem": {"code": "c", "error": "e", "remedy": "r"}}});
        for (seq, more, change) in [
            (1, json!({}), before),
            (2, json!({"inventory_digest": "other"}), before),
            (2, json!({"facts": {"a": "1"}}), before),
            (2, problem, before),
            (2, json!({"results": [{"id": 1, "outcome": "done"}]}), before),
            (2, json!({"card": {}}), before),
            (2, json!({"config": {"version": 4}}), before),
            (2, json!({"config": refused}), before),
            (2, json!({"agent": {"version": "2", "variant": "production", "image": "i"}}), before),
            (2, json!({"boot_id": "another"}), before),
            (2, json!({}), "UPDATE boots SET key = x'08'"),
            (2, json!({}), "UPDATE nodes SET boot_id = 'another'"),
            (2, json!({}), "UPDATE nodes SET state = 'held'"),
            (2, json!({}), "UPDATE nodes SET accepted = NULL"),
            (2, json!({"uptime_s": PARTS_AWAITED_S}), "UPDATE settled SET awaited = 1"),
            (2, json!({}), "DELETE FROM settled"),
            (2, json!({}), "UPDATE nodes SET installed = 'debian'"),
            (2, json!({}), "INSERT INTO provisional VALUES (1, 7, '{}')"),
            (2, json!({}), "INSERT INTO commands (node, kind, at, expires) VALUES (1, 'doctor', 7, 7)"),
            (2, json!({}), "INSERT INTO configs (node, at, body) VALUES (1, 7, '{}')"),
            (2, json!({}), "INSERT INTO configs (node, at, body) VALUES (NULL, 7, '{\"mk_checkin_interval\": 30}')"),
        ] {
            let (folder, store) = known().await;
            sqlx::query(change).execute(&mut open(&folder).await).await.unwrap();
            let before = rows(&folder).await;
            let answer = Unchanged::default().answer(&store.writer, checkin(seq, 20_000, &more)).await.unwrap();
            assert!(answer.is_err(), "{seq} {more} {change}");
            assert_eq!(rows(&folder).await, before, "{seq} {more} {change}");
        }
    }

    #[tokio::test]
    async fn many_at_once_are_each_answered_and_of_one_number_one() {
        let (_folder, store) = known().await;
        let unchanged = Unchanged::default();
        let answers = (2..200).map(|seq| {
            let (unchanged, writer) = (unchanged.clone(), store.writer.clone());
            // Pairs of the same number.
            async move { unchanged.answer(&writer, checkin(seq / 2, 20_000, &json!({}))).await.unwrap().is_ok() }
        });
        let mut tasks: tokio::task::JoinSet<bool> = answers.collect();
        let mut answered = 0;
        while let Some(ok) = tasks.join_next().await {
            answered += usize::from(ok.unwrap());
        }
        assert!((1..=98).contains(&answered), "{answered}");
        assert!(locked(&unchanged.0).is_empty());
    }
}
