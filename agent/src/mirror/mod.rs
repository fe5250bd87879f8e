//! The unit `mirror`: the image's own extension mirror on 127.0.0.1:2157 and gem mirror on 127.0.0.1:2158, at the
//! paths where Tiny Core's `tce-load` and the original microkernel look for them. Files come from `/tmp/tinycorelinux`
//! and `/tmp/gem-mirror`; an image without a mirror tree serves its built-in extensions under the same paths.

mod lists;
mod problem;
mod tree;

use std::path::PathBuf;

use axum::Router;
use axum::routing::get;
use wire::routes::{GEM_PORT, MIRROR_PORT};

use crate::init::client;
use crate::loopback;

/// Folders that are served.
#[derive(Debug, Clone)]
struct Folders {
    /// Tree of a whole mirror: `<version>/<architecture>/tcz/NAME.tcz`, lists at its top.
    mirror: PathBuf,
    /// The image's built-in extensions, all in one folder, and the list of those that are loaded at boot beside it.
    builtin: PathBuf,
    /// Tree of the gem mirror.
    gems: PathBuf,
}

impl Folders {
    /// Where an image has them.
    fn of_image() -> Self {
        Self {
            mirror: PathBuf::from("/tmp/tinycorelinux"),
            builtin: PathBuf::from("/tmp/builtin"),
            gems: PathBuf::from("/tmp/gem-mirror"),
        }
    }
}

/// Runs the unit until it is told to stop.
///
/// # Errors
/// A port that is taken already is named.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folders = Folders::of_image();
        let extensions = loopback::listen(MIRROR_PORT).await?;
        let gems = loopback::listen(GEM_PORT).await?;
        tracing::info!("extension mirror on 127.0.0.1:{MIRROR_PORT}, gem mirror on 127.0.0.1:{GEM_PORT}");
        client::ready();
        tokio::join!(
            loopback::serve(extensions, extension_routes(&folders)),
            loopback::serve(gems, gem_routes(&folders))
        );
        Ok(())
    })
}

fn extension_routes(folders: &Folders) -> Router {
    let files = Router::new().route("/tinycorelinux/{*path}", get(tree::extension)).with_state(folders.clone());
    let routes = lists::routes(folders).merge(files);
    problem::explain(routes, "the extension mirror", "/tinycorelinux/<version>/<architecture>/tcz/<name>.tcz")
}

fn gem_routes(folders: &Folders) -> Router {
    let routes = Router::new().route("/gem-mirror/{*path}", get(tree::gem)).with_state(folders.clone());
    problem::explain(routes, "the gem mirror", "/gem-mirror/gems/gem.list")
}

#[cfg(test)]
mod tests;
