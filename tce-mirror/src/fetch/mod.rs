//! One mirror: texts, and files that are verified by the checksum file beside them.
//!
//! A download that breaks off goes on where it stopped (`Range`), at the next try or in the next run. Nothing is at its
//! place before it is whole and verified. A file whose digest is wrong is fetched once more from its first byte
//! together with its checksum, since a mirror may have been updated in between. Redirections are followed
//! ([`redirect`]), but none out of HTTPS, and none from elsewhere to this machine.

mod body;
mod hash;
mod redirect;

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread::sleep;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::header::RANGE;
use reqwest::{Certificate, StatusCode};

use crate::checksum;
use crate::limits::{CONNECT, MAX_TEXT, PAUSE, SHOWN, SILENCE, TRIES};

/// A mirror.
#[derive(Debug, Clone)]
pub struct Mirror {
    base: String,
    client: Client,
}

pub use hash::Allowance;

/// A file that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Bytes.
    pub size: u64,
    /// As the mirror gives it.
    pub md5: checksum::Md5Sum,
    /// For pins and manifests.
    pub sha256: [u8; 32],
    /// False if the file was at its place already.
    pub fetched: bool,
}

impl Mirror {
    /// A mirror by the URL that paths are appended to, such as `http://repo.tinycorelinux.net`.
    ///
    /// # Errors
    /// The URL is none of HTTP or HTTPS.
    pub fn new(base: &str) -> Result<Self> {
        Self::with(base, |client| client)
    }

    /// The same for a machine that trusts no other CAs than these (PEM), and knows of no proxy. With some it speaks to
    /// nobody by plain HTTP but itself; without, it has nothing to verify HTTPS by.
    ///
    /// # Errors
    /// As for [`Mirror::new`]; the CAs are not understood, or the URL's scheme is not for this machine.
    pub fn trusting(base: &str, ca_pem: Option<&str>) -> Result<Self> {
        let url = parse(base)?;
        match (url.scheme(), ca_pem) {
            ("http", Some(_)) if !redirect::is_here(&url) => {
                bail!("{base} is not asked: this image has a CA certificate and speaks HTTPS only")
            }
            ("https", None) => bail!("{base} cannot be verified: this image has no CA certificate"),
            _ => {}
        }
        let certificates = ca_pem.map_or(Ok(Vec::new()), |pem| Certificate::from_pem_bundle(pem.as_bytes()));
        let certificates = certificates.context("the CA certificates are not understood")?;
        let redirections = redirect::policy(ca_pem.is_some());
        Self::with(base, |client| client.tls_certs_only(certificates).no_proxy().redirect(redirections))
    }

    fn with(base: &str, options: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Self> {
        parse(base)?;
        // Already there when another part of the program has chosen it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().connect_timeout(CONNECT).timeout(SILENCE).redirect(redirect::policy(false));
        let client = options(client).build().context("cannot set up HTTP")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
    }

    /// URL of a path on this mirror.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// A small text; `None` if the mirror says that it has none.
    ///
    /// # Errors
    /// No answer after several tries, an error page, text that is not UTF-8 or too long.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        self.small(path, |_| Ok(()))
    }

    /// A small text; `each` hears of every piece's size and may end it.
    fn small(&self, path: &str, mut each: impl FnMut(u64) -> Result<()>) -> Result<Option<String>> {
        let url = self.url(path);
        self.tries(&url, || {
            let Some(response) = self.get(&url, 0)? else { return Ok(None) };
            let bytes = body::small(response, MAX_TEXT, &mut each)?;
            let text = String::from_utf8(bytes).map_err(|_| Fault::Final(anyhow!("is not UTF-8 text")))?;
            if text.trim_start().starts_with('<') {
                return Err(Fault::Final(anyhow!(
                    "is a web page and not a mirror's file ({}…). See whether a proxy or portal stands in between",
                    shown(&text)
                )));
            }
            Ok(Some(text))
        })
    }

    /// A file of at most `most` bytes that the caller verifies; `None` if the mirror says that it has none.
    ///
    /// # Errors
    /// No answer after several tries, or one that is too long.
    pub fn bytes(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let url = self.url(path);
        self.tries(&url, || self.get(&url, 0)?.map(|response| body::small(response, most, |_| Ok(()))).transpose())
    }

    /// Puts the file at `path` to `to`, verified by `path.md5.txt` of the same mirror and by `pin`, a SHA-256 digest, where
    /// there is one. `None` if the mirror has no such file. A file at `to` that is right already is left alone.
    ///
    /// # Errors
    /// As for [`Mirror::text`]; the mirror has the file without a checksum; the digest differs, twice.
    pub fn file(&self, path: &str, pin: Option<[u8; 32]>, most: u64, to: &Path) -> Result<Option<Verified>> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut wrong = String::new();
        // The second time for a mirror that changed between checksum and file, or a part of an older file.
        for _ in 0..2 {
            let Some(md5) = self.digest(path, name, |_| Ok(()))? else { return Ok(None) };
            if let Some(there) = body::there(to, &md5)? {
                return pinned(there, pin, &self.url(path)).map(Some);
            }
            let part = body::Part::beside(to);
            let url = self.url(path);
            let whole = self.tries(&url, || self.download(&url, &part, most))?;
            ensure!(whole.is_some(), "{url}: the mirror has the checksum, but not the file");
            let found = part.digests()?;
            if found.md5 == md5 {
                let verified = Verified { size: found.size, md5, sha256: found.sha256, fetched: true };
                let verified = pinned(verified, pin, &url).inspect_err(|_| part.remove())?;
                part.publish(to)?;
                return Ok(Some(verified));
            }
            part.remove();
            wrong = other_digest(&url, &found, &md5);
        }
        Err(OtherBytes(format!("{wrong}. {DAMAGED}")).into())
    }

    /// The digest that the mirror gives for a file; `each` as for [`Mirror::small`].
    fn digest(&self, path: &str, name: &str, each: impl FnMut(u64) -> Result<()>) -> Result<Option<checksum::Md5Sum>> {
        let beside = format!("{path}.md5.txt");
        if let Some(text) = self.small(&beside, each)? {
            let digest = checksum::parse(&text, name);
            return digest.map(Some).with_context(|| format!("{} ({}…)", self.url(&beside), shown(&text)));
        }
        let url = self.url(path);
        let there = self.tries(&url, || {
            let answer = self.client.head(&url).send().map_err(Fault::of)?;
            Ok(answer.status().is_success())
        })?;
        ensure!(
            !there,
            "{url}: the mirror gives no checksum for it ({beside} is missing), so that it cannot be verified"
        );
        Ok(None)
    }

    /// Appends what is missing to a part; `None` if the mirror has no such file.
    fn download(&self, url: &str, part: &body::Part, most: u64) -> Result<Option<()>, Fault> {
        let have = part.size();
        match self.get(url, have) {
            Ok(Some(response)) => part.append(response, have, most).map(Some),
            Ok(None) => Ok(None),
            // Nothing is left to get, or the part is longer than the file: the digest will tell.
            Err(Fault::Range) => Ok(Some(())),
            Err(fault) => Err(fault),
        }
    }

    /// An answer with a body from byte `from`; `None` for 404.
    fn get(&self, url: &str, from: u64) -> Result<Option<Response>, Fault> {
        let request = self.client.get(url);
        let request = if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
        let response = request.send().map_err(Fault::of)?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(response)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => Err(Fault::Range),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Fault::Passing(anyhow!("the mirror answers {status}")))
            }
            status => Err(Fault::Final(anyhow!("the mirror answers {status}"))),
        }
    }

    /// Tries until it works, is refused for good, or was tried often enough.
    fn tries<T>(&self, url: &str, mut attempt: impl FnMut() -> Result<T, Fault>) -> Result<T> {
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(Fault::Passing(_)) if left > 0 => {
                    sleep(pause);
                    pause *= 2;
                }
                Err(Fault::Passing(why)) => return Err(why.context(format!("{url} ({TRIES} tries)"))),
                Err(Fault::Final(why)) => return Err(why.context(url.to_owned())),
                Err(Fault::Range) => bail!("{url}: the mirror refuses a range that nobody asked for"),
            }
        }
        bail!("{url}: never tried")
    }
}

/// What to do about a file that is not what its checksum says.
const DAMAGED: &str = "The mirror is damaged or being updated; try again later or name another mirror";

fn other_digest(url: &str, found: &body::Digests, said: &checksum::Md5Sum) -> String {
    let (size, md5) = (found.size, checksum::hex(&found.md5));
    format!("{url}: {size} bytes with MD5 {md5}, while its .md5.txt says {}", checksum::hex(said))
}

fn parse(base: &str) -> Result<reqwest::Url> {
    let url = reqwest::Url::parse(base).with_context(|| format!("`{base}` is no URL"))?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "`{base}`: a mirror is an http or https URL, such as http://repo.tinycorelinux.net"
    );
    Ok(url)
}

/// A mirror sent other bytes than its checksum or the pin says, or more than there may be. How it is found out is in the text.
#[derive(Debug)]
pub struct OtherBytes(String);

impl Display for OtherBytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for OtherBytes {}

/// Why an attempt did not work.
enum Fault {
    /// Another try may.
    Passing(anyhow::Error),
    /// None will.
    Final(anyhow::Error),
    /// The range begins behind the file's end.
    Range,
}

impl Fault {
    /// That of a request which was not answered.
    fn of(error: reqwest::Error) -> Self {
        // The mirror would lead there again.
        if error.is_redirect() { Self::Final(body::cause(error)) } else { Self::Passing(body::cause(error)) }
    }
}

/// What mirrors that were asked one after the other came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<T> {
    /// The first result. `None` if at least one mirror says that it has nothing, and no other has.
    pub found: Option<T>,
    /// Why mirrors that were asked before were passed over, one reason each.
    pub passed_over: Vec<String>,
}

/// No mirror gave an answer, or a right one: a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer(String);

impl Display for NoAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NoAnswer {}

/// Whether something failed on this machine, such as a full disk: whatever is read from elsewhere is not at fault then. What
/// happens on the way to a mirror is no such thing ([`body::cause`] makes text of it), nor is what the bytes of a file say.
#[must_use]
pub fn is_of_this_machine(error: &anyhow::Error) -> bool {
    use ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let mut failures = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    failures.any(|failure| !matches!(failure.kind(), InvalidData | InvalidInput | UnexpectedEof))
}

/// Asks until one mirror has it: its result is neither an error nor `None`.
///
/// # Errors
/// [`NoAnswer`] with every mirror's reason; at once what fails on this machine, where no mirror can help; no mirror is
/// named.
pub fn first<T>(mirrors: &[Mirror], mut ask: impl FnMut(&Mirror) -> Result<Option<T>>) -> Result<Asked<T>> {
    let (mut absent, mut passed_over) = (false, Vec::new());
    for mirror in mirrors {
        match ask(mirror) {
            Ok(Some(found)) => return Ok(Asked { found: Some(found), passed_over }),
            Ok(None) => absent = true,
            Err(error) if is_of_this_machine(&error) => return Err(error),
            Err(reason) => passed_over.push(format!("{reason:#}")),
        }
    }
    ensure!(!mirrors.is_empty(), "no mirror is named");
    ensure!(absent, NoAnswer(passed_over.join("\n")));
    Ok(Asked { found: None, passed_over })
}

fn pinned(verified: Verified, pin: Option<[u8; 32]>, url: &str) -> Result<Verified> {
    if let Some(pin) = pin.filter(|pin| *pin != verified.sha256) {
        let found = checksum::hex(&verified.sha256);
        return Err(OtherBytes(format!(
            "{url}: SHA-256 {found} is not the pinned {}. The mirror has another file than the one that was taken before",
            checksum::hex(&pin)
        ))
        .into());
    }
    Ok(verified)
}

/// The beginning of a wrong answer, on one line.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Writes a small file whole or not at all.
///
/// # Errors
/// The file system refuses; the path is named.
pub(crate) fn place(to: &Path, bytes: &[u8]) -> Result<()> {
    let part = body::Part::beside(to);
    part.fill(bytes)?;
    part.publish(to)
}

/// Makes a folder with all above it.
pub(crate) fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}
