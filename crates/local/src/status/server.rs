//! The state socket, `mizzen.sock`: HTTP/1 for the tools of the same user.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::UnixListener;

use super::Status;
use super::collect::Board;

/// Serves the state socket until the runtime ends.
pub(crate) async fn serve(board: Arc<Board>) -> io::Result<()> {
    let path = board.world.options.state.socket();
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let router =
        Router::new().route("/status", get(status)).route("/drain", post(drain)).with_state(board);
    axum::serve(listener, router).await
}

async fn status(State(board): State<Arc<Board>>) -> Json<Status> {
    Json(board.status().await)
}

async fn drain(State(board): State<Arc<Board>>) -> &'static str {
    board.world.shutdown.cancel();
    "draining\n"
}
