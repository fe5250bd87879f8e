//! What a request asks for of a file by its conditions and its range (RFC 9110, sections 13 and 14), given the file's
//! tag, time and length. Pure. Of what a server may choose: several ranges are answered with the whole file, and so is
//! a range for which `If-Range` names a time, since two files of one second have the same.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, Method, header};

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The whole file.
    Whole,
    /// Its bytes from the first to the last of these, counted from 0.
    Part(u64, u64),
    /// That the client has it already (304).
    Known,
    /// That it is not the file that the client means (412).
    Another,
    /// That it has no such bytes (416).
    Beyond,
}

/// The file that there is.
#[derive(Debug)]
pub(super) struct Version<'a> {
    /// Its entity tag, in quotes and never weak.
    pub(super) tag: &'a str,
    /// When it was changed.
    pub(super) modified: Option<SystemTime>,
    /// Bytes.
    pub(super) length: u64,
}

impl Version<'_> {
    /// What a GET or HEAD request with these headers is answered with.
    pub(super) fn answer(&self, method: &Method, headers: &HeaderMap) -> Answer {
        let is_meant = match tags(headers, header::IF_MATCH) {
            Some(tags) => tags.iter().any(|tag| *tag == "*" || *tag == self.tag),
            None => !self.is_newer_than(headers, header::IF_UNMODIFIED_SINCE).unwrap_or(false),
        };
        if !is_meant {
            return Answer::Another;
        }
        let is_known = match tags(headers, header::IF_NONE_MATCH) {
            Some(tags) => tags.iter().any(|tag| *tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag),
            None => !self.is_newer_than(headers, header::IF_MODIFIED_SINCE).unwrap_or(true),
        };
        if is_known {
            return Answer::Known;
        }
        let is_continued = tags(headers, header::IF_RANGE).is_none_or(|tags| tags == [self.tag]);
        let mut ranges = headers.get_all(header::RANGE).iter();
        match (ranges.next().and_then(|value| value.to_str().ok()), ranges.next()) {
            (Some(range), None) if is_continued && method == Method::GET => self.part(range),
            _ => Answer::Whole,
        }
    }

    /// Whether it was changed after the second that a header names; `None` where that is unknown.
    fn is_newer_than(&self, headers: &HeaderMap, name: HeaderName) -> Option<bool> {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
        let named = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
        Some(seconds(self.modified?)? > seconds(named)?)
    }

    /// The range of a header. What is none, or in a unit that is not known, is ignored.
    fn part(&self, range: &str) -> Answer {
        let set = range.split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
        let mut ranges = set.map_or("", |(_, set)| set).split(',').map(str::trim).filter(|one| !one.is_empty());
        let (Some((first, last)), None) = (ranges.next().and_then(|one| one.split_once('-')), ranges.next()) else {
            return Answer::Whole;
        };
        let last_byte = self.length.saturating_sub(1);
        match (position(first), position(last)) {
            (None, Some(0)) if first.is_empty() => Answer::Beyond,
            // The last so many bytes; nothing can be said to be a part of nothing.
            (None, Some(count)) if first.is_empty() && self.length > 0 => {
                Answer::Part(self.length.saturating_sub(count), last_byte)
            }
            (Some(first), None) if last.is_empty() && first < self.length => Answer::Part(first, last_byte),
            (Some(_), None) if last.is_empty() => Answer::Beyond,
            (Some(first), Some(last)) if first > last => Answer::Whole,
            (Some(first), Some(last)) if first < self.length => Answer::Part(first, last.min(last_byte)),
            (Some(_), Some(_)) => Answer::Beyond,
            _ => Answer::Whole,
        }
    }
}

/// The members of a list of tags, on however many lines; `None` where there is none. No tag of ours has a comma.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Vec<&str>> {
    let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let tags: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    (!tags.is_empty()).then_some(tags)
}

/// A number of any length: one that is too large for a file is larger than all of them.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// For the fuzzer: lines `Header: value` of a request for a file. A part that is answered lies within the file.
#[cfg(all(any(test, fuzzing), feature = "import", feature = "serve"))]
pub(super) fn fuzz(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) = (line[..colon].try_into(), line[colon + 1..].trim_ascii().try_into()) {
            headers.append::<HeaderName>(name, value);
        }
    }
    for length in [0, 1, 1000, u64::MAX] {
        let file = Version { tag: "\"1-2\"", modified: Some(UNIX_EPOCH), length };
        if let Answer::Part(first, last) = file.answer(&Method::GET, &headers) {
            assert!(first <= last && last < length, "{first} to {last} of {length}");
        }
        assert!(!matches!(file.answer(&Method::HEAD, &headers), Answer::Part(..)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn file(length: u64) -> Version<'static> {
        // Half a second later than its header can say.
        let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        Version { tag: "\"a-1\"", modified: Some(modified), length }
    }

    fn get(length: u64, sent: &[(HeaderName, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        file(length).answer(&Method::GET, &headers)
    }

    #[test]
    fn ranges_are_kept_to_the_file_and_what_is_none_is_ignored() {
        use Answer::{Beyond, Part, Whole};
        for (length, range, expected) in [
            (8, "bytes=2-4", Part(2, 4)),
            (8, "bytes=2-", Part(2, 7)),
            (8, "bytes=-3", Part(5, 7)),
            (8, "bytes=0-0", Part(0, 0)),
            (8, "bytes=07-08", Part(7, 7)),
            (8, "Bytes= 6-99 ", Part(6, 7)),
            (8, "bytes=,1-1,", Part(1, 1)),
            (8, "bytes=-100", Part(0, 7)),
            (8, "bytes=4-99999999999999999999999", Part(4, 7)),
            (8, "bytes=8-", Beyond),
            (8, "bytes=8-9", Beyond),
            (8, "bytes=99999999999999999999999-", Beyond),
            (8, "bytes=-0", Beyond),
            (0, "bytes=0-", Beyond),
            (0, "bytes=-5", Whole),
            (8, "bytes=4-2", Whole),
            (8, "bytes=0-1,4-5", Whole),
            (8, "bytes=-", Whole),
            (8, "bytes=", Whole),
            (8, "bytes=a-b", Whole),
            (8, "bytes=+1-2", Whole),
            (8, "bytes", Whole),
            (8, "items=0-1", Whole),
            (8, "", Whole),
        ] {
            assert_eq!(get(length, &[(header::RANGE, range)]), expected, "{range} of {length}");
        }
        let twice = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=3-4")];
        assert_eq!(get(8, &twice), Whole);
        let sent = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=2-4"))]);
        assert_eq!(file(8).answer(&Method::HEAD, &sent), Whole, "ranges are for GET only");
    }

    #[test]
    fn tags_come_before_times() {
        use Answer::{Another, Known, Part, Whole};
        let (none, since) = (header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE);
        let (only, unless) = (header::IF_MATCH, header::IF_UNMODIFIED_SINCE);
        let (range, again) = ((header::RANGE, "bytes=2-4"), header::IF_RANGE);
        for (sent, expected) in [
            (vec![(none.clone(), "\"a-1\"")], Known),
            (vec![(none.clone(), "\"b\", W/\"a-1\"")], Known),
            (vec![(none.clone(), "\"b\""), (none.clone(), "\"a-1\"")], Known),
            (vec![(none.clone(), "*")], Known),
            (vec![(none.clone(), "a-1")], Whole),
            (vec![(none.clone(), "\"a-2\""), (since.clone(), THEN)], Whole),
            (vec![(none.clone(), "\"a-1\""), range.clone()], Known),
            (vec![(since.clone(), THEN)], Known),
            (vec![(since.clone(), BEFORE)], Whole),
            (vec![(since, "yesterday")], Whole),
            (vec![(only.clone(), "\"a-1\"")], Whole),
            (vec![(only.clone(), "*")], Whole),
            (vec![(only.clone(), "\"a-2\", \"a-3\"")], Another),
            (vec![(only.clone(), "W/\"a-1\"")], Another),
            (vec![(only.clone(), "\"a-1\""), (unless.clone(), BEFORE)], Whole),
            (vec![(only, "\"a-2\""), (none.clone(), "\"a-1\"")], Another),
            (vec![(unless.clone(), BEFORE), (none, "\"a-1\"")], Another),
            (vec![(unless.clone(), THEN)], Whole),
            (vec![(unless, "never")], Whole),
            (vec![range.clone(), (again.clone(), "\"a-1\"")], Part(2, 4)),
            (vec![range.clone(), (again.clone(), "\"a-2\"")], Whole),
            (vec![range.clone(), (again.clone(), "W/\"a-1\"")], Whole),
            (vec![range, (again, THEN)], Whole),
        ] {
            assert_eq!(get(8, &sent), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_file_without_a_time_is_judged_by_its_tag_alone() {
        let file = Version { modified: None, ..file(8) };
        for name in [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
            let sent = HeaderMap::from_iter([(name, HeaderValue::from_static(THEN))]);
            assert_eq!(file.answer(&Method::GET, &sent), Answer::Whole);
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(length in 0u64..20, range in "(bytes=)?[0-9]{0,2}-[0-9]{0,2}(,[0-9]?-?)?") {
            if let Answer::Part(first, last) = get(length, &[(header::RANGE, range.as_str())]) {
                prop_assert!(first <= last && last < length);
            }
        }

        #[test]
        fn any_header_is_answered(value in "[ -~]{0,20}", at in 0usize..6) {
            let names = [
                header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE,
                header::IF_UNMODIFIED_SINCE,
            ];
            get(8, &[(names[at].clone(), value.as_str()), (header::RANGE, "bytes=1-")]);
        }
    }
}
