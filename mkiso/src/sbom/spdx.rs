//! An SPDX 2.3 document in JSON, as far as we fill it in. Pure: what goes in is ordered by whoever calls, and the same calls
//! make the same bytes.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cache::sha256;

/// Where a document says that it does not know.
pub const UNKNOWN: &str = "NOASSERTION";
/// The document itself, in relationships.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// A document that is being made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    files: Vec<File>,
    relationships: Vec<Relationship>,
    #[serde(skip)]
    ids: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

/// A package, in SPDX's wide sense.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    /// Name.
    pub name: String,
    /// Version, as its makers write it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version_info: String,
    /// Name of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_file_name: Option<String>,
    /// URL that it came from.
    pub download_location: String,
    files_analyzed: bool,
    checksums: Vec<Checksum>,
    /// Licence expression that its makers declare.
    pub license_declared: String,
    /// In which of SPDX's roles it is there.
    pub primary_package_purpose: &'static str,
    /// Where it comes from, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_info: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    external_refs: Vec<ExternalRef>,
}

impl Package {
    /// A package of which no more is known.
    #[must_use]
    pub fn new(name: &str, version: &str, purpose: &'static str) -> Self {
        Self {
            id: String::new(),
            name: name.to_owned(),
            version_info: version.to_owned(),
            package_file_name: None,
            download_location: UNKNOWN.to_owned(),
            files_analyzed: false,
            checksums: Vec::new(),
            license_declared: UNKNOWN.to_owned(),
            primary_package_purpose: purpose,
            source_info: String::new(),
            comment: String::new(),
            external_refs: Vec::new(),
        }
    }

    /// With the SHA-256 of its file.
    #[must_use]
    pub fn sha256(mut self, digest: &str) -> Self {
        self.checksums.push(Checksum::new("SHA256", digest));
        self
    }

    /// With its package URL, by which lists of vulnerabilities know it.
    #[must_use]
    pub fn purl(mut self, purl: String) -> Self {
        self.external_refs.push(ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: purl,
        });
        self
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

impl Checksum {
    fn new(algorithm: &'static str, digest: &str) -> Self {
        Self { algorithm, checksum_value: digest.to_owned() }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(rename = "SPDXID")]
    id: String,
    file_name: String,
    checksums: [Checksum; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

impl Document {
    /// An empty document of that name, made at `epoch`, seconds since 1970.
    ///
    /// # Errors
    /// `epoch` is no date.
    pub fn new(name: &str, epoch: u32) -> Result<Self> {
        let created = OffsetDateTime::from_unix_timestamp(i64::from(epoch))?.format(&Rfc3339)?;
        Ok(Self {
            spdx_version: "SPDX-2.3",
            data_license: "CC0-1.0",
            id: DOCUMENT,
            name: name.to_owned(),
            document_namespace: String::new(),
            creation_info: CreationInfo { created, creators: [format!("Tool: mkiso-{}", env!("CARGO_PKG_VERSION"))] },
            packages: Vec::new(),
            files: Vec::new(),
            relationships: Vec::new(),
            ids: BTreeSet::new(),
        })
    }

    /// Adds the package that the document is about; gives its identifier.
    pub fn describe(&mut self, package: Package) -> String {
        let id = self.package("Image", package);
        self.relate(DOCUMENT, "DESCRIBES", &id);
        id
    }

    /// Adds a package of a kind; gives its identifier.
    pub fn package(&mut self, kind: &str, package: Package) -> String {
        let id = self.identifier(&format!("{kind}-{}-{}", package.name, package.version_info));
        self.packages.push(Package { id: id.clone(), ..package });
        id
    }

    /// Adds a file; gives its identifier. SPDX wants SHA-1 of each file, besides what is worth something.
    pub fn file(&mut self, kind: &str, path: &str, sha1: &str, sha256: &str) -> String {
        let id = self.identifier(&format!("{kind}-{path}"));
        let checksums = [Checksum::new("SHA1", sha1), Checksum::new("SHA256", sha256)];
        self.files.push(File { id: id.clone(), file_name: format!("./{path}"), checksums });
        id
    }

    /// Says how one element is related to another.
    pub fn relate(&mut self, one: &str, how: &'static str, other: &str) {
        self.relationships.push(Relationship {
            spdx_element_id: one.to_owned(),
            relationship_type: how,
            related_spdx_element: other.to_owned(),
        });
    }

    /// An identifier of the letters that SPDX allows, which no other element has.
    fn identifier(&mut self, words: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let mut id = format!("SPDXRef-{}", words.chars().map(plain).collect::<String>().trim_end_matches('-'));
        while !self.ids.insert(id.clone()) {
            id.push_str("-x");
        }
        id
    }

    /// The document's text. Its namespace comes from all that is in it, so that other contents have another one.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.document_namespace = format!("urn:sha256:{}", sha256(&serde_json::to_vec(&self)?));
        let mut text = serde_json::to_vec_pretty(&self)?;
        text.push(b'\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_plain_letters_and_each_is_there_once() {
        let mut document = Document::new("x", 0).unwrap();
        let ids = ["libstdc++6", "libstdc--6", "libstdc++6"]
            .map(|name| document.package("Package", Package::new(name, "1:2~3", "LIBRARY")));
        assert_eq!(ids[0], "SPDXRef-Package-libstdc--6-1-2-3");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn the_namespace_is_that_of_the_contents() {
        let made = |epoch, name| {
            let mut document = Document::new("x", epoch).unwrap();
            document.describe(Package::new(name, "1", "OPERATING_SYSTEM"));
            let json: serde_json::Value = serde_json::from_slice(&document.finish().unwrap()).unwrap();
            json["documentNamespace"].as_str().unwrap().to_owned()
        };
        assert_eq!(made(0, "a"), made(0, "a"));
        assert_ne!(made(0, "a"), made(0, "b"));
        assert_ne!(made(0, "a"), made(1, "a"));
    }
}
