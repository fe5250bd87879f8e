//! What a mirror answers instead of an empty page.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use wire::error::Problem;

/// Gives every refusal of `routes` a sentence that names the path and says where files are.
pub(super) fn explain(routes: Router, mirror: &'static str, example: &'static str) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        let path = request.uri().path().to_owned();
        let response = next.run(request).await;
        match response.status() {
            StatusCode::NOT_FOUND => refusal(
                StatusCode::NOT_FOUND,
                "not_found",
                format!("{mirror} of this image has no {path}"),
                format!("Files are under {example}. Build the image with this one, or use an external mirror."),
            ),
            StatusCode::METHOD_NOT_ALLOWED => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("{mirror} of this image only gives files away"),
                "Use GET or HEAD.".to_owned(),
            ),
            _ => response,
        }
    }))
}

fn refusal(status: StatusCode, code: &str, error: String, remedy: String) -> Response {
    (status, Json(Problem::new(code, error, remedy))).into_response()
}
