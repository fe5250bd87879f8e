//! The files of a gem mirror: the gems, the indexes that `gem install --source` reads (`specs.4.8.gz` and its sisters,
//! `quick/Marshal.4.8/*.gemspec.rz`), and those that this builder reads (`info/NAME`, `versions`). The same gems make
//! the same files.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Result;
use flate2::write::ZlibEncoder;
use flate2::{Compression, GzBuilder};
use md5::{Digest as _, Md5};

use super::Gem;
use super::marshal::{self, Value};
use super::spec::Spec;
use super::version::{Requirement, Version};
use crate::cache::hex;

/// The version of the indexes' format, in their names.
const FORMAT: &str = "4.8";
/// The version of a gem's metadata that these are written as.
const SPECIFICATION: i32 = 4;
/// First line of `versions`: lists of the same gems are the same, whenever they were made.
const CREATED: &str = "created_at: 1970-01-01T00:00:00Z\n---\n";

/// All files of a mirror with these gems, by path.
///
/// # Errors
/// A file cannot be compressed.
pub fn files(gems: &[Gem]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let released = |gem: &&Gem| !gem.spec.version.is_prerelease();
    let newest = |gem: &&Gem| {
        let others = gems.iter().filter(|other| other.spec.name == gem.spec.name).filter(released);
        others
            .max_by(|one, other| one.spec.version.cmp(&other.spec.version))
            .is_some_and(|best| best.spec.version == gem.spec.version)
    };
    for (name, list) in [
        ("specs", gems.iter().filter(released).collect::<Vec<_>>()),
        ("latest_specs", gems.iter().filter(released).filter(newest).collect()),
        ("prerelease_specs", gems.iter().filter(|gem| !released(gem)).collect()),
    ] {
        let tuples = list.into_iter().map(|gem| {
            let Spec { name, version, platform, .. } = &gem.spec;
            Value::List(vec![Value::Text(name.clone()), made(version), Value::Text(platform.clone())])
        });
        let bytes = marshal::file(&Value::List(tuples.collect()));
        let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        gz.write_all(&bytes)?;
        files.insert(format!("{name}.{FORMAT}.gz"), gz.finish()?);
    }
    let mut infos: BTreeMap<&str, String> = BTreeMap::new();
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Gem { spec, bytes, sha256 } in gems {
        let name = spec.full_name();
        let mut rz = ZlibEncoder::new(Vec::new(), Compression::best());
        rz.write_all(&marshal::file(&specification(spec)))?;
        files.insert(format!("quick/Marshal.{FORMAT}/{name}.gemspec.rz"), rz.finish()?);
        files.insert(format!("gems/{name}.gem"), bytes.clone());
        *infos.entry(&spec.name).or_insert_with(|| "---\n".to_owned()) += &line(spec, sha256);
        let version = name.strip_prefix(&format!("{}-", spec.name)).unwrap_or(&name).to_owned();
        versions.entry(&spec.name).or_default().push(version);
    }
    let mut all = CREATED.to_owned();
    for (name, info) in infos {
        let digest = hex(&Md5::digest(info.as_bytes()));
        all += &format!("{name} {} {digest}\n", versions.remove(name).unwrap_or_default().join(","));
        files.insert(format!("info/{name}"), info.into_bytes());
    }
    files.insert("versions".to_owned(), all.into_bytes());
    Ok(files)
}

/// A gem's line in `info/NAME`: version, what it needs, its digest, the Rubies that it runs on.
fn line(spec: &Spec, sha256: &str) -> String {
    let conditions = |requirement: &Requirement| requirement.to_string().replace(", ", "&");
    let needs: Vec<String> =
        spec.needs.iter().map(|need| format!("{}:{}", need.name, conditions(&need.requirement))).collect();
    let full_name = spec.full_name();
    let version = full_name.strip_prefix(&format!("{}-", spec.name)).unwrap_or(&full_name);
    format!(
        "{version} {}|checksum:{sha256},ruby:{},rubygems:{}\n",
        needs.join(","),
        conditions(&spec.ruby),
        conditions(&spec.rubygems)
    )
}

fn made(version: &Version) -> Value {
    Value::Made("Gem::Version", Box::new(Value::List(vec![Value::Text(version.text().to_owned())])))
}

fn required(requirement: &Requirement) -> Value {
    let pair =
        |(operator, version): &(String, Version)| Value::List(vec![Value::Text(operator.clone()), made(version)]);
    let pairs = Value::List(requirement.0.iter().map(pair).collect());
    Value::Made("Gem::Requirement", Box::new(Value::List(vec![pairs])))
}

/// A gem's metadata as RubyGems dumps it: a list of its fields in a fixed order.
fn specification(spec: &Spec) -> Value {
    let texts = |list: &[String]| Value::List(list.iter().cloned().map(Value::Text).collect());
    let text = |key: &str| spec.texts.get(key).map_or(Value::Nil, |text| Value::Text(text.clone()));
    let needs = spec.needs.iter().map(|need| {
        Value::Object(
            "Gem::Dependency",
            vec![
                ("@name", Value::Text(need.name.clone())),
                ("@requirement", required(&need.requirement)),
                ("@type", Value::Symbol("runtime")),
                ("@prerelease", Value::False),
                ("@version_requirements", required(&need.requirement)),
            ],
        )
    });
    let fields = vec![
        text("rubygems_version"),
        Value::Int(SPECIFICATION),
        Value::Text(spec.name.clone()),
        made(&spec.version),
        spec.texts.get("date").and_then(|date| time(date)).unwrap_or(Value::Nil),
        text("summary"),
        required(&spec.ruby),
        required(&spec.rubygems),
        Value::Text(spec.platform.clone()),
        Value::List(needs.collect()),
        Value::Text(String::new()),
        Value::Nil,
        texts(&spec.authors),
        Value::Text(spec.texts.get("description").cloned().unwrap_or_default()),
        text("homepage"),
        Value::True,
        Value::Text(spec.platform.clone()),
        texts(&spec.licenses),
        Value::EmptyHash,
    ];
    Value::Bytes("Gem::Specification", marshal::file(&Value::List(fields)))
}

/// A day such as `2026-11-22 …` as a point of time, in bit fields.
fn time(date: &str) -> Option<Value> {
    let mut numbers = date.split([' ', 'T']).next()?.split('-').map(str::parse::<u32>);
    let (year, month, day) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    let year = year.checked_sub(1900).filter(|year| *year < 1 << 16)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    /// A flag of the format, and one for universal time.
    const FLAGS: u32 = 0b11 << 30;
    let high = FLAGS | year << 14 | (month - 1) << 10 | day << 5;
    Some(Value::Bytes("Time", [high.to_le_bytes(), [0; 4]].concat()))
}
