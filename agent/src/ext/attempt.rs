//! How often a candidate was tried. Its scripts run as root and its files take memory, so that it may end the loader
//! itself, again and again; nobody would hear of it then.

use wire::error::Problem;

use crate::checkin::Candidate;
use crate::limits::CANDIDATE_STARTS;
use crate::state::{Attempt, Extensions};

/// Counts another start for this candidate.
///
/// # Errors
/// It was begun often enough and never came to an end.
pub(super) fn begin(state: &mut Extensions, candidate: &Candidate) -> Result<(), Problem> {
    let former = state.attempt.take().filter(|attempt| attempt.number == candidate.number).unwrap_or_default();
    if former.starts >= CANDIDATE_STARTS {
        return Err(ended_us(candidate.version, &former));
    }
    state.attempt = Some(Attempt { number: candidate.number, starts: former.starts + 1, loading: None });
    Ok(())
}

fn ended_us(version: u64, attempt: &Attempt) -> Problem {
    let during = match &attempt.loading {
        Some(name) => format!("{name} was being loaded"),
        None => "its extensions were being fetched".to_owned(),
    };
    let text = format!(
        "the unit `ext` began configuration {version} {} times and never came to its end, last while {during}; it is not tried again",
        attempt.starts
    );
    let remedy = "Look into the extension's script and its size (`mk-agent logs ext`), mend it or take it out of the mirror's \
                  list; then give `mk-server config set` again.";
    Problem::new("extensions", text, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_that_never_ends_is_refused_by_name() {
        let candidate = |number| Candidate { version: 7, number, ..Candidate::default() };
        let mut state = Extensions::default();
        for _ in 0..CANDIDATE_STARTS {
            begin(&mut state, &candidate(1)).unwrap();
        }
        let why = begin(&mut state.clone(), &candidate(1)).unwrap_err();
        assert!(why.error.contains("began configuration 7 2 times"), "{why}");
        assert!(why.error.contains("being fetched"), "{why}");
        state.attempt.as_mut().unwrap().loading = Some("a.tcz".to_owned());
        assert!(begin(&mut state.clone(), &candidate(1)).unwrap_err().error.contains("while a.tcz was being loaded"));
        begin(&mut state, &candidate(2)).unwrap();
        assert_eq!(state.attempt.unwrap().starts, 1, "another one begins anew");
    }
}
