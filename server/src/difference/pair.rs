//! Finds what belongs together in two reports: first what is known by the same number wherever it is, then what is in the same place.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde_json::Value;

use super::{Change, Component, Fields, Part, View, What, sentence};

/// What became of the parts.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// In both.
    pub(super) both: Vec<(Part, Part)>,
    /// In the first alone.
    pub(super) gone: Vec<Part>,
    /// In the second alone.
    pub(super) new: Vec<Part>,
}

/// What differs, by component and key.
pub(super) fn compare(old: Vec<Part>, new: Vec<Part>, view: View<'_>) -> Vec<Change> {
    let (old, new) = match view {
        View::Time => (old, new),
        View::Machines(..) => (of_any_machine(old), of_any_machine(new)),
    };
    changes(&pairs(old, new), view)
}

/// Without what no two machines have in common.
fn of_any_machine(parts: Vec<Part>) -> Vec<Part> {
    parts.into_iter().filter(|part| part.component != Component::Link).map(Part::without_own).collect()
}

/// Pairs the parts of two reports.
pub(super) fn pairs(mut old: Vec<Part>, mut new: Vec<Part>) -> Pairs {
    let mut pairs = Pairs::default();
    // The one that is known best comes first: a WWN before a serial number.
    for rank in 0..MOST_IDS {
        by_id(&mut pairs, &mut old, &mut new, rank);
    }
    let mut places: HashMap<(Component, String), VecDeque<Part>> = HashMap::new();
    for part in new {
        places.entry((part.component, part.place.clone())).or_default().push_back(part);
    }
    for part in old {
        match places.get_mut(&(part.component, part.place.clone())).and_then(VecDeque::pop_front) {
            Some(other) => pairs.both.push((part, other)),
            None => pairs.gone.push(part),
        }
    }
    pairs.new = places.into_values().flatten().collect();
    pairs
}

/// Most numbers that a part is known by.
const MOST_IDS: usize = 3;

/// Pairs what has the same value, where only one on each side has it.
fn by_id(pairs: &mut Pairs, old: &mut Vec<Part>, new: &mut Vec<Part>, rank: usize) {
    let name = |part: &Part| {
        let name = part.component.ids().get(rank)?;
        part.ids.iter().find(|(id, _)| id == name).map(|id| (part.component, id.clone()))
    };
    let (mine, theirs) = (holders(old, name), holders(new, name));
    let common: BTreeMap<usize, usize> =
        mine.into_iter().filter_map(|(id, at)| Some((at?, (*theirs.get(&id)?)?))).collect();
    let taken: HashSet<usize> = common.values().copied().collect();
    let mut others: HashMap<usize, Part> = HashMap::new();
    let mut left = Vec::new();
    for (at, part) in std::mem::take(new).into_iter().enumerate() {
        if taken.contains(&at) { drop(others.insert(at, part)) } else { left.push(part) }
    }
    *new = left;
    for (at, part) in std::mem::take(old).into_iter().enumerate() {
        match common.get(&at).and_then(|at| others.remove(at)) {
            Some(other) => pairs.both.push((part, other)),
            None => old.push(part),
        }
    }
}

type Id = (Component, (String, String));

/// Where the one part is that has a value; nothing where several have it.
fn holders(parts: &[Part], name: impl Fn(&Part) -> Option<Id>) -> HashMap<Id, Option<usize>> {
    let mut holders = HashMap::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some(id) = name(part) {
            holders.entry(id).and_modify(|holder| *holder = None).or_insert(Some(at));
        }
    }
    holders
}

/// The changes, by component, key and value.
pub(super) fn changes(pairs: &Pairs, view: View<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (old, new) in &pairs.both {
        both(&mut changes, old, new, view);
    }
    changes.extend(pairs.gone.iter().map(|part| whole(What::Gone, Some(part), None, view)));
    changes.extend(pairs.new.iter().map(|part| whole(What::New, None, Some(part), view)));
    changes.sort_by(|a, b| {
        (a.component, &a.key, &a.former_key, &a.field).cmp(&(b.component, &b.key, &b.former_key, &b.field))
    });
    changes
}

/// A change of a component as a whole.
fn whole(what: What, old: Option<&Part>, new: Option<&Part>, view: View<'_>) -> Change {
    let object = |part: Option<&Part>| part.map_or(Value::Null, |part| object(&part.fields));
    let text = sentence::whole(what, old, new, view);
    let (before, after) = (object(old), object(new));
    let key = new.or(old).map(|part| part.key.clone()).unwrap_or_default();
    let component = new.or(old).map_or(Component::Other, |part| part.component);
    Change { component, former_key: former_key(old, &key), key, what, field: None, before, after, text }
}

fn former_key(old: Option<&Part>, key: &str) -> Option<String> {
    old.map(|old| &old.key).filter(|former| *former != key).cloned()
}

fn object(fields: &Fields) -> Value {
    Value::Object(fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What differs between two parts that belong together.
fn both(changes: &mut Vec<Change>, old: &Part, new: &Part, view: View<'_>) {
    if old.is_another(new) {
        changes.push(whole(What::Replaced, Some(old), Some(new), view));
        return;
    }
    let mut change = |what, field: &str, before: Value, after: Value, text| {
        let former_key = former_key(Some(old), &new.key);
        let (component, key, field) = (new.component, new.key.clone(), Some(field.to_owned()));
        changes.push(Change { component, key, former_key, what, field, before, after, text });
    };
    let place = new.component.place();
    let has_place = |part: &Part| part.fields.contains_key(place);
    let has_moved = old.place != new.place && has_place(old) && has_place(new);
    if has_moved {
        let (from, to) = (old.place.as_str(), new.place.as_str());
        change(What::Moved, place, from.into(), to.into(), sentence::moved(new, from, to));
    }
    let mut names: Vec<&String> = old.fields.keys().chain(new.fields.keys()).collect();
    names.sort();
    names.dedup();
    for name in names.into_iter().filter(|name| *name != "key" && !(has_moved && *name == place)) {
        let (before, after) = (old.fields.get(name), new.fields.get(name));
        if before != after {
            let text = sentence::changed(new, name, before, after, view);
            let value = |value: Option<&Value>| value.cloned().unwrap_or_default();
            change(What::Changed, name, value(before), value(after), text);
        }
    }
}
