//! The test in the place of the supervisor: answers at its socket, and keeps what it is asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::sandbox::Place;

/// A supervisor that does nothing.
pub(crate) struct Supervisor {
    asked: Arc<Mutex<Vec<Value>>>,
    /// Answers to requests that are not accepted, by the request.
    answers: Arc<Mutex<Vec<(Value, Value)>>>,
}

impl Supervisor {
    pub(crate) fn of(place: &Place) -> Self {
        let listener = UnixListener::bind(place.path("run/razor-mk/init.sock")).unwrap();
        let (asked, answers) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::<Mutex<Vec<(Value, Value)>>>::default());
        let (log, known) = (Arc::clone(&asked), Arc::clone(&answers));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut line = String::new();
                if BufReader::new(&stream).read_line(&mut line).is_ok() {
                    let request: Value = serde_json::from_str(&line).unwrap();
                    let answer =
                        known.lock().unwrap().iter().rev().find(|(to, _)| *to == request).map(|(_, a)| a.clone());
                    log.lock().unwrap().push(request);
                    let _ = stream.write_all(format!("{}\n", answer.unwrap_or(json!("accepted"))).as_bytes());
                }
            }
        });
        Self { asked, answers }
    }

    /// Answers this request so from now on.
    pub(crate) fn answer(&self, request: &Value, answer: &Value) {
        self.answers.lock().unwrap().push((request.clone(), answer.clone()));
    }

    /// How often it was asked this.
    pub(crate) fn count(&self, request: &Value) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == request).count()
    }

    /// How often it was asked for something of this kind, whatever it says besides.
    pub(crate) fn count_of(&self, kind: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.get(kind).is_some()).count()
    }
}
