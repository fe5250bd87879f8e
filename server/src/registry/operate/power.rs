//! Commands that a node carries out itself: they wait until it checks in.

use sqlx::SqliteConnection;

use crate::human;
use crate::registry::Refusal;
use crate::registry::configs::Wanted;
use crate::registry::operate::{Done, Operate, named};
use crate::registry::queue::{self, Power};
use crate::store::view::timestamp;
use crate::store::{commands, nodes};

impl Operate {
    pub(super) async fn switch(
        &self,
        db: &mut SqliteConnection,
        name: &str,
        power: Power,
    ) -> anyhow::Result<Result<Done, Refusal>> {
        let node = match named(&mut *db, name).await? {
            Ok(node) => node,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let name = nodes::name(node.id);
        if node.is_held() {
            let error = format!("{name} is held: it is not certain which machine it is, so it is told nothing");
            let remedy = "`mk-server conflicts` says why, and how that ends.";
            return Ok(Err(Refusal::new(409, "held", error, remedy)));
        }
        if power == Power::Off && node.is_registered() && node.boot_id.is_none() {
            let error = format!("{name} runs an original client, which can only be told to reboot");
            return Ok(Err(Refusal::new(422, "not_supported", error, "Switch it off by its BMC or its button.")));
        }
        queue::replace(&mut *db, self.now, node.id).await?;
        let interval_s = Wanted::of(&mut *db, node.id).await?.interval(self.config.checkin_interval);
        let expires = self.now + queue::valid_ms(interval_s);
        let id = commands::add(db, node.id, power.word(), self.now, expires).await?;
        let until = human::stamp(&timestamp(expires));
        let last = node.last_checkin.map_or_else(
            || "it has not checked in yet".to_owned(),
            |at| format!("it last checked in {} ago", human::duration((self.now - at).max(0) / 1000)),
        );
        let verb = power.verb();
        Ok(Ok(Done::new(
            node.id,
            format!("{name} is told {verb} at its next check-in until {until} (command {id}); {last}"),
        )))
    }
}
