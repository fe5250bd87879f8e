//! What became of an expected machine, in words. Pure.

use crate::limits::MAX_RIVALS;
use crate::rack::Rack;
use crate::rack::matching::{Matched, Standing};
use crate::store::nodes::name;

/// A sentence without its end about a row; nothing where all is as expected.
#[must_use]
pub fn sentence(rack: &Rack, matched: &Matched, row: usize) -> String {
    let Some(found) = matched.found.get(row) else { return String::new() };
    let at = found.at.join(", ");
    let there = match found.others.as_slice() {
        [] => String::new(),
        others => format!("; {} is plugged in where it is expected", nodes(others)),
    };
    match found.standing {
        Standing::Present => String::new(),
        Standing::Missing => format!("nothing of it was seen{there}"),
        Standing::Moved => format!("it is at {at}, where nothing is expected{there}"),
        Standing::Swapped => {
            let mutual = |other: &usize| matched.found.get(*other).is_some_and(|f| f.rows.contains(&row));
            match found.rows.iter().find(|other| mutual(other)) {
                Some(other) => format!("it and {} have each other's place: it is at {at}", called(rack, &[*other])),
                None => format!("it is at {at}, the place of {}{there}", called(rack, &found.rows)),
            }
        }
        Standing::Ambiguous if found.rows.is_empty() => format!("{} may each be it", nodes(&found.others)),
        Standing::Ambiguous => format!("{} may be {} as well", nodes(&found.others), called(rack, &found.rows)),
    }
}

fn nodes(ids: &[i64]) -> String {
    list(&ids.iter().map(|id| name(*id)).collect::<Vec<_>>())
}

fn called(rack: &Rack, rows: &[usize]) -> String {
    list(&rows.iter().filter_map(|row| rack.rows.get(*row)).map(|row| row.name.clone()).collect::<Vec<_>>())
}

/// The first few.
fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(MAX_RIVALS);
    let shown = names.get(..MAX_RIVALS).unwrap_or(names).join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
