//! The file of expected machines: CSV with a line of column names, or TOML. Pure: text in, rows or all mistakes out.
//!
//! Limits: [`MAX_RACK_ROWS`] machines, values of [`MAX_RACK_VALUE`] bytes. A file is good as a whole or not at all.

use std::collections::HashMap;

use serde::Deserialize;
use toml::Spanned;

use crate::identity::mac;
use crate::limits::{MAX_RACK_ROWS, MAX_RACK_VALUE};
use crate::rack::Row;

/// Columns of a CSV file and keys of a machine in a TOML file.
pub const COLUMNS: [&str; 8] = ["name", "slot", "serial", "switch", "port", "mac", "uuid", "asset"];

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A line with the names of the columns, then a line for each machine.
    #[default]
    Csv,
    /// A `[[machine]]` for each.
    Toml,
}

/// Reads a file.
///
/// # Errors
/// All mistakes in it, each with its line.
pub fn parse(text: &str, format: Format) -> Result<Vec<Row>, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (rows, mut mistakes) = match format {
        Format::Csv => csv(text).map_err(|why| vec![why])?,
        Format::Toml => (toml(text).map_err(|why| vec![why])?, Vec::new()),
    };
    if rows.is_empty() && mistakes.is_empty() {
        mistakes.push("the file names no machine".to_owned());
    }
    if rows.len() > MAX_RACK_ROWS {
        mistakes.push(format!("the file names {} machines; at most {MAX_RACK_ROWS} are taken", rows.len()));
    }
    mistakes.extend(rows.iter().flat_map(wrong));
    mistakes.extend(repeated(&rows));
    if mistakes.is_empty() { Ok(rows) } else { Err(mistakes) }
}

/// Rows, and lines that are none.
fn csv(text: &str) -> Result<(Vec<Row>, Vec<String>), String> {
    let head = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    // Spreadsheets write what their country does.
    let delimiter = [',', ';', '\t'].into_iter().max_by_key(|c| (head.matches(*c).count(), *c == ',')).unwrap_or(',');
    let mut options = csv::ReaderBuilder::new();
    options.trim(csv::Trim::All).comment(Some(b'#')).delimiter(u8::try_from(delimiter).unwrap_or(b','));
    let mut reader = options.from_reader(text.as_bytes());
    let columns: Vec<String> = match reader.headers() {
        Ok(head) => head.iter().map(str::to_lowercase).collect(),
        Err(error) => return Err(format!("the first line cannot be read: {error}")),
    };
    if let Some(other) = columns.iter().find(|column| !COLUMNS.contains(&column.as_str())) {
        return Err(format!("line 1: there is no column {other:?}; there are {}", COLUMNS.join(", ")));
    }
    if let Some(twice) = columns.iter().enumerate().find(|(i, column)| columns[..*i].contains(column)) {
        return Err(format!("line 1: the column {:?} is there twice", twice.1));
    }
    let (mut rows, mut mistakes) = (Vec::new(), Vec::new());
    for record in reader.records() {
        match record {
            Ok(record) if record.iter().all(str::is_empty) => {}
            Ok(record) => {
                let line = line(text, record.position());
                let cell = |name: &str| {
                    let index = columns.iter().position(|column| column == name)?;
                    record.get(index).filter(|value| !value.is_empty()).map(str::to_owned)
                };
                rows.push(row(line, COLUMNS.map(cell)));
            }
            Err(error) => mistakes.push(unreadable(text, &error)),
        }
    }
    Ok((rows, mistakes))
}

/// The line of what begins there, behind empty lines and remarks.
fn line(text: &str, position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 0 };
    let rest = usize::try_from(position.byte()).ok().and_then(|byte| text.get(byte..)).unwrap_or_default();
    let passed_over = rest.lines().take_while(|line| line.is_empty() || line.starts_with('#')).count();
    position.line() + u64::try_from(passed_over).unwrap_or(0)
}

fn unreadable(text: &str, error: &csv::Error) -> String {
    let line = line(text, error.position());
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: it has {len} values, and there are {expected_len} columns")
        }
        other => format!("line {line}: it cannot be read: {other:?}"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    machine: Vec<Spanned<Machine>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    name: Option<String>,
    slot: Option<String>,
    serial: Option<String>,
    switch: Option<String>,
    port: Option<String>,
    mac: Option<String>,
    uuid: Option<String>,
    asset: Option<String>,
}

fn toml(text: &str) -> Result<Vec<Row>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())?;
    let (mut line, mut seen) = (1u64, 0);
    let rows = file.machine.into_iter().map(|machine| {
        let start = machine.span().start;
        line += u64::try_from(text.as_bytes()[seen..start].iter().filter(|b| **b == b'\n').count()).unwrap_or(0);
        seen = start;
        let Machine { name, slot, serial, switch, port, mac, uuid, asset } = machine.into_inner();
        let values = [name, slot, serial, switch, port, mac, uuid, asset];
        row(line, values.map(|value| value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())))
    });
    Ok(rows.collect())
}

fn row(line: u64, values: [Option<String>; 8]) -> Row {
    let [name, slot, serial, switch, port, mac, uuid, asset] = values;
    let name = name.or_else(|| slot.clone()).unwrap_or_default();
    Row { line, name, slot, serial, switch, port, mac, uuid, asset }
}

/// The values of a row with the names of their columns.
fn values(row: &Row) -> [(&'static str, Option<&str>); 8] {
    let Row { name, slot, serial, switch, port, mac, uuid, asset, .. } = row;
    let others = [slot, serial, switch, port, mac, uuid, asset].map(Option::as_deref);
    let [slot, serial, switch, port, mac, uuid, asset] = others;
    let all = [Some(name.as_str()), slot, serial, switch, port, mac, uuid, asset];
    std::array::from_fn(|i| (COLUMNS[i], all[i]))
}

/// What is wrong with a row by itself.
fn wrong(row: &Row) -> Vec<String> {
    let mut mistakes = Vec::new();
    if row.name.is_empty() {
        mistakes.push("it has neither name nor slot".to_owned());
    }
    for (column, value) in values(row) {
        if let Some(value) = value.filter(|value| value.len() > MAX_RACK_VALUE) {
            mistakes.push(format!("{column} has {} bytes; at most {MAX_RACK_VALUE} are taken", value.len()));
        }
    }
    for mac in row.mac.iter().flat_map(|macs| macs.split_whitespace()).filter(|mac| !is_mac(mac)) {
        mistakes.push(format!("{mac:?} is no MAC"));
    }
    if row.switch.is_some() != row.port.is_some() {
        mistakes.push("switch and port say where it is only together".to_owned());
    } else if row.place().is_none() && row.keys().is_empty() {
        let why = "serial, mac, uuid, asset, or switch and port";
        mistakes.push(format!("nothing in it tells one machine from others; it needs {why}, and no placeholder"));
    }
    mistakes.into_iter().map(|mistake| format!("line {}: {mistake}", row.line)).collect()
}

fn is_mac(text: &str) -> bool {
    let (comparable, _) = mac::judge(&text.to_lowercase());
    comparable.len() == 17 && comparable.bytes().filter(|b| *b == b'-').count() == 5
}

/// Values that two rows have.
fn repeated(rows: &[Row]) -> Vec<String> {
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut mistakes = Vec::new();
    for row in rows {
        let named = [("name", Some(&row.name)), ("slot", row.slot.as_ref())];
        let named = named.into_iter().filter_map(|(what, value)| Some(format!("{what} {:?}", value?)));
        let keys = row.keys().into_iter().map(|key| format!("{} {}", key.kind, key.value));
        let place = row.place().map(|place| format!("switch and port {place}"));
        for value in named.chain(keys).chain(place) {
            let line = row.line;
            if let Some(first) = seen.insert(value.clone(), line).filter(|first| *first != line) {
                mistakes.push(format!("line {line}: {value} is in line {first} already"));
            }
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# rack 12\nname,slot,serial,switch,port,mac,uuid,asset\n\
        web1,R12 U1,SRV1,leaf-12a,Ethernet1/1,,,\n\"web, two\",,,,,00:1b:21:3c:4d:02 001b.213c.4e02,,\n\n,R12 U3,,leaf-12a,Ethernet1/3,,,\n";

    fn mistakes(text: &str, format: Format) -> Vec<String> {
        parse(text, format).unwrap_err()
    }

    #[test]
    fn a_table_is_read_with_its_lines() {
        let rows = parse(GOOD, Format::Csv).unwrap();
        let short: Vec<_> = rows.iter().map(|r| (r.line, r.name.as_str(), r.place())).collect();
        let place = |n: u8| Some(format!("leaf-12a et1/{n}"));
        assert_eq!(short, [(3, "web1", place(1)), (4, "web, two", None), (6, "R12 U3", place(3))]);
        let keys: Vec<String> = rows[1].keys().iter().map(ToString::to_string).collect();
        assert_eq!(keys, ["mac=00-1b-21-3c-4d-02", "mac=00-1b-21-3c-4e-02"]);
        let german = "\u{feff}Serial;Name\r\nSRV1;web1\r\n\r\nSRV2;web2\r\n";
        let rows = parse(german, Format::Csv).unwrap();
        let short: Vec<_> = rows.iter().map(|r| (r.line, r.serial.as_deref())).collect();
        assert_eq!(short, [(2, Some("SRV1")), (4, Some("SRV2"))]);
    }

    #[test]
    fn toml_says_the_same() {
        let text = "# racks\n\n[[machine]]\nname = \"web1\"\nserial = \"SRV1\"\n\n[[machine]]\nslot = \"R12 U2\"\nmac = \"00:1b:21:3c:4d:02\"\n";
        let rows = parse(text, Format::Toml).unwrap();
        assert_eq!(rows.iter().map(|r| (r.line, r.name.as_str())).collect::<Vec<_>>(), [(3, "web1"), (7, "R12 U2")]);
        let why = mistakes("[[machine]]\nnom = \"x\"\n", Format::Toml);
        assert!(why[0].contains("line 2") && why[0].contains("nom"), "{why:?}");
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = "name,serial,switch,port,mac\n,SRV1,,,\na,SRV2,leaf,,\nb,,,,00:1b:21\nc,To be filled by O.E.M.,,,\n\
                    d,srv1,,,\ne,SRV5,,,\ne,SRV6,,,\nf,SRV7\ng,SRV8,leaf,eth1,\nh,SRV9,LEAF.example,Ethernet1,\n";
        let found = mistakes(text, Format::Csv);
        for words in [
            "line 2: it has neither name nor slot",
            "line 3: switch and port say where it is only together",
            "line 4: \"00:1b:21\" is no MAC",
            "line 5: nothing in it tells one machine from others",
            "line 6: serial srv1 is in line 2 already",
            "line 8: name \"e\" is in line 7 already",
            "line 9: it has 2 values, and there are 5 columns",
            "line 11: switch and port leaf et1 is in line 10 already",
        ] {
            assert!(found.iter().any(|mistake| mistake.starts_with(words)), "{words}: {found:#?}");
        }
        assert_eq!(found.len(), 8, "{found:#?}");
        assert_eq!(mistakes("name,serial\n", Format::Csv), ["the file names no machine"]);
        assert!(mistakes("nom,serial\n", Format::Csv)[0].contains("no column \"nom\""));
        assert!(mistakes("name,name\n", Format::Csv)[0].contains("twice"));
        let long = format!("name,serial\na,{}\n", "x".repeat(MAX_RACK_VALUE + 1));
        assert!(mistakes(&long, Format::Csv)[0].contains("bytes"), "{long}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(name|serial|mac|[,;\n\"#a-z0-9:])*|.*") {
            for format in [Format::Csv, Format::Toml] {
                if let Ok(rows) = parse(&text, format) {
                    proptest::prop_assert!(rows.iter().all(|row| !row.name.is_empty() && row.line > 0));
                }
            }
        }
    }
}
