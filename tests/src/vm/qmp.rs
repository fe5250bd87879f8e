//! QEMU's monitor protocol: one JSON message per line over a socket, an answer per command, events in between.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::limits;

/// A monitor connection in command mode.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

/// One message from QEMU.
#[derive(Debug, PartialEq)]
enum Message {
    Greeting,
    Event,
    Return(Value),
    Error(String),
}

impl Qmp {
    /// Takes a connected socket, reads the greeting and leaves the negotiation mode.
    ///
    /// # Errors
    /// When QEMU does not speak in time, or something else does.
    pub fn new(socket: UnixStream) -> anyhow::Result<Self> {
        socket.set_read_timeout(Some(limits::QEMU_START)).context("cannot set a time-out on QEMU's monitor")?;
        let writer = socket.try_clone().context("cannot use QEMU's monitor socket")?;
        let mut qmp = Self { reader: BufReader::new(socket), writer };
        match qmp.message().context("QEMU's monitor did not greet")? {
            Message::Greeting => {}
            other => bail!("QEMU's monitor began with {other:?} in place of its greeting"),
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        qmp.reader.get_ref().set_read_timeout(Some(limits::QMP_ANSWER))?;
        Ok(qmp)
    }

    /// Executes a command and gives its answer.
    ///
    /// # Errors
    /// QEMU's own error, or that the monitor is gone or silent; with the command's name.
    pub fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        self.exchange(command, arguments).with_context(|| format!("QEMU monitor command {command} failed"))
    }

    fn exchange(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        let mut line = serde_json::to_vec(&json!({"execute": command, "arguments": arguments}))?;
        line.push(b'\n');
        self.writer.write_all(&line)?;
        loop {
            match self.message()? {
                Message::Return(value) => return Ok(value),
                Message::Error(text) => bail!("QEMU says: {text}"),
                Message::Greeting | Message::Event => {}
            }
        }
    }

    fn message(&mut self) -> anyhow::Result<Message> {
        let mut line = Vec::new();
        self.reader.by_ref().take(limits::QMP_MESSAGE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            bail!("QEMU has ended");
        }
        parse(&line)
    }
}

/// Reads one line of the protocol.
fn parse(line: &[u8]) -> anyhow::Result<Message> {
    let bad = || format!("not a message of QEMU's monitor: {:?}", String::from_utf8_lossy(line));
    let Value::Object(mut fields) = serde_json::from_slice(line).with_context(bad)? else { bail!(bad()) };
    if let Some(value) = fields.remove("return") {
        return Ok(Message::Return(value));
    }
    if let Some(error) = fields.get("error") {
        let text = error.get("desc").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
        return Ok(Message::Error(text));
    }
    if fields.contains_key("event") {
        return Ok(Message::Event);
    }
    if fields.contains_key("QMP") {
        return Ok(Message::Greeting);
    }
    bail!(bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        assert_eq!(parse(br#"{"QMP": {"version": {}, "capabilities": []}}"#).unwrap(), Message::Greeting);
        assert_eq!(parse(br#"{"event": "RESET", "data": {}}"#).unwrap(), Message::Event);
        assert_eq!(parse(br#"{"return": {"a": 1}}"#).unwrap(), Message::Return(json!({"a": 1})));
        let error = br#"{"error": {"class": "GenericError", "desc": "no such device"}}"#;
        assert_eq!(parse(error).unwrap(), Message::Error("no such device".into()));
    }

    #[test]
    fn rubbish_is_named() {
        for rubbish in [&b"hello"[..], b"[]", b"{}", b"{\"x\": 1}", b"\xff\xfe"] {
            let error = format!("{:#}", parse(rubbish).unwrap_err());
            assert!(error.contains("not a message"), "{error}");
        }
    }

    #[test]
    fn a_closed_monitor_is_an_error_and_no_hang() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let error = format!("{:#}", Qmp::new(ours).unwrap_err());
        assert!(error.contains("QEMU has ended"), "{error}");
    }
}
