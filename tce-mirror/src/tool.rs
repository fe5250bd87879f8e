//! Runs the outside programs that builders need. A missing one is named with the package that has it; a failed one
//! shows its last words.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::limits::STDERR_TAIL;

/// An outside program.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Name of the program.
    pub name: &'static str,
    /// Debian's package that has it.
    pub package: &'static str,
    /// Where it lies beside the search path: programs of the administrator are not in everybody's.
    pub places: &'static [&'static str],
}

/// Folders of programs that the search path of an ordinary user may lack.
const SBIN: &[&str] = &["/usr/sbin", "/sbin"];

/// Writes ISO images.
pub const XORRISO: Tool = Tool { name: "xorriso", package: "xorriso", places: &[] };
/// Indexes kernel modules.
pub const DEPMOD: Tool = Tool { name: "depmod", package: "kmod", places: SBIN };
/// Resolves packages.
pub const APT_GET: Tool = Tool { name: "apt-get", package: "apt", places: &[] };
/// Shows APT's settings.
pub const APT_CONFIG: Tool = Tool { name: "apt-config", package: "apt", places: &[] };
/// Downloads with checksums, proxies and retries as APT does.
pub const APT_HELPER: Tool = Tool { name: "apt-helper", package: "apt", places: &["/usr/lib/apt", "/usr/libexec/apt"] };

impl Tool {
    /// Where the program is.
    ///
    /// # Errors
    /// It is not installed; the package that has it is named.
    pub fn find(&self) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(self.places.iter().map(PathBuf::from))
            .map(|folder| folder.join(self.name))
            .find(|candidate| is_program(candidate))
            .ok_or_else(|| {
                let missing =
                    format!("the program {} is missing; install it: apt-get install {}", self.name, self.package);
                io::Error::new(io::ErrorKind::NotFound, missing).into()
            })
    }

    /// Runs it to its end in an English locale with `envs` set, and returns what it printed.
    ///
    /// # Errors
    /// It is missing, or it failed: its last words are in the error.
    pub fn run<A: AsRef<OsStr>>(&self, args: &[A], envs: &[(&str, &OsStr)]) -> Result<String> {
        let output = self.output(args, envs)?;
        if !output.status.success() {
            bail!("{} failed ({}): {}", self.name, output.status, tail(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end and returns its output and status, whatever they are. It ends when this program does.
    ///
    /// # Errors
    /// It is missing or cannot be started.
    pub fn output<A: AsRef<OsStr>>(&self, args: &[A], envs: &[(&str, &OsStr)]) -> Result<std::process::Output> {
        let program = self.find()?;
        let args: Vec<OsString> = args.iter().map(|a| a.as_ref().to_owned()).collect();
        let mut expression =
            duct::cmd(&program, args).env("LC_ALL", "C").stdin_null().stdout_capture().stderr_capture().unchecked();
        for (name, value) in envs {
            expression = expression.env(name, value);
        }
        let expression = expression.before_spawn(|command| {
            let prepare = || Ok(set_pdeathsig(Signal::SIGKILL)?);
            // SAFETY: between fork and exec one system call is made, no allocation and no lock.
            unsafe { command.pre_exec(prepare) };
            Ok(())
        });
        expression.run().with_context(|| format!("cannot start {}", program.display()))
    }
}

/// The last words of a program, trimmed.
#[must_use]
pub fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(STDERR_TAIL);
    String::from_utf8_lossy(&bytes[start..]).trim().to_owned()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let tool = Tool { name: "no-such-program", package: "its-package", places: SBIN };
        let error = tool.run(&["x"], &[]).unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("apt-get install its-package"), "{error}");
    }

    #[test]
    fn a_failed_program_shows_its_last_words() {
        let sh = Tool { name: "sh", package: "dash", places: &[] };
        let error = sh.run(&["-c", "echo because >&2; exit 3"], &[]).unwrap_err().to_string();
        assert!(error.contains("because") && error.contains('3'), "{error}");
        assert_eq!(sh.run(&["-c", "echo $X"], &[("X", OsStr::new("y"))]).unwrap(), "y\n");
    }
}
