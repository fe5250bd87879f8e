//! What a BMC has answered so far in one round of questions. Each question goes out once: where an answer does not come in
//! time, the next collection goes on from there. Pure, but for who talks to the BMC.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::message::{self, Request};

/// Sends a request and gives the answer with its completion code.
pub(super) type Talk<'a> = dyn FnMut(&Request) -> anyhow::Result<Vec<u8>> + 'a;

/// Answers of one round.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    /// Data by request; none where the BMC refused.
    known: BTreeMap<Request, Option<Vec<u8>>>,
    /// Channels that did not answer; most of them do not exist. They are asked no more in this round.
    pub(super) silent: BTreeSet<u8>,
}

impl Answers {
    /// Data of the answer to a request, which is sent if it was not answered yet; `None` where the BMC refuses, or where the
    /// request's channel is silent.
    ///
    /// # Errors
    /// The BMC as a whole does not answer now.
    pub(super) fn get(&mut self, talk: &mut Talk, request: &Request) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(known) = self.known.get(request) {
            return Ok(known.clone());
        }
        if request.channel().is_some_and(|channel| self.silent.contains(&channel)) {
            return Ok(None);
        }
        let answer = talk(request)?;
        if let Some(channel) = request.channel().filter(|_| message::is_silence(&answer)) {
            self.silent.insert(channel);
            return Ok(None);
        }
        let data = message::data(&answer).with_context(|| format!("no answer to {}", request.name()))?;
        let data = data.map(<[u8]>::to_vec);
        self.known.insert(request.clone(), data.clone());
        Ok(data)
    }
}
