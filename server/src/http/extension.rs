//! `GET /svc/mk/extension.zip`: what razor-el-mk clients put beside their own programs, where an operator configured it. As
//! in the original the content is not inspected. Our agents never ask for it.

use axum::extract::{Request, State as Handle};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tce_mirror::serve;

use crate::http::State;
use crate::http::problem::Failure;

/// `GET /svc/mk/extension.zip`.
///
/// # Errors
/// When none is configured, or it is no readable file.
#[utoipa::path(
    get,
    path = "/svc/mk/extension.zip",
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/zip"),
        (status = 404, description = "no_extension")
    )
)]
pub async fn zip(Handle(state): Handle<State>, request: Request) -> Result<Response, Failure> {
    let none = |why: &str| {
        let remedy = "Name a file as extension-zip under [microkernel] in config.toml, if old clients shall have one.";
        Failure::new(StatusCode::NOT_FOUND, "no_extension", why, remedy)
    };
    let Some(path) = &state.config.extension_zip else { return Err(none("No extension file configured")) };
    if !path.is_file() {
        tracing::warn!("extension-zip {} is no plain file that can be read", path.display());
        return Err(none("No extension file configured that can be read; the server's log names it"));
    }
    let mut response = serve::file(path, None, request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let name = HeaderValue::from_static("attachment; filename=\"extension.zip\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
