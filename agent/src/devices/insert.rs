//! Puts one module into the kernel. A plain `.ko` goes by file descriptor, so that the kernel reads it and sees its
//! signature; a `.ko.gz` is inflated here, since older kernels cannot do that themselves. A module that is there
//! already is no error. Blocks for as long as the module's own initialisation takes.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module, init_module};

use crate::limits::MAX_MODULE;

/// Loads the module in `path`.
///
/// # Errors
/// Names the file and the kernel's reason.
pub(crate) fn insert(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open module {}", path.display()))?;
    let result = match path.extension().and_then(|e| e.to_str()) {
        Some("ko") => finit_module(&file, c"", ModuleInitFlags::empty()),
        Some("gz") => init_module(&inflate(file, path)?, c""),
        _ => bail!(
            "module {} is compressed in a way that this agent cannot inflate; rebuild the image with .ko or .ko.gz modules",
            path.display()
        ),
    };
    match result {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => bail!("{} ({errno:?})", explain(errno)),
    }
}

fn inflate(file: File, path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(file).take(MAX_MODULE + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot inflate module {}", path.display()))?;
    if bytes.len() as u64 > MAX_MODULE {
        bail!("module {} inflates to more than {MAX_MODULE} bytes", path.display());
    }
    Ok(bytes)
}

/// What the kernel means by an error number that is misleading where modules are concerned.
fn explain(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOEXEC => "the file is no module for this kernel",
        Errno::ENOENT => "the kernel or another module lacks a symbol that it needs",
        Errno::ENOKEY | Errno::EKEYREJECTED => "its signature is not by a key that this kernel trusts",
        Errno::ENODEV => "it found no device that it serves",
        Errno::EPERM => "the kernel forbids it (not root, or locked down)",
        other => other.desc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn message(name: &str, bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        format!("{:#}", insert(&path).unwrap_err())
    }

    #[test]
    fn refusals_name_the_reason() {
        assert!(format!("{:#}", insert(Path::new("/nowhere/x.ko")).unwrap_err()).contains("/nowhere/x.ko"));
        assert!(message("x.ko.zst", b"").contains("cannot inflate"));
        assert!(message("x.ko.gz", b"no gzip").contains("x.ko.gz"));
    }

    #[test]
    fn a_module_of_several_members_is_inflated_whole() {
        let member = |text: &[u8]| {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(text).unwrap();
            gz.finish().unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ko.gz");
        std::fs::write(&path, [member(b"first "), member(b"second")].concat()).unwrap();
        assert_eq!(inflate(File::open(&path).unwrap(), &path).unwrap(), b"first second");
    }
}
